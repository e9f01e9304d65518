# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the lab keeps things; nothing is ever written outside the XDG directories.

cache   images, kernels, probe results: can be rebuilt           (XDG_CACHE_HOME/lab)
state   guests, runs, the SSH key: what a user would miss        (XDG_STATE_HOME/lab)
config  the user's own profiles and settings                     (XDG_CONFIG_HOME/lab)
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from lab.errors import LackError


@contextmanager
def short(directory: Path) -> Iterator[Path]:
    """A path of a few bytes to a directory, in a `with` block: the address of a Unix socket holds
    107 bytes (unix(7)), and a name below any directory fits.  Raises OSError."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def _made(root: Path, *parts: str) -> Path:
    """Create a path below `root` for this user alone and check that it can be written."""
    path = root.joinpath(*parts)
    try:
        # mkdir() makes the directories above as the umask says: others could read them.
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        at = root
        for name in path.relative_to(root).parts:
            at /= name
            at.mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise not_writable(path, error) from error
    if not os.access(path, os.W_OK):
        raise not_writable(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    return path


CURES = {
    errno.ENOSPC: "free space on that file system, or set XDG_STATE_HOME and XDG_CACHE_HOME",
    errno.EDQUOT: "free space in your quota, or set XDG_STATE_HOME and XDG_CACHE_HOME",
    errno.EROFS: "it is read-only: set XDG_STATE_HOME and XDG_CACHE_HOME to a writable place",
}
"""What to do about the errors that any write can meet."""


def not_writable(path: Path, error: OSError) -> LackError:
    """The LackError for a directory of the lab that cannot be written."""
    hint = CURES.get(error.errno or 0, "make it writable, or set XDG_STATE_HOME and XDG_CACHE_HOME")
    return LackError(f"cannot write {path}: {error.strerror or error}", hint=hint)


def expanded(path: str | Path) -> Path:
    """A path with the directory that `~` or `~user` means; as it stands where there is none, which
    Path.expanduser() has no LabError for."""
    return Path(os.path.expanduser(path))  # noqa: PTH111


def exists(path: Path) -> bool:
    """Whether there is anything at a path, as far as this user may look."""
    try:
        return path.exists()
    except PermissionError:
        return True  # Whoever reads it says so.
    except OSError:
        return False  # Too long for a path.


def cache(*parts: str) -> Path:
    """A directory below the cache directory, created if missing."""
    return _made(platformdirs.user_cache_path("lab"), *parts)


def state(*parts: str) -> Path:
    """A directory below the state directory, created if missing."""
    return _made(platformdirs.user_state_path("lab"), *parts)


def config(*parts: str) -> Path:
    """A path below the configuration directory; never created by the lab."""
    return platformdirs.user_config_path("lab").joinpath(*parts)
