# SPDX-License-Identifier: GPL-2.0-or-later
"""A few files of a kernel's sources, to try patches on."""

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from lab.errors import HostError
from lab.host.command import run

# GNU tar says this of each name that is not there, and one more line in the end.
_ABSENT = re.compile(r"^tar: .*(?:: Not found in archive|Exiting with failure status.*)$")


def from_directory(source: Path, files: Iterable[str], target: Path) -> None:
    """Copy those of the files that are there."""
    for file in files:
        if (source / file).is_file():
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / file, target / file, follow_symlinks=False)


def from_tar(archive: Path, files: Iterable[str], target: Path) -> None:
    """Unpack those of the files that are in a tar file, below whatever its one directory is called.

    Raises HostError when it cannot be read.
    """
    names = ["*/" + re.sub(r"([*?[\]\\])", r"\\\1", file) for file in files]
    if not names:
        return
    argv: list[str | Path] = [
        "tar",
        "-xf",
        archive,
        "-C",
        target,
        "--strip-components=1",
        "--no-same-owner",
    ]
    argv += ["--wildcards", "--no-wildcards-match-slash", "--", *names]
    try:
        run(argv, deadline=600, env={**os.environ, "LC_ALL": "C"}, lines=1 << 20)
    except HostError as error:
        if not all(map(_ABSENT.match, error.detail.splitlines())):
            raise
