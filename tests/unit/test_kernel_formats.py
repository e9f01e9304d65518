# SPDX-License-Identifier: GPL-2.0-or-later
"""What files that people give for a kernel are called, by their first bytes."""

import gzip
import io
import lzma
import struct
import tarfile

import pytest

from lab.artifacts import formats
from lab.artifacts.formats import Kind
from tests.unit.builders import bzimage, efi_program, elf_kernel


def at(offset: int, magic: bytes) -> bytes:
    return bytes(offset) + magic + bytes(64)


def zboot(machine: int) -> bytes:
    image = bytearray(efi_program({".data": b"x"}, machine))
    image[4:8] = b"zimg"
    image[0x18:0x1D] = b"gzip\0"
    # The header of a PE file lies behind that of zboot.
    struct.pack_into("<I", image, 0x3C, 0x40)
    return bytes(image)


def tar() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as file:
        file.addfile(tarfile.TarInfo("boot"))
    return made.getvalue()


@pytest.mark.parametrize(
    ("head", "kind", "words"),
    [
        (bzimage(b"x"), Kind.BZIMAGE, "a bzImage"),
        (bzimage(b"x", wide=False), Kind.FOREIGN, "a bzImage for i386"),
        # As with CONFIG_EFI_STUB, which every distribution sets.
        (b"MZ" + bzimage(b"x")[2:], Kind.BZIMAGE, "a bzImage"),
        (elf_kernel(pvh=False), Kind.ELF, "an ELF file for x86-64"),
        (elf_kernel(pvh=False, machine=183), Kind.FOREIGN, "an ELF file for arm64"),
        (elf_kernel(pvh=False, machine=243), Kind.FOREIGN, "an ELF file for RISC-V"),
        (at(0x38, b"ARM\x64"), Kind.FOREIGN, "an Image for arm64"),
        (b"MZ" + at(0x36, b"ARM\x64"), Kind.FOREIGN, "an Image for arm64"),
        (at(0x38, b"RSC\x05"), Kind.FOREIGN, "an Image for RISC-V"),
        (at(0x24, b"\x18\x28\x6f\x01"), Kind.FOREIGN, "a zImage for 32-bit ARM"),
        (zboot(0xAA64), Kind.FOREIGN, "a zboot image (gzip) for arm64"),
        (zboot(0x5064), Kind.FOREIGN, "a zboot image (gzip) for RISC-V"),
        (efi_program({".linux": b"x"}), Kind.UKI, "a unified kernel image"),
        (efi_program({".linux": b"x"}, 0xAA64), Kind.FOREIGN, "a unified kernel image for arm64"),
        (efi_program({".text": b"x"}), Kind.FOREIGN, "an EFI program for x86-64"),
        (gzip.compress(elf_kernel(pvh=True)), Kind.PACKED, "gzip"),
        (lzma.compress(elf_kernel(pvh=True)), Kind.PACKED, "xz"),
        (gzip.compress(at(0x38, b"ARM\x64")), Kind.FOREIGN, "an Image for arm64, compressed"),
        (gzip.compress(tar()), Kind.TAR, "a tar file"),
        (b"\xfd7zXZ\0 damaged", Kind.PACKED, "xz"),
        (tar(), Kind.TAR, "a tar file"),
        (b"!<arch>\ndebian-binary   ", Kind.DEB, "a Debian package"),
        (b"\xed\xab\xee\xdb\x03", Kind.FOREIGN, "an RPM"),
        (b"070701" + bytes(99), Kind.FOREIGN, "an initramfs"),
        (b"QFI\xfb" + bytes(99), Kind.FOREIGN, "a qcow2 disk"),
        (b"\x27\x05\x19\x56", Kind.FOREIGN, "a uImage for U-Boot"),
        (b"hello", Kind.FOREIGN, "no kernel image"),
        (b"", Kind.FOREIGN, "an empty file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_is_named(head: bytes, kind: Kind, words: str) -> None:
    assert formats.of(head) == formats.FileFormat(kind, words)


@pytest.mark.parametrize(
    "whole", [bzimage(b"x"), elf_kernel(pvh=True), efi_program({".linux": b""})]
)
def test_nothing_that_is_cut_short_is_an_error(whole: bytes) -> None:
    for length in range(0, len(whole), 7):
        formats.of(whole[:length])
        formats.release(whole[:length])


@pytest.mark.parametrize("sectors", [0, 3, 39])
def test_the_release_is_in_the_header(sectors: int) -> None:
    assert formats.release(bzimage(b"x", sectors=sectors)) == ""
    image = bzimage(b"x", sectors=sectors, release="6.12.0-lab")
    assert formats.release(image) == "6.12.0-lab"
    assert formats.release(elf_kernel(pvh=True)) == ""


def test_a_section_has_its_own_size_not_the_padded_one() -> None:
    image = efi_program({".osrel": b"a", ".linux": b"kernel"})
    assert formats.section(image, ".linux") == b"kernel"
    assert formats.section(image, ".initrd") is None
