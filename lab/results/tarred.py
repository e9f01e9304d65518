# SPDX-License-Identifier: GPL-2.0-or-later
"""A tar file from elsewhere: read and unpacked within bounds, whatever it says of itself.

A few hundred bytes can claim terabytes, as a name, a map of holes or content, and packed zeroes
take a thousandth of their size.  What tarfile reads of heads is counted; what files are to have is
known from their heads before any content is read.
"""

import bz2
import gzip
import lzma
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from lab.errors import HostError
from lab.host.clone import write_sparse
from lab.host.dirs import not_writable

_COMPRESSED: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}

_PIECE = 1 << 20
"""Bytes that are read at a time, of a head or of content."""

DAMAGE = (
    tarfile.TarError, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, OverflowError,
    RecursionError,
)  # fmt: skip
"""What reading a tar file that is damaged, or none, raises."""


@dataclass(frozen=True)
class Bounds:
    """How large what is in a tar file may be, in bytes."""

    file: int = 64 << 30
    """One file, holes included."""
    total: int = 256 << 30
    """All files, holes included."""
    heads: int = 64 << 20
    """All that says what there is: names, sizes, maps of holes."""
    spare: int = 64 << 20
    """Left free on the file system on which it is unpacked."""


BOUNDS = Bounds()


class _Metered:
    """The file that tarfile reads: no more at a time than a piece, and of heads no more in all than
    may be."""

    def __init__(self, file: IO[bytes], heads: int) -> None:
        self._file = file
        self.left: float = heads

    def read(self, size: int) -> bytes:
        """Read bytes.  Raises ValueError beyond the bounds."""
        self.left -= size
        if not 0 <= size <= _PIECE or self.left < 0:
            raise ValueError("its heads have no end")
        return self._file.read(size)

    def seek(self, to: int) -> int:
        """Go to a place."""
        return self._file.seek(to)

    def tell(self) -> int:
        """The place."""
        return self._file.tell()


class TarredFiles:
    """The files in a tar file."""

    def __init__(self, tar: tarfile.TarFile, metered: _Metered, bounds: Bounds) -> None:
        self._tar = tar
        self._metered = metered
        self._bounds = bounds

    def heads(self) -> Iterator[tarfile.TarInfo]:
        """What there is, to its end.  Raises ValueError where that is too much, and DAMAGE."""
        total = 0
        for member in self._tar:
            total += member.size
            if not 0 <= member.size <= self._bounds.file or total > self._bounds.total:
                raise ValueError(f"{member.name[:80]!r} makes it too large: {member.size} bytes")
            yield member
        # What is read from now on is content.
        self._metered.left = float("inf")

    def content(self, member: tarfile.TarInfo, largest: int) -> bytes:
        """All of a small file.  Raises ValueError where it has more bytes than `largest`, and
        DAMAGE."""
        if member.size > largest:
            raise ValueError(f"{member.name} has {member.size} bytes")
        return b"".join(self._pieces(member))

    def check_room(self, members: Iterator[tarfile.TarInfo], place: Path) -> None:
        """Raise HostError unless there is room for the content of files on a file system."""
        needed, spare = sum(_stored(member) for member in members), self._bounds.spare
        free = shutil.disk_usage(place).free
        if needed + spare > free:
            raise HostError(
                f"{place}: {free >> 20} MiB free, {needed >> 20} MiB needed to unpack, and "
                f"{spare >> 20} MiB are to be left",
                hint="free some, or set XDG_STATE_HOME",
            )

    def unpack(self, member: tarfile.TarInfo, target: Path) -> None:
        """Write a file with its holes.  Raises HostError where it cannot be written, and DAMAGE."""
        with _writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            sink: BinaryIO = target.open("wb")
        with sink:
            for piece in self._pieces(member):
                with _writing(target):
                    write_sparse(sink, piece)
            with _writing(target):
                sink.truncate()

    def _pieces(self, member: tarfile.TarInfo) -> Iterator[bytes]:
        file = self._tar.extractfile(member)
        assert file is not None  # a regular file has content
        with file:
            while piece := file.read(_PIECE):
                yield piece


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """What fails in the block is no fault of what is read."""
    try:
        yield
    except OSError as error:
        raise not_writable(target, error) from error


def _stored(member: tarfile.TarInfo) -> int:
    """Bytes of a file but for its holes."""
    if member.sparse is None:
        return member.size
    return sum(size for _, size in cast("list[tuple[int, int]]", member.sparse))


@contextmanager
def tarred(path: Path, bounds: Bounds = BOUNDS) -> Iterator[TarredFiles]:
    """The files in a tar file, packed or not, in a `with` block.  Raises DAMAGE."""
    with path.open("rb") as plain:
        start = plain.read(8)
    unpacking = next((each for magic, each in _COMPRESSED.items() if start.startswith(magic)), open)
    with closing(unpacking(path, "rb")) as file:
        metered = _Metered(file, bounds.heads)
        with tarfile.open(fileobj=cast("IO[bytes]", metered), mode="r:") as tar:
            yield TarredFiles(tar, metered, bounds)
