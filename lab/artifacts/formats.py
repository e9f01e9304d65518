# SPDX-License-Identifier: GPL-2.0-or-later
"""What a file that is given for a kernel is, by its first bytes.

bzImage: Documentation/arch/x86/boot.rst; Image of arm64: Documentation/arch/arm64/booting.rst, of
RISC-V: Documentation/arch/riscv/boot-image-header.rst; zboot: zboot-header.S in
drivers/firmware/efi/libstub; PE: the Microsoft PE and COFF specification; unified kernel image:
the UAPI group's specification; ELF: elf(5).
"""

import bz2
import lzma
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from mmap import mmap
from typing import Protocol

import pefile

HEAD = 128 << 10
"""Bytes of a file that are enough; the release that a bzImage names is within its first 66 KB."""


class Kind(Enum):
    """What the lab does with it."""

    BZIMAGE = auto()
    ELF = auto()
    UKI = auto()
    PACKED = auto()
    """Compressed as a whole: an ELF kernel, a tar file, an initramfs."""
    TAR = auto()
    DEB = auto()
    FOREIGN = auto()
    """Nothing for a guest of the lab; the words say what."""


@dataclass(frozen=True)
class FileFormat:
    """A kind, and words for people."""

    kind: Kind
    words: str

    @property
    def named(self) -> bool:
        """Whether it is something that guests of the lab have no use for, and known by name."""
        return self.kind is Kind.FOREIGN and self.words not in _NOTHING

    @property
    def refusal(self) -> str:
        """What is wrong with it as a kernel."""
        return self.words if self.words in _NOTHING else f"no kernel for x86-64, but {self.words}"


_X86_64 = 62
_ELF_MACHINES = {3: "i386", 8: "MIPS", 20: "32-bit PowerPC", 21: "PowerPC", 22: "s390x",
                 40: "32-bit ARM", _X86_64: "x86-64", 183: "arm64", 243: "RISC-V",
                 258: "LoongArch"}  # fmt: skip
"""e_machine: include/uapi/linux/elf-em.h."""

_PE_X86_64 = 0x8664
_PE_MACHINES = {0x14C: "i386", 0x1C4: "32-bit ARM", _PE_X86_64: "x86-64", 0xAA64: "arm64",
                0x5064: "RISC-V", 0x6264: "LoongArch"}  # fmt: skip

_NOTHING = ("no kernel image", "an empty file")


class _Decompressor(Protocol):
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


_UNPACKERS: dict[str, Callable[[], _Decompressor]] = {
    "gzip": lambda: zlib.decompressobj(31),
    "xz": lzma.LZMADecompressor,
    "lzma": lzma.LZMADecompressor,
    "bzip2": bz2.BZ2Decompressor,
}

_BANNER = re.compile(rb"Linux version (\S+) \(")

_KERNEL_64 = 1
"""XLF_KERNEL_64 in xloadflags, since protocol 2.12."""

_MAGICS: tuple[tuple[int, bytes, Kind, str], ...] = (
    (0x38, b"ARM\x64", Kind.FOREIGN, "an Image for arm64"),
    (0x38, b"RSC\x05", Kind.FOREIGN, "an Image for RISC-V"),
    (0x24, b"\x18\x28\x6f\x01", Kind.FOREIGN, "a zImage for 32-bit ARM"),
    (0x10008, b"S390EP", Kind.FOREIGN, "a kernel for s390x"),
    (0, b"\x27\x05\x19\x56", Kind.FOREIGN, "a uImage for U-Boot"),
    (0, b"\xd0\x0d\xfe\xed", Kind.FOREIGN, "a FIT image or device tree"),
    (0, b"0707", Kind.FOREIGN, "an initramfs"),
    (0, b"QFI\xfb", Kind.FOREIGN, "a qcow2 disk"),
    (0x8001, b"CD001", Kind.FOREIGN, "an ISO image"),
    (0, b"\xed\xab\xee\xdb", Kind.FOREIGN, "an RPM"),
    (0, b"!<arch>\ndebian-binary", Kind.DEB, "a Debian package"),
    (257, b"ustar", Kind.TAR, "a tar file"),
    (0, b"\x1f\x8b", Kind.PACKED, "gzip"),
    (0, b"\xfd7zXZ\0", Kind.PACKED, "xz"),
    (0, b"\x28\xb5\x2f\xfd", Kind.PACKED, "zstd"),
    (0, b"BZh", Kind.PACKED, "bzip2"),
    (0, b"\x02\x21\x4c\x18", Kind.PACKED, "lz4"),
    (0, b"\x04\x22\x4d\x18", Kind.PACKED, "lz4"),
    (0, b"\x5d\0\0", Kind.PACKED, "lzma"),
)  # fmt: skip


def of(head: bytes) -> FileFormat:
    """What begins with `head`, HEAD bytes or the whole of a shorter file."""
    for tried in (_elf, _bzimage, _zboot):
        if found := tried(head):
            return found
    for offset, magic, kind, words in _MAGICS:
        if head.startswith(magic, offset):
            return _packed(head, words) if kind is Kind.PACKED else FileFormat(kind, words)
    return _efi(head) or FileFormat(Kind.FOREIGN, _NOTHING[0] if head else _NOTHING[1])


def section(image: bytes, name: str) -> bytes | None:
    """The content of a section of a PE file; None if it has none of that name."""
    for one in pefile.PE(data=image, fast_load=True).sections:
        if one.Name.rstrip(b"\0") == name.encode():
            # Its size in memory: in the file it is padded.
            return bytes(one.get_data()[: one.Misc_VirtualSize or None])
    return None


def release(head: bytes) -> str:
    """What `uname -r` will say, from a bzImage's header; '' for whatever has none.

    kernel_version: Documentation/arch/x86/boot.rst.
    """
    if of(head).kind is not Kind.BZIMAGE:
        return ""
    (pointer,) = struct.unpack_from("<H", head, 0x20E)
    text = head[pointer + 512 :].partition(b"\0")[0] if pointer else b""
    return text.decode(errors="replace").partition(" ")[0]


def banner(kernel: bytes | mmap) -> str:
    """What `uname -r` will say, from an ELF kernel's linux_banner (init/version-timestamp.c)."""
    found = _BANNER.search(kernel)
    return found[1].decode(errors="replace") if found else ""


def _packed(head: bytes, words: str) -> FileFormat:
    """What is compressed, as far as Python can read the format; else that something is."""
    try:
        inner = of(_UNPACKERS[words]().decompress(head, HEAD)) if words in _UNPACKERS else None
    except (zlib.error, lzma.LZMAError, OSError, EOFError):
        inner = None
    if inner and inner.kind is Kind.TAR:
        return inner
    if inner and inner.named:
        return FileFormat(Kind.FOREIGN, f"{inner.words}, compressed")
    return FileFormat(Kind.PACKED, words)


def _elf(head: bytes) -> FileFormat | None:
    if not head.startswith(b"\x7fELF") or len(head) < 20:
        return None
    wide, little = head[4] == 2, head[5] != 2
    (machine,) = struct.unpack_from("<H" if little else ">H", head, 18)
    name = _ELF_MACHINES.get(machine, f"machine {machine}")
    if machine == _X86_64 and wide:
        return FileFormat(Kind.ELF, "an ELF file for x86-64")
    return FileFormat(Kind.FOREIGN, f"an ELF file for {name}")


def _bzimage(head: bytes) -> FileFormat | None:
    if head[0x202:0x206] != b"HdrS" or len(head) < 0x268:
        return None
    version, loadflags = struct.unpack_from("<H", head, 0x206)[0], head[0x236]
    if version >= 0x20C and not loadflags & _KERNEL_64:
        return FileFormat(Kind.FOREIGN, "a bzImage for i386")
    return FileFormat(Kind.BZIMAGE, "a bzImage")


def _zboot(head: bytes) -> FileFormat | None:
    if not head.startswith(b"MZ") or head[4:8] != b"zimg":
        return None
    packed = head[0x18:0x38].partition(b"\0")[0].decode(errors="replace")
    return FileFormat(Kind.FOREIGN, f"a zboot image ({packed}) for {_pe_machine(head) or 'EFI'}")


def _efi(head: bytes) -> FileFormat | None:
    machine = _pe_machine(head)
    if not machine:
        return None
    try:
        kernel = any(
            one.Name.rstrip(b"\0") == b".linux"
            for one in pefile.PE(data=head, fast_load=True).sections
        )
    except pefile.PEFormatError:
        kernel = False
    if not kernel:
        return FileFormat(Kind.FOREIGN, f"an EFI program for {machine}")
    words = "a unified kernel image"
    if machine != _PE_MACHINES[_PE_X86_64]:
        return FileFormat(Kind.FOREIGN, f"{words} for {machine}")
    return FileFormat(Kind.UKI, words)


def _pe_machine(head: bytes) -> str:
    """The machine of a PE file, '' if it is none."""
    if not head.startswith(b"MZ") or len(head) < 0x40:
        return ""
    (at,) = struct.unpack_from("<I", head, 0x3C)
    if head[at : at + 4] != b"PE\0\0" or len(head) < at + 6:
        return ""
    (machine,) = struct.unpack_from("<H", head, at + 4)
    return _PE_MACHINES.get(machine, f"machine {machine:#x}")
