# SPDX-License-Identifier: GPL-2.0-or-later
"""Files with holes: copies by reflink where the file system can, else only of what is data, and
the writing of such."""

import errno
import fcntl
import os
from pathlib import Path
from typing import BinaryIO

_FICLONE = 0x40049409
"""include/uapi/linux/fs.h: FICLONE, _IOW(0x94, 9, int)."""

_PAGE = 4096
"""Bytes of the smallest hole."""


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


def write_sparse(file: BinaryIO, data: bytes) -> None:
    """Write bytes at the file's position, and leave a hole for each page that is empty."""
    at = file.tell()
    empty = bytes(_PAGE)
    begun: int | None = None
    for offset in range(0, len(data), _PAGE):
        if data[offset : offset + _PAGE] == empty[: len(data) - offset]:
            if begun is not None:
                file.write(data[begun:offset])
                begun = None
        elif begun is None:
            file.seek(at + offset)
            begun = offset
    if begun is not None:
        file.write(data[begun:])
    file.seek(at + len(data), os.SEEK_SET)


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
