# SPDX-License-Identifier: GPL-2.0-or-later
"""Where profiles are: the user's own ones first, then those that ship."""

import difflib
import os
from pathlib import Path

from lab import share
from lab.errors import ProfileError
from lab.host import dirs

SUFFIXES = (".yaml", ".yml")


def shipped() -> list[Path]:
    """The profiles that come with the lab.  Raises HostError when they are missing."""
    return _profiles_in(share.directory("profiles"))


def available() -> dict[str, Path]:
    """All profiles that can be named without a path; a user's own hides a shipped namesake."""
    own = _profiles_in(dirs.config("profiles"))
    paths = {path.stem: path for path in [*shipped(), *own]}
    return dict(sorted(paths.items()))


def find(name_or_path: str) -> Path:
    """The file of a profile given by name, or by path if it has a slash or a YAML suffix.

    Raises ProfileError, with what there is and what comes close, for an unknown name.  A path is
    returned as it is, whether it exists or not.
    """
    if "/" in name_or_path or name_or_path.endswith(SUFFIXES):
        return Path(name_or_path)
    known = available()
    if name_or_path in known:
        return known[name_or_path]
    close = difflib.get_close_matches(name_or_path, known, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else ""
    raise ProfileError(
        f"no profile {name_or_path!r}; expected one of: {', '.join(known) or '(there are none)'}",
        hint=hint,
    )


def display(path: Path) -> str:
    """`path` as short as it can be typed here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return os.fspath(path)


def _profiles_in(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("*") if path.suffix in SUFFIXES)
