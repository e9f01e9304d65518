# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's memory as a file: where it has any, what the file holds, and how much is kept."""

import io
from pathlib import Path
from typing import Any

import drgn
import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import HostError
from lab.host.clone import write_sparse
from lab.host.settings import DumpSettings
from lab.inside import dump, vmcore
from lab.vm.machine import Machine
from lab.vm.memory import PAGE, MemoryRange, parse, ranges, read

MTREE = """\
FlatView #0\r
 AS "memory", root: system\r
 AS "cpu-memory-0", root: system\r
 Root memory region: system\r
  0000000000000000-000000000009ffff (prio 0, ram): {ram}{kvm}\r
  00000000000a0000-00000000000bffff (prio 1, i/o): vga-lowmem\r
  00000000000c0000-00000000000c2fff (prio 0, ram): {ram} @00000000000c0000{kvm}\r
  00000000000c3000-00000000000e7fff (prio 0, rom): {ram} @00000000000c3000{kvm}\r
  00000000000e8000-000000003fffffff (prio 0, ram): {ram} @00000000000e8000{kvm}\r
  00000000b0000000-00000000bfffffff (prio 0, i/o): pcie-mmcfg-mmio\r
  00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios\r
  0000000100000000-000000013fffffff (prio 0, ram): {ram} @0000000040000000{kvm}\r
\r
FlatView #1\r
 AS "I/O", root: io\r
 Root memory region: io\r
  0000000000000000-0000000000000007 (prio 0, i/o): dma-chan\r
"""
RELEASE = "6.12.118+deb13-amd64"
INFO = f"""\
OSRELEASE={RELEASE}
BUILD-ID=67e5e727aeb3cb468dfe1bb8f9738f944c3a7d50
PAGESIZE=4096
SYMBOL(swapper_pg_dir)=ffffffff82c22000
NUMBER(phys_base)=0
KERNELOFFSET=0
NUMBER(sme_mask)=0
"""


def note(text: str, size: int | None = None) -> bytes:
    length = len(text) if size is None else size
    return (
        b"\x0b\0\0\0" + length.to_bytes(4, "little") + bytes(4) + b"VMCOREINFO\0\0" + text.encode()
    )


@pytest.mark.parametrize("ram", ["pc.ram", "memory"])
@pytest.mark.parametrize("kvm", ["", " KVM"])
def test_where_a_guest_has_memory(ram: str, kvm: str) -> None:
    assert parse(MTREE.format(ram=ram, kvm=kvm)) == (
        MemoryRange(0, 0xA0000),
        MemoryRange(0xC0000, 0x40000000 - 0xC0000),
        MemoryRange(0x100000000, 0x40000000),
    )


def test_a_view_of_something_else_is_no_memory() -> None:
    assert parse(MTREE.replace('AS "memory"', 'AS "other"')) == ()


@given(st.lists(st.booleans(), max_size=20), st.integers(0, PAGE - 1))
def test_pages_that_are_empty_are_holes(full: list[bool], rest: int) -> None:
    data = b"".join((b"x" if each else b"\0") * PAGE for each in full) + b"y" * rest
    file = io.BytesIO()
    file.seek(3 * PAGE)
    write_sparse(file, data)
    assert file.tell() == 3 * PAGE + len(data)
    assert file.getvalue().ljust(3 * PAGE + len(data), b"\0")[3 * PAGE :] == data


def test_a_file_of_empty_pages_takes_no_room(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        write_sparse(file, bytes(64 * PAGE))
        file.truncate()
    found = (tmp_path / "sparse").stat()
    assert (found.st_size, found.st_blocks) == (64 * PAGE, 0)


OVERWRITTEN = INFO.replace("PAGESIZE", "PAGE\x01\xffSIZE")
OTHER = INFO.replace(RELEASE, "6.1.0-1-amd64")


@pytest.mark.parametrize(
    "before",
    [
        b"",
        note(INFO[:60]),
        note(OVERWRITTEN),
        note(OTHER),
        note(INFO, size=1 << 20),
    ],
    ids=["nothing", "a part of it", "one overwritten", "another kernel's", "one too long"],
)
def test_the_kernel_is_found_to_say_how_to_read_it(before: bytes) -> None:
    data = bytes(100) + before + bytes(200) + note(INFO) + bytes(50)
    assert vmcore.vmcoreinfo(data, RELEASE) == INFO


def test_a_kernel_that_says_nothing() -> None:
    assert vmcore.vmcoreinfo(bytes(PAGE) + note(OTHER), RELEASE) == ""


def test_the_core_is_one_that_others_read(tmp_path: Path) -> None:
    where = [MemoryRange(0, 4 << 20), MemoryRange(0x100000000, 2 << 20)]
    path = tmp_path / "core.elf"
    with path.open("wb") as file:
        file.write(vmcore.header(where, INFO))
        file.write(b"low!".ljust(1 << 20, b"\0") + b"next".ljust(3 << 20, b"\0"))
        file.write(b"high".ljust(2 << 20, b"\0"))
    with path.open("rb") as file:
        segments: list[Any] = list(ELFFile(file).iter_segments())
        (said,) = segments[0].iter_notes()
        assert (said["n_name"], said["n_descdata"].rstrip(b"\0").decode()) == ("VMCOREINFO", INFO)
        loads = [(each["p_paddr"], each["p_filesz"]) for each in segments[1:]]
        assert loads == [(0, 1 << 20), (1 << 20, 3 << 20), (0x100000000, 2 << 20)]
        assert [each.data()[:4] for each in segments[1:]] == [b"low!", b"next", b"high"]
    program = drgn.Program()
    program.set_core_dump(path)
    assert program.flags & drgn.ProgramFlags.IS_LINUX_KERNEL
    assert program.read(0x100000000, 4, physical=True) == b"high"
    assert vmcore.fields(vmcore.note_of(path.read_bytes()))["OSRELEASE"] == RELEASE
    assert dump.info(path)["KERNELOFFSET"] == "0"


def test_what_is_no_core(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(bytes(vmcore.HEAD))
    with pytest.raises(HostError, match="no dump of the lab"):
        dump.info(tmp_path / "other")


class FakeQemu(Machine):
    """Answers as QEMU does, out of some bytes."""

    def __init__(self, directory: Path, memory: bytes) -> None:
        self.directory = directory
        self._memory = memory

    def execute(self, command: str, arguments: Any = None, *, deadline: float = 10.0) -> Any:
        if command == "pmemsave":
            at, size = arguments["val"], arguments["size"]
            (self.directory / arguments["filename"]).write_bytes(self._memory[at : at + size])
            return {}
        return (
            MTREE.partition("  00000000b0")[0]
            .format(ram="pc.ram", kvm="")
            .replace("000000003fffffff", f"{len(self._memory) - 1:016x}")
        )


@pytest.fixture
def qemu(tmp_path: Path) -> FakeQemu:
    memory = bytearray(8 << 20)
    memory[5 << 20 : (5 << 20) + len(note(INFO))] = note(INFO)
    memory[7 << 20] = 7
    return FakeQemu(tmp_path, bytes(memory))


def test_memory_is_read_piece_by_piece_and_nothing_is_left(qemu: FakeQemu) -> None:
    (low, high) = ranges(qemu)
    assert sum(len(data) for each in (low, high) for _, data in read(qemu, each)) == (
        (8 << 20) - 0x20000
    )
    assert list(qemu.directory.iterdir()) == []


def test_a_dump_has_all_of_it(qemu: FakeQemu) -> None:
    target = qemu.directory / "core.elf"
    size = dump.take_plain(qemu, RELEASE, target, DumpSettings(), lambda _: None)
    program = drgn.Program()
    program.set_core_dump(target)
    assert size == (8 << 20) - 0x20000
    assert program.read(7 << 20, 1, physical=True) == b"\x07"


def test_no_dump_of_a_guest_with_more_memory_than_is_allowed(qemu: FakeQemu) -> None:
    allowed = DumpSettings.model_validate({"memory": "4M"})
    with pytest.raises(dump.TooLarge, match="guest has 7 MiB of memory") as caught:
        dump.take_plain(qemu, RELEASE, qemu.directory / "core.elf", allowed, lambda _: None)
    assert "dumps: {memory: …}" in caught.value.hint
    assert list(qemu.directory.iterdir()) == []


def test_no_dump_of_a_kernel_that_says_nothing_of_itself(qemu: FakeQemu) -> None:
    with pytest.raises(HostError, match=r"VMCOREINFO of 5\.10") as caught:
        dump.take_plain(qemu, "5.10", qemu.directory / "core.elf", DumpSettings(), lambda _: None)
    assert "CONFIG_VMCORE_INFO" in caught.value.hint
    assert list(qemu.directory.iterdir()) == []
