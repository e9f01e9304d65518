"""The ELF kernel is found in bzImages of every compression."""

import bz2
import gzip
import lzma
import shutil
import struct
import subprocess
from collections.abc import Callable

import pytest

from lab.build import vmlinux
from lab.errors import HostError
from tests.unit.builders import elf_kernel

KERNEL = b"\x7fELF" + bytes(range(256)) * 300
SIZE = struct.pack("<I", len(KERNEL))


def bzimage(payload: bytes, *, sectors: int = 3) -> bytes:
    """A file with the fields of the setup header that matter, and code around the payload."""
    head = bytearray((sectors + 1 if sectors else 5) * 512)
    head[0x1F1] = sectors
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", head, 0x248, 0x2CC, len(payload))
    return bytes(head) + b"\x90" * 0x2CC + payload + b"\x90" * 99


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
        (b"", "no Linux bzImage"),
        (b"MZ" + bytes(4000), "no Linux bzImage"),
        (bzimage(lzma.compress(KERNEL))[:-500], "cut short"),
        (bzimage(b"????" + bytes(50)), "unknown compression: 3f3f3f3f"),
        (bzimage(lzma.compress(b"no kernel") + SIZE), "no ELF"),
        (bzimage(b"\xfd7zXZ\0" + bytes(50)), "damaged"),
        (bzimage(gzip.compress(KERNEL)[:-200]), "damaged"),
    ],
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


def test_the_release_is_in_the_header() -> None:
    image = bytearray(bzimage(gzip.compress(KERNEL)))
    assert vmlinux.release(bytes(image)) == ""
    struct.pack_into("<H", image, 0x20E, 0x300)
    image[0x500:0x51C] = b"6.12.0-lab (lab@lab) #1 SMP\0"
    assert vmlinux.release(bytes(image)) == "6.12.0-lab"
    assert vmlinux.release(KERNEL) == ""
