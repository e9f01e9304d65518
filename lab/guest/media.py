# SPDX-License-Identifier: GPL-2.0-or-later
"""The media of a guest before its first boot."""

import os
import shutil
from pathlib import Path
from stat import S_ISREG

from lab.errors import HostError, ProfileError
from lab.host.clone import clone
from lab.host.dirs import not_writable
from lab.profile.models import Profile
from lab.vm.graph import Drive, drives

_MIN_FREE = 64 << 20
"""Bytes that must be free in the state directory before a guest starts: logs, tags, copies."""

_UNCHECKED = b"\xff" * 2**20


def create_media(directory: Path, profile: Profile) -> None:
    """Fresh media, sparse or clones of prepared ones: an old signature on a reused disk could
    assemble by itself.

    Raises ProfileError for a prepared medium that does not fit, HostError when there is no room.
    """
    free = shutil.disk_usage(directory).free
    if free < _MIN_FREE:
        raise HostError(
            f"{directory}: only {free >> 20} MiB free, a guest needs {_MIN_FREE >> 20}",
            hint="free space on that file system, or set XDG_STATE_HOME",
        )
    for drive in drives(profile):
        try:
            if drive.prepared:
                _clone(Path(drive.prepared), directory / drive.medium, drive)
                continue
            _create(directory / drive.medium, drive)
        except OSError as error:
            raise not_writable(directory, error) from error


def _create(path: Path, drive: Drive) -> None:
    """A medium of nothing but holes, except for protection information.

    QEMU lets blocks pass unchecked that were never written, and knows them by holes in the file.
    These are as coarse as the host's pages, 512 blocks, so that a read beside a written block
    would fail: all tuples start as FFh, which turns the check off as well (NVM Command Set 1.1,
    5.3.3: application tag FFFFh, for type 3 with reference tag FFFFFFFFh).
    """
    with path.open("wb") as medium:
        os.truncate(medium.fileno(), drive.medium_size)
        if drive.protected:
            medium.seek(drive.size)
            left = drive.medium_size - drive.size
            while left:
                left -= medium.write(_UNCHECKED[:left])


def _clone(prepared: Path, medium: Path, drive: Drive) -> None:
    """A copy of a prepared medium that may be written.  Raises ProfileError if it does not fit."""
    try:
        found = prepared.stat()
    except OSError as error:
        raise ProfileError(
            f"{prepared}: {error.strerror}", hint=f"it is the medium of {drive.serial}"
        ) from error
    if not S_ISREG(found.st_mode) or found.st_size != drive.medium_size:
        what = f"{found.st_size} bytes" if S_ISREG(found.st_mode) else "no file"
        raise ProfileError(
            f"{prepared}: {what}; the medium of {drive.serial} has {drive.medium_size} bytes",
            hint=f"truncate -s {drive.medium_size} makes an empty one of that size",
        )
    clone(prepared, medium)
