# SPDX-License-Identifier: GPL-2.0-or-later
"""The ELF kernel inside a bzImage, which QEMU boots through PVH much faster than the bzImage.

The setup header says where the payload is: Documentation/arch/x86/boot.rst.  A unified kernel
image has a bzImage in its section .linux; a vmlinux may be compressed as a whole.
"""

import bz2
import lzma
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from lab.artifacts import formats
from lab.artifacts.formats import Kind
from lab.errors import HostError
from lab.host.command import missing, tail

_SETUP_SECTS = 0x1F1
_PAYLOAD = 0x248
"""payload_offset and payload_length, 32 bits each, since protocol 2.08."""
_SECTOR = 512
_PT_NOTE = 4
_PVH_ENTRY = (b"Xen", 18)
_SIZE_FIELD = 4
"""The kernel's Makefile appends the uncompressed size, except to gzip, which has its own."""


class UnknownCompression(HostError):
    """The kernel unpacks itself from a format that the lab cannot read, such as LZO."""


def extract(image: bytes) -> bytes:
    """The ELF file in `image`: a bzImage, a unified kernel image or a compressed vmlinux; an image
    that is ELF already is returned as it is.

    Raises UnknownCompression, and HostError for anything else and for what cannot be unpacked.
    """
    form = formats.of(image[: formats.HEAD])
    if form.kind is Kind.ELF:
        return image
    if form.kind is Kind.UKI:
        return extract(_linux(image))
    if form.kind is Kind.BZIMAGE:
        return _unpacked(_payload(image), _SIZE_FIELD)
    if form.kind is Kind.PACKED:
        return _unpacked(image, 0)
    raise HostError(form.refusal)


def bootable(image: bytes) -> bytes:
    """What QEMU is given to boot: the ELF file in `image`, or the bzImage itself, slower, if the
    kernel was configured without PVH or with a compression that the lab cannot read.

    Raises HostError as extract() does, and for an ELF file without PVH, which QEMU does not boot.
    """
    if formats.of(image[: formats.HEAD]).kind is Kind.UKI:
        image = _linux(image)
    try:
        kernel = extract(image)
    except UnknownCompression:
        return image
    if has_pvh_entry(kernel):
        return kernel
    if formats.of(image[: formats.HEAD]).kind is not Kind.BZIMAGE:
        raise HostError(
            "the kernel is an ELF file without an entry for PVH, and QEMU boots no other one",
            hint="give its bzImage, or build with CONFIG_PVH=y",
        )
    return image


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


def _notes(segment: bytes) -> Iterator[tuple[bytes, int]]:
    """Name and type of each note in a PT_NOTE segment."""
    at = 0
    while at + 12 <= len(segment):
        name_size, size, kind = struct.unpack_from("<III", segment, at)
        yield segment[at + 12 : at + 12 + name_size].rstrip(b"\0"), kind
        at += 12 + _aligned(name_size) + _aligned(size)


def _aligned(size: int) -> int:
    return (size + 3) & ~3


def _linux(image: bytes) -> bytes:
    """The bzImage of a unified kernel image, from its section .linux."""
    kernel = formats.section(image, ".linux")
    # Within what a guest boots only a bzImage makes sense there; extract() would recurse.
    if not kernel or formats.of(kernel[: formats.HEAD]).kind is not Kind.BZIMAGE:
        raise HostError("the unified kernel image has no bzImage in its section .linux")
    return kernel


def _payload(image: bytes) -> bytes:
    sectors = image[_SETUP_SECTS] or 4
    offset, length = struct.unpack_from("<II", image, _PAYLOAD)
    start = (sectors + 1) * _SECTOR + offset
    if not length or start + length > len(image):
        raise HostError("the bzImage is cut short")
    return image[start : start + length]


def _unpacked(packed: bytes, trailer: int) -> bytes:
    """The ELF file that was compressed, with so many bytes behind that the format knows nothing
    of."""
    for magic, unpack in _FORMATS.items():
        if packed.startswith(magic):
            try:
                kernel = unpack(packed, trailer)
            except (zlib.error, lzma.LZMAError, EOFError, ValueError, OSError) as error:
                raise HostError(f"the kernel's payload is damaged: {error}") from error
            form = formats.of(kernel[: formats.HEAD])
            if form.kind is not Kind.ELF:
                raise HostError(f"the kernel's payload is no ELF file for x86-64, but {form.words}")
            return kernel
    raise UnknownCompression(f"the kernel's payload has an unknown compression: {packed[:8].hex()}")


def _gzip(payload: bytes, _trailer: int) -> bytes:
    return _whole(zlib.decompressobj(wbits=31), payload)


def _xz(payload: bytes, _trailer: int) -> bytes:
    return _whole(lzma.LZMADecompressor(), payload)


def _bzip2(payload: bytes, _trailer: int) -> bytes:
    return _whole(bz2.BZ2Decompressor(), payload)


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def _whole(decompressor: _Unpacker, payload: bytes) -> bytes:
    """The stream in `payload`; the size field after it is left in unused_data."""
    kernel = decompressor.decompress(payload)
    if not decompressor.eof:
        raise EOFError("it ends too early")
    return kernel


def _piped(*argv: str) -> Callable[[bytes, int], bytes]:
    """An unpacker for a format that Python's library lacks."""

    def unpack(payload: bytes, trailer: int) -> bytes:
        packed = payload[: len(payload) - trailer]
        try:
            done = subprocess.run(argv, input=packed, capture_output=True, check=False, timeout=60)
        except FileNotFoundError as error:
            raise missing(argv[0]) from error
        if done.returncode != 0:
            raise HostError(
                f"{argv[0]} cannot unpack the kernel",
                detail=tail(done.stderr.decode(errors="replace")),
            )
        return done.stdout

    return unpack


_FORMATS: dict[bytes, Callable[[bytes, int], bytes]] = {
    b"\x28\xb5\x2f\xfd": _piped("zstd", "-dcq"),
    b"\x02\x21\x4c\x18": _piped("lz4", "-dcq"),
    b"\x04\x22\x4d\x18": _piped("lz4", "-dcq"),
    b"\xfd7zXZ\0": _xz,
    b"\x1f\x8b": _gzip,
    b"\x5d\0\0": _xz,
    b"BZh": _bzip2,
}
