# SPDX-License-Identifier: GPL-2.0-or-later
"""The ELF kernel is found in bzImages of every compression."""

import bz2
import gzip
import lzma
import shutil
import struct
import subprocess
from collections.abc import Callable

import pytest

from lab.artifacts import vmlinux
from lab.errors import HostError
from tests.unit.builders import bzimage, efi_program, elf_kernel

KERNEL = elf_kernel(pvh=True) + bytes(range(256)) * 300
SIZE = struct.pack("<I", len(KERNEL))


def lzma_alone(data: bytes) -> bytes:
    return lzma.compress(data, format=lzma.FORMAT_ALONE)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "xz": lzma.compress,
    "lzma": lzma_alone,
    "bzip2": bz2.compress,
}


@pytest.mark.parametrize("sectors", [0, 3, 39])
@pytest.mark.parametrize("packer", PACKERS)
def test_with_the_size_appended(packer: str, sectors: int) -> None:
    image = bzimage(PACKERS[packer](KERNEL) + SIZE, sectors=sectors)
    assert vmlinux.extract(image) == KERNEL


def test_gzip_has_its_own_size() -> None:
    assert vmlinux.extract(bzimage(gzip.compress(KERNEL))) == KERNEL


@pytest.mark.parametrize("argv", [("zstd", "-19", "-cq"), ("lz4", "-l", "-9", "-cq")])
def test_with_a_program(argv: tuple[str, ...]) -> None:
    if shutil.which(argv[0]) is None:
        pytest.skip(f"{argv[0]} is not installed")
    packed = subprocess.run(argv, input=KERNEL, capture_output=True, check=True).stdout
    assert vmlinux.extract(bzimage(packed + SIZE)) == KERNEL


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(HostError, match="zstd: not found"):
        vmlinux.extract(bzimage(b"\x28\xb5\x2f\xfd" + bytes(20)))


def test_an_elf_file_is_taken_as_it_is() -> None:
    assert vmlinux.extract(KERNEL) == KERNEL


@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        (b"", "an empty file"),
        (b"MZ" + bytes(4000), "no kernel image"),
        (bzimage(lzma.compress(KERNEL) + SIZE, wide=False), "a bzImage for i386"),
        (elf_kernel(pvh=True, machine=183), "an ELF file for arm64"),
        (bzimage(lzma.compress(elf_kernel(pvh=True, machine=183)) + SIZE), "an ELF file for arm64"),
        (bzimage(lzma.compress(KERNEL))[:-500], "cut short"),
        (bzimage(b"????" + bytes(50)), "unknown compression: 3f3f3f3f"),
        (bzimage(lzma.compress(b"no kernel") + SIZE), "no ELF"),
        (bzimage(b"\xfd7zXZ\0" + bytes(50)), "damaged"),
        (bzimage(gzip.compress(KERNEL)[:-200]), "damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_kernel_is_refused(image: bytes, complaint: str) -> None:
    with pytest.raises(HostError, match=complaint):
        vmlinux.extract(image)


def test_the_note_that_qemu_boots_by() -> None:
    assert vmlinux.has_pvh_entry(elf_kernel(pvh=True))
    assert not vmlinux.has_pvh_entry(elf_kernel(pvh=False))


def test_without_that_note_the_whole_image_is_booted() -> None:
    fast, slow = elf_kernel(pvh=True), elf_kernel(pvh=False)
    assert vmlinux.bootable(bzimage(gzip.compress(fast))) == fast
    assert vmlinux.bootable(fast) == fast
    image = bzimage(gzip.compress(slow))
    assert vmlinux.bootable(image) == image
    with pytest.raises(HostError, match=r"without an entry for PVH.*bzImage"):
        vmlinux.bootable(slow)


def test_a_compression_that_the_lab_cannot_read_is_left_to_the_kernel() -> None:
    # LZO, as lzop writes it; Python has no reader, and QEMU boots the bzImage as it is.
    image = bzimage(b"\x89LZO\x00\x0d\x0a\x1a\x0a" + bytes(500) + SIZE)
    assert vmlinux.bootable(image) == image
    with pytest.raises(HostError, match="unknown compression: 894c5a4f"):
        vmlinux.extract(image)


@pytest.mark.parametrize("packer", [lzma.compress, gzip.compress, bz2.compress])
def test_a_vmlinux_compressed_as_a_whole(packer: Callable[[bytes], bytes]) -> None:
    assert vmlinux.bootable(packer(KERNEL)) == KERNEL
    with pytest.raises(HostError, match="no kernel for x86-64, but an Image for arm64, compressed"):
        vmlinux.extract(packer(bytes(0x38) + b"ARM\x64" + bytes(64)))


@pytest.mark.parametrize("pvh", [True, False])
def test_the_kernel_in_a_unified_kernel_image(pvh: bool) -> None:
    kernel = elf_kernel(pvh=pvh)
    image = bzimage(gzip.compress(kernel))
    assert vmlinux.bootable(efi_program({".osrel": b"ID=x", ".linux": image})) == (
        kernel if pvh else image
    )


def test_a_unified_kernel_image_with_something_else_in_it() -> None:
    for content in (b"", elf_kernel(pvh=True), bytes(900)):
        with pytest.raises(HostError, match=r"no bzImage in its section \.linux"):
            vmlinux.bootable(efi_program({".linux": content}))
