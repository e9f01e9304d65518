"""The ELF kernel inside a bzImage, which QEMU boots through PVH much faster than the bzImage.

The setup header says where the payload is: Documentation/arch/x86/boot.rst.
"""

import bz2
import lzma
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from lab.errors import HostError
from lab.host.command import missing, tail

_SETUP_SECTS = 0x1F1
_HEADER = 0x202
_MAGIC = b"HdrS"
_PAYLOAD = 0x248
"""payload_offset and payload_length, 32 bits each, since protocol 2.08."""
_SECTOR = 512
_PT_NOTE = 4
_PVH_ENTRY = (b"Xen", 18)
_SIZE_FIELD = 4
"""The kernel's Makefile appends the uncompressed size, except to gzip, which has its own."""


def extract(image: bytes) -> bytes:
    """The ELF file in `image`, a bzImage; an image that is ELF already is returned as it is.

    Raises HostError for anything else and for a payload that cannot be unpacked.
    """
    if image.startswith(b"\x7fELF"):
        return image
    payload = _payload(image)
    for magic, unpack in _FORMATS.items():
        if payload.startswith(magic):
            try:
                kernel = unpack(payload)
            except (zlib.error, lzma.LZMAError, EOFError, ValueError, OSError) as error:
                raise HostError(f"the kernel's payload is damaged: {error}") from error
            if not kernel.startswith(b"\x7fELF"):
                raise HostError("the kernel's payload is no ELF file")
            return kernel
    raise HostError(f"the kernel's payload has an unknown compression: {payload[:8].hex()}")


def bootable(image: bytes) -> bytes:
    """What QEMU is given to boot: the ELF file in `image`, or `image` itself, slower, if the kernel
    was configured without PVH.  Raises HostError as extract() does."""
    kernel = extract(image)
    return kernel if has_pvh_entry(kernel) else image


def has_pvh_entry(kernel: bytes) -> bool:
    """Whether an ELF kernel has the note by which QEMU finds its PVH entry (CONFIG_PVH=y).

    XEN_ELFNOTE_PHYS32_ENTRY: include/xen/interface/elfnote.h; ELF's layout: elf(5).
    """
    (offset,) = struct.unpack_from("<Q", kernel, 0x20)
    size, count = struct.unpack_from("<HH", kernel, 0x36)
    for index in range(count):
        kind, _flags, start, _vaddr, _paddr, length = struct.unpack_from(
            "<IIQQQQ", kernel, offset + index * size
        )
        if kind == _PT_NOTE and _PVH_ENTRY in _notes(kernel[start : start + length]):
            return True
    return False


def release(image: bytes) -> str:
    """What `uname -r` will say, from a bzImage's header; '' for an ELF file, which has none.

    kernel_version: Documentation/arch/x86/boot.rst.
    """
    if image[_HEADER : _HEADER + 4] != _MAGIC:
        return ""
    (pointer,) = struct.unpack_from("<H", image, 0x20E)
    text = image[pointer + _SECTOR :].partition(b"\0")[0] if pointer else b""
    return text.decode(errors="replace").partition(" ")[0]


def _notes(segment: bytes) -> Iterator[tuple[bytes, int]]:
    """Name and type of each note in a PT_NOTE segment."""
    at = 0
    while at + 12 <= len(segment):
        name_size, size, kind = struct.unpack_from("<III", segment, at)
        yield segment[at + 12 : at + 12 + name_size].rstrip(b"\0"), kind
        at += 12 + _aligned(name_size) + _aligned(size)


def _aligned(size: int) -> int:
    return (size + 3) & ~3


def _payload(image: bytes) -> bytes:
    if len(image) < _PAYLOAD + 8 or image[_HEADER : _HEADER + 4] != _MAGIC:
        raise HostError("no Linux bzImage: the setup header is missing")
    sectors = image[_SETUP_SECTS] or 4
    offset, length = struct.unpack_from("<II", image, _PAYLOAD)
    start = (sectors + 1) * _SECTOR + offset
    if not length or start + length > len(image):
        raise HostError("the bzImage is cut short")
    return image[start : start + length]


def _gzip(payload: bytes) -> bytes:
    return _whole(zlib.decompressobj(wbits=31), payload)


def _xz(payload: bytes) -> bytes:
    return _whole(lzma.LZMADecompressor(), payload)


def _bzip2(payload: bytes) -> bytes:
    return _whole(bz2.BZ2Decompressor(), payload)


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def _whole(decompressor: _Decompressor, payload: bytes) -> bytes:
    """The stream in `payload`; the size field after it is left in unused_data."""
    kernel = decompressor.decompress(payload)
    if not decompressor.eof:
        raise EOFError("it ends too early")
    return kernel


def _piped(*argv: str) -> Callable[[bytes], bytes]:
    """An unpacker for a format that Python's library lacks."""

    def unpack(payload: bytes) -> bytes:
        try:
            done = subprocess.run(
                argv, input=payload[:-_SIZE_FIELD], capture_output=True, check=False, timeout=60
            )
        except FileNotFoundError as error:
            raise missing(argv[0]) from error
        if done.returncode != 0:
            raise HostError(
                f"{argv[0]} cannot unpack the kernel",
                detail=tail(done.stderr.decode(errors="replace")),
            )
        return done.stdout

    return unpack


_FORMATS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x28\xb5\x2f\xfd": _piped("zstd", "-dcq"),
    b"\x02\x21\x4c\x18": _piped("lz4", "-dcq"),
    b"\xfd7zXZ\0": _xz,
    b"\x1f\x8b": _gzip,
    b"\x5d\0\0": _xz,
    b"BZh": _bzip2,
}
