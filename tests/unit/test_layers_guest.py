# SPDX-License-Identifier: GPL-2.0-or-later
"""guest-scripts/layers: what is pure in it - patterns, formats, parsing, and what a person sees."""

import errno
import os
import struct
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.profile.fields import tag_of
from lab.profile.layers import OWN, BaseLayer
from tests import ROOT


def load(name: str) -> Any:
    """A module of the guest's; nothing is compiled beside it."""
    directory = str(ROOT / "guest-scripts/layers")
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path.insert(0, directory)
    try:
        return import_module(name)
    finally:
        sys.path.remove(directory)
        sys.dont_write_bytecode = before


pattern = load("pattern")
ioctls = load("ioctls")
filesystems = load("filesystems")
nvme_command = load("nvme_command")
nvme_copy = load("nvme_copy")
verify_blocks = load("verify_blocks")
verify_files = load("verify_files")
probe = load("probe")
probe_copies = load("probe_copies")
system = load("system")
plain = load("plain")
loop = load("loop")

SIZES = st.sampled_from([512, 4096])


@pytest.mark.parametrize("model", OWN, ids=tag_of)
def test_every_layer_is_made_by_a_class_of_the_guest(model: type[BaseLayer]) -> None:
    module, _, name = model.guest_class.partition(".")
    made = getattr(load(module), name)
    assert issubclass(made, load("layer").Layer)
    assert made.up is not load("layer").Layer.up


@given(size=SIZES, first=st.integers(0, 2**40), count=st.integers(1, 9))
def test_a_pattern_is_found_right(size: int, first: int, count: int) -> None:
    blocks = pattern.Pattern(size)
    data = blocks.blocks(first, count)
    assert len(data) == size * count
    blocks.check(data, first, count, "here")


@given(size=SIZES, count=st.integers(1, 5), data=st.data())
def test_every_changed_byte_is_found(size: int, count: int, data: st.DataObject) -> None:
    blocks = pattern.Pattern(size)
    content = bytearray(blocks.blocks(7, count))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(pattern.Mismatch, match=f"here: block {at // size} of {count} is "):
        blocks.check(bytes(content), 7, count, "here")


def described(read: bytes) -> str:
    """What is said of two blocks of 512 bytes that should be 5 and 6 of the occasion `a`."""
    with pytest.raises(pattern.Mismatch) as caught:
        pattern.Pattern(512, b"a" * 16).check(read, 5, 2, "here")
    return str(caught.value)


def test_misplaced_stale_torn_and_lost_blocks_are_told_apart() -> None:
    mine, old = pattern.Pattern(512, b"a" * 16), pattern.Pattern(512, b"b" * 16)
    assert described(mine.blocks(5, 1) + mine.blocks(9, 1)) == (
        "here: block 1 of 2 is misplaced: it is block 9 of this pattern"
    )
    assert described(old.blocks(5, 2)) == (
        "here: block 0 of 2 is stale: block 5 of an earlier pattern"
    )
    torn = mine.blocks(5, 1)[:256] + old.blocks(5, 1)[256:]
    assert described(torn + mine.blocks(6, 1)) == "here: block 0 of 2 is torn, or damaged"
    assert described(mine.blocks(5, 1) + bytes(512)) == "here: block 1 of 2 is all zeroes"
    assert "is something else: it begins with 6767" in described(b"g" * 1024)
    assert described(mine.blocks(5, 1)) == "here: 512 bytes read; expected 1024"


def crc32_le(seed: int, data: bytes) -> int:
    """The kernel's crc32_le (lib/crc32.c), bit by bit."""
    crc = seed
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    return crc


@given(identifier=st.binary(min_size=16, max_size=16))
def test_the_kernel_would_mount_the_superblock_of_zonefs(identifier: bytes) -> None:
    # fs/zonefs/super.c, zonefs_read_super; offsets of struct zonefs_super in zonefs.h
    block = filesystems.zonefs_super(identifier)
    assert len(block) == 4096
    magic, checksum = struct.unpack_from("<II", block)
    assert magic == 0x5A4F4653
    assert checksum == crc32_le(0xFFFFFFFF, block[:4] + bytes(4) + block[8:])
    assert block[72:88] == identifier
    (features,) = struct.unpack_from("<Q", block, 88)
    assert features == 0 and not any(block[96:])


def test_numbers_of_ioctls_carry_the_sizes_of_their_structures() -> None:
    # asm-generic/ioctl.h: the size is in bits 16 to 29
    for number, size in (
        (ioctls.BLKREPORTZONE, ioctls.REPORT.size),
        (ioctls.BLKRESETZONE, 16),
        (ioctls.FICLONERANGE, 32),
        (ioctls.FIDEDUPERANGE, 24),
        (ioctls.FS_IOC_FIEMAP, ioctls.FIEMAP.size),
        (ioctls.FS_IOC_UNRESVSP64, ioctls.SPACE.size),
        (nvme_command.IO_CMD, nvme_command.PASSTHRU.size),
        (nvme_command.ADMIN_CMD, nvme_command.PASSTHRU.size),
    ):
        assert number >> 16 & 0x3FFF == size
    assert (ioctls.ZONE.size, ioctls.FIEMAP_EXTENT.size, ioctls.DEDUPE.size) == (64, 56, 56)


def zone(start: int, kind: int, condition: int, capacity: int) -> bytes:
    """A struct blk_zone of 0x4000 sectors whose write pointer is 8 sectors behind its start."""
    head = struct.pack("<QQQBBBB", start, 0x4000, start + 8, kind, condition, 0, 0)
    return (head + bytes(4) + struct.pack("<Q", capacity)).ljust(64, b"\0")


def test_zones_are_in_bytes() -> None:
    records = zone(0, 1, 0, 0x4000) + zone(0x4000, 2, 1, 0x3000) + zone(0x8000, 2, 2, 0x3000)
    # Room for a fourth that is not there.
    report = struct.pack("<QII", 0, 3, 1) + records + bytes(64)
    conventional, empty, opened = ioctls.zones_in(report)
    assert (conventional.sequential, empty.sequential, opened.sequential) == (False, True, True)
    assert (conventional.empty, empty.empty, opened.empty) == (False, True, False)
    assert (empty.start, empty.length, empty.capacity) == (8 << 20, 8 << 20, 6 << 20)
    assert opened.pointer == (16 << 20) + 4096


def test_zones_of_a_kernel_without_capacities_hold_their_size() -> None:
    (only,) = ioctls.zones_in(struct.pack("<QII", 0, 1, 0) + zone(0, 2, 1, 0))
    assert only.capacity == only.length == 8 << 20


def test_limits_of_copy_are_read_from_the_identify_structures() -> None:
    controller, namespace = bytearray(4096), bytearray(4096)
    struct.pack_into("<H", controller, 520, 1 << 8)
    struct.pack_into("<H", controller, 534, 0b1101)
    struct.pack_into("<HIB", namespace, 74, 256, 4096, 127)
    namespace[29] = 0b1001  # type 1, in the first bytes of the metadata
    limits = nvme_copy.Limits(bytes(controller), bytes(namespace))
    assert limits.supported and limits.pi == 1
    assert str(limits) == (
        "ONCS bit 8 set, formats 0, 2, 3, MSSRL 256 and MCL 4096 blocks, MSRC 128 ranges"
    )
    controller[521] = 0
    assert not nvme_copy.Limits(bytes(controller), bytes(namespace)).supported


def test_a_range_of_a_copy_is_written_as_its_format_has_it() -> None:
    # NVM Command Set 1.1, Figures 39 and 40
    narrow = nvme_copy.descriptor(0x123456789A, 8, 0, 0x123456789A)
    wide = nvme_copy.descriptor(0x123456789A, 8, 1, 0x123456789A)
    assert (len(narrow), len(wide)) == (32, 40)
    for entry in (narrow, wide):
        assert struct.unpack_from("<QH", entry, 8) == (0x123456789A, 7)
    assert narrow[24:28] == bytes.fromhex("9a785634")
    assert wide[26:36] == bytes.fromhex("0000000000123456789a")


def test_what_mkfs_f2fs_says_is_wrong_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "\n\tF2FS-tools: mkfs.f2fs Ver: 1.16.0\n\nInfo: Trim\n\tError: In use by the system!"

    def run(argv: list[str], *_: Any) -> str:
        raise system.Failure(" ".join(argv), said.strip())

    monkeypatch.setattr(system, "run", run)
    monkeypatch.setattr(system, "is_zoned", lambda _: False)
    layer = filesystems.F2fs({"name": "f", "type": "f2fs", "mkfs": [], "zoned": None})
    with pytest.raises(system.Failure, match=r"^mkfs.f2fs /dev/x: Error: In use by the system!$"):
        layer.make("/dev/x")


PARTS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=4)


@given(parts=PARTS, offset=st.integers(0, 30), size=st.integers(1, 9))
def test_a_place_touches_a_bad_part_when_they_share_a_byte(
    parts: list[tuple[int, int]], offset: int, size: int
) -> None:
    bad = {byte for start, length in parts for byte in range(start, start + length)}
    shared = not bad.isdisjoint(range(offset, offset + size))
    assert verify_blocks.touches(parts, offset, size) == shared


TABLE = "0 61440 linear 253:0 0\n61440 8192 error \n69632 61440 linear 253:0 69632\n"


def test_bad_parts_are_those_whose_target_is_error() -> None:
    assert verify_blocks.bad_parts_in(TABLE) == [(61440 * 512, 8192 * 512)]
    assert verify_blocks.bad_parts_in("0 131072 flakey 259:0 0 0 9 1 error_reads\n") == []


STATISTICS = """\
device overlay mounted on / with fstype overlay
device 127.0.0.1:/a mounted on /mnt/a with fstype nfs4 statvers=1.1
\tper-op statistics
\t        READ: 4 4 0 736 1000 0 1 1 0
\t        COPY: 3 3 0 736 300 0 1 1 0
\t       CLONE: 2 2 0 736 300 0 1 1 0
device 127.0.0.1:/b mounted on /mnt/b with fstype nfs4 statvers=1.1
\t        COPY: 7 7 0 736 300 0 1 1 0
"""


def test_copies_of_an_nfs_mount_are_counted() -> None:
    assert verify_files.copies_in(STATISTICS, "/mnt/a") == 5
    assert verify_files.copies_in(STATISTICS, "/mnt/b") == 7
    assert verify_files.copies_in(STATISTICS, "/") == 0


class Silent:
    """A kernel log in which nothing appears."""

    def messages(self) -> list[str]:
        """Nothing."""
        return []


def test_a_trial_ends_as_supported_not_supported_or_not_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(load("kernellog"), "KernelLog", Silent)

    def raising(problem: Exception) -> Any:
        def action() -> str:
            raise problem

        return probe.attempt("x", action)

    def capability(supported: bool | None, said: str) -> dict[str, object]:
        return {"capability": "x", "supported": supported, "said": said}

    assert probe.attempt("x", lambda: "64 blocks") == capability(True, "64 blocks")
    invalid = OSError(errno.EINVAL, "Invalid argument")
    assert raising(invalid) == capability(False, "EINVAL (Invalid argument)")
    assert raising(probe.Lacks("nothing there")) == capability(False, "nothing there")
    assert raising(probe.Lies("no")) == capability(False, "no") | {"wrong": True}
    assert raising(system.Failure("mkfs", "one\ntwo")) == capability(False, "one; two")
    assert raising(probe.NotTried("read-only")) == capability(None, "not tried: read-only")
    with pytest.raises(ZeroDivisionError):
        raising(ZeroDivisionError())


class File:
    """What lies at the places of an area: a pattern, and what is to be overwritten."""

    fd = 0

    def __init__(self, content: dict[int, bytes]) -> None:
        self.content = content

    def read(self, offset: int, size: int) -> bytes:
        """What lies there."""
        assert len(self.content[offset]) == size
        return self.content[offset]


class Place:
    """An area of one block and another."""

    device, size, source, target = "/dev/x", 64, 0, 64

    def __init__(self) -> None:
        self.pattern = pattern.Pattern(self.size)
        self.block = self.pattern.blocks(0, 1)
        self.disk = File({self.source: self.block, self.target: bytes(self.size)})

    def __enter__(self) -> "Place":
        return self

    def __exit__(self, *_: object) -> None: ...

    def prepare(self) -> None: ...

    def restore(self) -> None: ...


class Unseen:
    """A meter that has seen these bios."""

    bios: ClassVar[list[list[Any]]] = []

    def __init__(self, device: str) -> None:
        assert device == "/dev/x"

    def moved(self) -> dict[str, Any]:
        """Operation, sector, sectors, who."""
        return {"bios": self.bios, "lost": 0}


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> tuple[Place, Place]:
    """An area to copy to, and one of another disk."""
    at, there = Place(), Place()
    there.disk.content[64] = there.pattern.blocks(1, 1)
    monkeypatch.setattr(probe_copies, "area", lambda device: there)
    monkeypatch.setattr(probe_copies, "Meter", Unseen)
    monkeypatch.setattr(system, "size_of", lambda device: 128)
    return at, there


@pytest.mark.parametrize("wrong", ["", "nothing moved", "its own block", "source", "the other"])
def test_a_copy_that_moves_nothing_or_too_much_is_no_copy(
    monkeypatch: pytest.MonkeyPatch, two: tuple[Place, Place], wrong: str
) -> None:
    """As a kernel with a series under review did: the full length, and every sector old."""
    at, there = two

    def copy(*_: int) -> int:
        moved = {"nothing moved": bytes(64), "its own block": at.block}.get(wrong, there.block)
        at.disk.content[64] = moved
        if wrong in ("source", "the other"):
            (at if wrong == "source" else there).disk.content[0] = bytes(64)
        return 64

    monkeypatch.setattr(os, "copy_file_range", copy)
    if not wrong:
        assert probe_copies.between(at, "/dev/other") == "64 bytes, compared, offloaded"
        return
    with pytest.raises(probe.Lies, match="64 of 64 bytes reported"):
        probe_copies.between(at, "/dev/other")


def test_a_copy_that_goes_to_the_disk_that_it_comes_from_is_told_and_undone(
    monkeypatch: pytest.MonkeyPatch, two: tuple[Place, Place]
) -> None:
    at, there = two
    before = there.disk.content[64]
    written: dict[int, bytes] = {}

    class Again:
        """The other disk, open for writing."""

        def __init__(self, device: str) -> None:
            assert device == "/dev/other"

        def __enter__(self) -> "Again":
            return self

        def __exit__(self, *_: object) -> None: ...

        def write(self, offset: int, data: bytes) -> None:
            """Restore."""
            written[offset] = data

    def copy(*_: int) -> int:
        there.disk.content[64] = there.block
        return 64

    monkeypatch.setattr(os, "copy_file_range", copy)
    monkeypatch.setattr(probe_copies, "Direct", Again)
    with pytest.raises(probe.Lies, match="copied from has changed at byte 64, which is restored"):
        probe_copies.between(at, "/dev/other")
    assert written == {64: before}


@pytest.mark.parametrize(
    ("bio", "said"),
    [
        (["WS", 0, 1, "lab"], "but the kernel fell back: 1 writes"),
        (["FWFS", 0, 8, "lab"], "but the kernel fell back: 1 writes"),
        (["R", 0, 1, "lab"], ""),
        (["N", 0, 1, "lab"], ""),
        (["WS", 1, 8, "kworker"], ""),
    ],
)
def test_a_copy_that_the_kernel_makes_by_writing_is_no_offload(
    monkeypatch: pytest.MonkeyPatch, two: tuple[Place, Place], bio: list[Any], said: str
) -> None:
    at, there = two
    monkeypatch.setattr(Unseen, "bios", [bio])

    def copy(*_: int) -> int:
        at.disk.content[64] = there.block
        return 64

    monkeypatch.setattr(os, "copy_file_range", copy)
    if said:
        with pytest.raises(probe.Lacks, match=said):
            probe_copies.between(at, "/dev/other")
    else:
        assert probe_copies.between(at, "/dev/other") == "64 bytes, compared, offloaded"


def test_a_step_is_one_aligned_line() -> None:
    up: dict[str, Any] = {"event": "disk", "name": "S:1", "status": "up"}
    up |= {"devices": {"": "/dev/nvme0n1"}}
    up |= {"size": 256 << 20, "capabilities": [probe.result("table", True, "0 1 a\n1 1 b")]}
    assert list(plain.lines(up)) == ["S:1                  up             /dev/nvme0n1  256M"]
    assert list(plain.lines(up, verbose=True))[1:] == [
        "    table                           yes 0 1 a",
        f"{'':40}1 1 b",
    ]
    assert list(plain.lines({"event": "starting", "name": "fs"})) == []


def test_a_failed_step_says_what_was_tried_and_what_the_kernel_said() -> None:
    step: dict[str, Any] = {"event": "layer", "name": "fs", "status": "not supported"}
    step |= {
        "tried": "mount",
        "said": "wrong fs type\nsee dmesg",
        "kernel": ["XFS: no"],
        "devices": {},
    }
    assert list(plain.lines(step)) == [
        "fs                   not supported  mount: wrong fs type",
        f"{'':36}see dmesg",
        f"{'':36}XFS: no",
    ]


def test_what_is_mounted_is_asked_of_the_kernel_and_not_of_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A file system that is shut down answers EIO; here the paths do not even exist.
    table = tmp_path / "mountinfo"
    table.write_text(
        "36 35 98:0 / /mnt/xfs rw,noatime master:1 - xfs /dev/root rw\n"
        "37 35 98:1 / /mnt/a\\040b rw - xfs /dev/sda rw\n"
    )
    monkeypatch.setattr(system, "MOUNTS", str(table))
    assert system.is_mounted("/mnt/xfs")
    assert system.is_mounted("/mnt/a b")
    assert not system.is_mounted("/mnt")


def test_a_slow_guest_waits_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a look costs there more, what is waited for costs more as well."""
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    def found() -> bool:
        nonlocal now
        now += 0.18
        return now > 9

    monkeypatch.setattr(system.time, "monotonic", lambda: now)
    monkeypatch.setattr(system.time, "sleep", sleep)
    assert system.wait_for(found, "it", deadline=1.0)
    with pytest.raises(system.Failure, match="not there within 10 s"):
        system.wait_for(lambda: found() and now > 30, "it", deadline=1.0)


def test_partitions_are_looked_for_when_udev_has_read_their_table_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It does that when sfdisk has closed the disk, and meanwhile they are gone."""
    ran: list[str] = []

    def run(argv: list[str], **_given: Any) -> str:
        ran.append(argv[0] if argv[0] != "udevadm" else argv[1])
        return "/dev/loop7" if "--find" in argv else ""

    def wait_for(_found: Any, what: str) -> str:
        ran.append(f"wait for {what}")
        return what

    for name, value in (("run", run), ("wait_for", wait_for)):
        monkeypatch.setattr(system, name, value)
    monkeypatch.setattr(system, "modprobe", lambda *_names: None)
    monkeypatch.setattr(system, "signature", lambda *_words: "")
    monkeypatch.setattr(loop, "device_below", lambda _over: "/dev/null")
    monkeypatch.setattr(loop.os.path, "exists", lambda _path: True)
    spec = {"name": "d", "over": "fs", "partitions": [2**24], "direct_io": True, "block_size": 512}
    loop.Loop(spec).up()
    assert ran == ["losetup", "losetup", "sfdisk", "settle", "wait for /dev/loop7p1"]


def test_a_program_of_the_guest_is_run_to_its_end_with_what_it_is_given() -> None:
    system = load("system")
    assert system.run(["cat"], text="given") == "given"
    assert system.run(["sh", "-c", "echo said; exit 2"], well=(0, 2)) == "said\n"
    # More than a pipe takes at once, both ways.
    assert system.run(["cat"], text="x" * 300_000) == "x" * 300_000
    with pytest.raises(system.Failure, match=r"^sh -c .*: No space left on device$") as caught:
        system.run(["sh", "-c", "echo No space left on device >&2; exit 1"])
    assert caught.value.error == "ENOSPC"
    with pytest.raises(system.Failure, match="not in this image"):
        system.run(["no-such-program"])


def test_a_program_has_longer_where_the_guest_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    system = load("system")
    with pytest.raises(system.Failure, match="no end within"):
        system.run(["sleep", "60"], deadline=0.1)
    # In the module that it has: tests of others may have loaded that once more.
    monkeypatch.setitem(system.ended.__globals__, "slower", lambda: 20.0)
    assert system.run(["sh", "-c", "sleep 0.5; echo done"], deadline=0.1) == "done\n"
