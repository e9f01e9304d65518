# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies of sparse files: by reflink where the file system can, else only what is data."""

import errno
import fcntl
import os
from pathlib import Path

_FICLONE = 0x40049409
"""include/uapi/linux/fs.h: FICLONE, _IOW(0x94, 9, int)."""


def clone(source: Path, target: Path) -> None:
    """Make `target` a copy of `source` that shares its blocks where the file system can.

    Raises OSError.
    """
    with source.open("rb", buffering=0) as old, target.open("wb", buffering=0) as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        # EOPNOTSUPP, EXDEV, EINVAL, ENOTTY: each file system refuses in its own way.  What is
        # really wrong, the copy will meet again.
        except OSError:
            _copy_sparse(old.fileno(), new.fileno())


def _copy_sparse(old: int, new: int) -> None:
    size = os.fstat(old).st_size
    os.ftruncate(new, size)
    at = 0
    while at < size:
        try:
            start = os.lseek(old, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but hole up to the end
                break
            raise
        end = os.lseek(old, start, os.SEEK_HOLE)
        os.lseek(old, start, os.SEEK_SET)
        os.lseek(new, start, os.SEEK_SET)
        _copy_bytes(old, new, end - start)
        at = end


def _copy_bytes(source: int, target: int, count: int) -> None:
    while count:
        sent = os.sendfile(target, source, None, count)
        if sent == 0:
            return
        count -= sent
