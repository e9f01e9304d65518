# SPDX-License-Identifier: GPL-2.0-or-later
"""guest-scripts/copies: every path and operation leads somewhere, and what is pure in them."""

import ast
import base64
import ctypes
import errno
import json
import os
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.copy.ground import GuestGround, MediumGround
from lab.copy.model import SECTOR, Copy, Extent
from lab.copy.oracle import Tagging, flip_bit
from lab.copy.paths import OWN
from lab.copy.paths.base import CopyPath
from lab.copy.tags import describe
from tests import ROOT

COPIES, LAYERS = ROOT / "guest-scripts/copies", ROOT / "guest-scripts/layers"


def load(name: str) -> Any:
    """One of the guest's modules with what it imports; nothing is compiled beside them."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path[:0] = [str(COPIES), str(LAYERS)]
    try:
        return import_module(name)
    finally:
        del sys.path[:2]
        sys.dont_write_bytecode = before


files, sectors, bdev, mirror, child, kernel, loops, errnos, fua = map(
    load,
    ("files", "sectors", "bdev", "mirror", "child", "kernel", "loops", "errnos", "fua"),
)


def function(operation: str) -> Any:
    """What the executor calls for an operation."""
    module, _, name = operation.rpartition(".")
    return getattr(load(module), name)


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_every_path_of_the_host_is_carried_out_by_a_module_of_the_guest(
    path: type[CopyPath],
) -> None:
    assert callable(load(path.module).copy)


def asked() -> set[str]:
    """The operations that the host asks for, besides copies."""
    found = set()
    for path in [
        *(ROOT / "lab/copy").rglob("*.py"),
        *(ROOT / "lab/suites/copy_faults").rglob("*.py"),
    ]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "op":
                found.add(ast.literal_eval(node.value))
    return found


@pytest.mark.parametrize("operation", sorted(asked()))
def test_every_operation_that_the_host_asks_for_exists(operation: str) -> None:
    assert callable(function(operation))


def test_all_are_looked_at() -> None:
    assert len(asked()) == 17


@pytest.fixture
def opened() -> Iterator[None]:
    """The files that the module keeps open are closed at the end."""
    yield
    sectors.close()
    assert sectors.opened == {}


def ask(**request: Any) -> dict[str, Any]:
    """What the executor would answer."""
    answer: dict[str, Any] = function(request["op"])(request)
    return dict(json.loads(json.dumps(answer)))


def test_what_is_written_through_the_guest_is_read_back(directory: Path, opened: None) -> None:
    node = directory / "made"
    ground = GuestGround(ask, str(node), 8, 1 << 22)
    data = os.urandom(24 * SECTOR)
    ground.write(8, data)
    assert node.stat().st_size == 1 << 22
    assert ground.read(Extent(8, 24)) == data
    assert node.read_bytes()[8 * SECTOR : 32 * SECTOR] == data
    assert ground.read(Extent(0, 40)) == bytes(8 * SECTOR) + data + bytes(8 * SECTOR)


def test_only_what_is_as_guessed_is_not_told(directory: Path, opened: None) -> None:
    node = directory / "made"
    ground = GuestGround(ask, str(node), 8, 1 << 20)
    copy = Copy((Extent(16, 8), Extent(48, 8)), 80)
    tagging = Tagging(Extent(8, 120), 3, 7)
    guess = tagging.copied(copy)
    ground.write(tagging.window.start, tagging.data())

    def told() -> dict[str, Any]:
        offset, size = 8 * SECTOR, 120 * SECTOR
        moves = [[at * SECTOR for at in move] for move in guess.moves]
        return ask(
            op="sectors.read", node=str(node), offset=offset, bytes=size, unit=4096, moves=moves
        )

    assert "as_moved" not in told()
    assert ground.read(tagging.window, guess) == tagging.data()
    with node.open("r+b") as file:
        file.seek(8 * SECTOR)
        file.write(guess.data)
    assert told() == {"as_moved": True, "unreadable": []}
    assert ground.read(tagging.window, guess) == guess.data
    # A single bit is seen, and where something else was written last nothing is taken for known.
    flip_bit(MediumGround(node), 100)
    assert ground.read(tagging.window, guess) == MediumGround(node).read(tagging.window)
    flip_bit(MediumGround(node), 100)
    assert told()["as_moved"]
    ground.write(8, tagging.sector(8))
    assert "as_moved" not in told()
    assert ground.read(tagging.window, guess) == guess.data


def test_more_than_a_piece_is_written_and_read_whole(directory: Path, opened: None) -> None:
    ground = GuestGround(ask, str(directory / "large"), 8, 1 << 22)
    data = os.urandom(sectors.PIECE * 2 + 4096)
    ground.write(0, data)
    assert ground.read(Extent(0, len(data) // SECTOR)) == data


def test_what_lies_behind_the_end_of_a_file_is_zeroes(directory: Path, opened: None) -> None:
    node = directory / "short"
    node.write_bytes(b"x" * 4096)
    assert GuestGround(ask, str(node), 8).read(Extent(0, 16)) == b"x" * 4096 + bytes(4096)


class Failing:
    """A file of `data` in which some blocks of 4 KiB cannot be read; a read that comes to one
    after others gives those, as direct reads over NFS do, or nothing."""

    def __init__(self, data: bytes, bad: set[int], *, short: bool) -> None:
        self._data = data
        self._bad = bad
        self._short = short

    def read(self, offset: int, size: int) -> bytes:
        blocks = range(offset // 4096, -(-(offset + size) // 4096))
        met = [block for block in blocks if block in self._bad]
        if not met:
            return self._data[offset : offset + size]
        if self._short and met[0] > blocks[0]:
            return self._data[offset : met[0] * 4096]
        raise OSError(errno.EILSEQ, "Invalid or incomplete multibyte or wide character")

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("short", [False, True])
@given(bad=st.sets(st.integers(0, 299), max_size=4))
def test_blocks_that_cannot_be_read_are_told_and_no_others(short: bool, bad: set[int]) -> None:
    data = os.urandom(4096) * 300
    sectors.opened["disk"] = Failing(data, bad, short=short)
    try:
        answer = ask(op="sectors.read", node="disk", offset=0, bytes=len(data), unit=4096)
        read = GuestGround(ask, "disk", 8).read(Extent(0, len(data) // SECTOR))
        less = GuestGround(ask, "disk", 8).read(Extent(0, len(data) // SECTOR - 3))
    finally:
        sectors.close()
    assert answer["unreadable"] == [[4096 * block, 4096, errno.EILSEQ] for block in sorted(bad)]
    assert len(zlib.decompress(base64.b64decode(answer["data"]))) == len(data)
    assert len(less) == len(data) - 3 * SECTOR
    for block in range(300):
        found = read[4096 * block : 4096 * block + 4096]
        if block in bad:
            assert describe(found[:SECTOR], 0, 0) == "cannot be read: EILSEQ"
        else:
            assert found == data[:4096]


def test_ranges_are_copied_one_after_the_other_and_synced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a" * 4096 + b"b" * 4096 + bytes(16384))
    fd = os.open(path, os.O_RDWR)
    try:
        answer = files.ranges(fd, fd, [[4096, 4096], [0, 2048]], 8192, files.by_hand)
    finally:
        os.close(fd)
    assert (answer["errno"], answer["done"]) == (0, 2)
    assert path.read_bytes()[8192:] == b"b" * 4096 + b"a" * 2048 + bytes(10240)


def test_a_short_copy_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def copy_file_range(_: int, __: int, size: int, offset: int, to: int) -> int:
        asked.append((offset, to, size))
        return min(size, 100)

    monkeypatch.setattr(os, "copy_file_range", copy_file_range)
    files.by_copy_file_range(3, 1000, 250, 4, 5000)
    assert asked == [(1000, 5000, 250), (1100, 5100, 150), (1200, 5200, 50)]
    monkeypatch.setattr(os, "copy_file_range", lambda *_: 0)
    # With a number it is an error of the copy, which is judged, and not one of the lab.
    with pytest.raises(OSError, match=f"Errno {errno.ENODATA}.*returned 0 at 1000"):
        files.by_copy_file_range(3, 1000, 250, 4, 5000)


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_copy_that_fails_says_how_many_ranges_went_before(tmp_path: Path, failing: int) -> None:
    tried = []

    def by(_: int, offset: int, __: int, ___: int, to: int) -> None:
        tried.append((offset, to))
        if len(tried) > failing:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError) as caught:
        files.ranges(3, 4, [[0, 10], [30, 20], [70, 5]], 500, by)
    assert caught.value.done == failing  # type: ignore[attr-defined]
    assert tried == [(0, 500), (30, 510), (70, 530)][: failing + 1]


def test_a_sync_that_fails_promises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError) as caught:
        files.ranges(3, 4, [[0, 10]], 500, lambda *_: None)
    assert getattr(caught.value, "done", 0) == 0


MOVED = {"bios": [["R", 8, 8, "python3"]], "lost": 0}


@pytest.mark.parametrize("name", ["bdev", "copyrefs", "loops"])
def test_a_copy_that_fails_tells_what_moved_until_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """On a file, which knows none of the ioctls; by it reads and writes that failed are told."""

    class Meter(load("meter").Meter):  # type: ignore[misc]
        """One whose block device was read."""

        def __init__(self, node: str) -> None:
            assert node == str(file)

        def moved(self) -> dict[str, Any]:
            return MOVED

    file = tmp_path / "file"
    file.write_bytes(bytes(8192))
    module = load(name)
    monkeypatch.setattr(module, "Meter", Meter)
    if name == "loops":
        told = {"offset": "0", "backing_file": str(file)}
        monkeypatch.setattr(module.system, "block_name", lambda node: "loop0")
        monkeypatch.setattr(module.system, "read", lambda path: told[Path(path).name])
    else:
        monkeypatch.setattr(module, "open_node", os.open)
    request = {
        "path": "bdev-ioctl", "node": str(file), "ranges": [[0, 512]], "to": 4096,
        "direct": [False, False], "emulate": name == "loops",
    }  # fmt: skip
    answer = load("ending").of(lambda: module.copy(request))
    assert (answer["errno"], answer["moved"]) == (errno.ENOTTY, MOVED)


def test_one_ioctl_has_all_ranges_in_the_structures_of_the_series(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: dict[str, Any] = {}

    def ioctl(fd: int, number: int, argument: bytearray) -> int:
        to, count, address, rest = struct.unpack("<QQQQ", argument)
        entries = ctypes.string_at(address, 32 * count)
        seen.update(fd=fd, number=number, to=to, rest=rest)
        seen["entries"] = list(struct.iter_unpack("<QQQQ", entries))
        return 0

    monkeypatch.setattr(bdev.fcntl, "ioctl", ioctl)
    monkeypatch.setattr(os, "fsync", lambda fd: seen.update(synced=fd))
    answer = bdev.by_ioctl(7, [[4096, 512], [8192, 1024]], 1 << 40)
    assert (answer["errno"], answer["done"]) == (0, 2)
    assert seen == {
        "fd": 7, "number": 3 << 30 | 32 << 16 | 0x12 << 8 | 129, "to": 1 << 40, "rest": 0,
        "entries": [(4096, 512, 0, 0), (8192, 1024, 0, 0)], "synced": 7,
    }  # fmt: skip


class Namespace:
    """A debugfs whose kernel fails reads by what is written to it."""

    def __init__(self, place: Path, errnos: dict[str, int]) -> None:
        self.place = place / "nvme0n1/fault_inject"
        self.errnos = errnos

    def read(self, fd: int, buffers: list[Any], offset: int) -> int:
        assert (offset, (self.place / "probability").read_text()) == (0, "100")
        number = self.errnos.get((self.place / "status").read_text(), 0)
        if number:
            raise OSError(number, os.strerror(number))
        return len(buffers[0])


def errnos_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: Path, *, injects: bool
) -> list[list[int]]:
    """What the guest says of three statuses; of one of them nothing comes of the injection."""
    namespace = Namespace(tmp_path, {"0x183": errno.EIO, "0x180": errno.EOPNOTSUPP})
    if injects:
        namespace.place.mkdir(parents=True)
        for name in ("status", *errnos.ARMED):
            (namespace.place / name).touch()
    node = disk / "nvme0n1"
    node.write_bytes(bytes(4096))
    monkeypatch.setattr(errnos, "DEBUG", str(tmp_path))
    monkeypatch.setattr(errnos.nvme, "find", lambda serial, nsid: str(node))
    monkeypatch.setattr(os, "preadv", namespace.read)
    found: list[list[int]] = ask(
        op="errnos.errnos", serial="S", nsid=1, statuses=[0x183, 0x180, 0x3]
    )["errnos"]
    if injects:
        assert (namespace.place / "probability").read_text() == "0"
    return found


def test_the_kernel_tells_what_it_makes_of_a_status(
    tmp_path: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = errnos_of(tmp_path, monkeypatch, directory, injects=True)
    assert found == [[0x183, errno.EIO], [0x180, errno.EOPNOTSUPP]]


def test_a_kernel_without_fault_injection_tells_nothing(
    tmp_path: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert errnos_of(tmp_path, monkeypatch, directory, injects=False) == []


@pytest.mark.parametrize(
    ("flushed", "commands"),
    [
        (False, ["28000000000000000100", "2a000000000000000100", "2a080000000000000100"]),
        (True, ["28000000000000000100", "2a000000000000000100", "35000000000000000000",
                "2a080000000000000100"]),
    ],
)  # fmt: skip
def test_a_scsi_disk_is_written_as_it_was_and_then_with_fua(
    flushed: bool, commands: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = tmp_path / "sda"
    node.touch()
    sent, written = [], []

    def ioctl(fd: int, number: int, header: bytearray) -> int:
        fields = fua.xcopy.SG_HEADER.unpack(header)
        # struct sg_io_hdr: direction, cmd_len at 1 and 2; dxfer_len at 5; dxferp and cmdp behind it
        direction, length, size, data, command = (fields[at] for at in (1, 2, 5, 6, 7))
        sent.append(ctypes.string_at(command, length).hex())
        if direction == fua.FROM_DEVICE:
            ctypes.memmove(data, b"\x5a" * size, size)
        elif direction == fua.TO_DEVICE:
            written.append(ctypes.string_at(data, size))
        else:
            assert size == 0
        return 0

    monkeypatch.setattr(fua.system, "queue", lambda path, name: "512")
    monkeypatch.setattr(fua.fcntl, "ioctl", ioctl)
    assert ask(op="fua.force_unit_access", node=str(node), flushed=flushed) == {}
    assert sent == commands
    assert written == [b"\x5a" * 512] * 2


def test_a_namespace_is_written_as_it_was_and_then_with_fua(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []

    def command(
        node: str, number: int, opcode: int, nsid: int, cdw: tuple[int, ...], data: Any
    ) -> tuple[int, int, float]:
        sent.append((Path(node).name, opcode, nsid, cdw[2] >> 30, bytes(data[:1])))
        if opcode == fua.NVME_READ:
            data[0] = 7
        return (0x281 if failing else 0, 0, 0.0)

    failing = False
    (tmp_path / "nvme2n3").mkdir()
    (tmp_path / "nvme2n3/nsid").write_text("3\n")
    monkeypatch.setattr(fua.nvme, "BLOCK", str(tmp_path))
    monkeypatch.setattr(fua.nvme, "command", command)
    monkeypatch.setattr(fua.system, "queue", lambda path, name: "4096")
    ask(op="fua.force_unit_access", node="/dev/nvme2n3", flushed=True)
    assert sent == [
        ("ng2n3", 2, 3, 0, b"\0"), ("ng2n3", 1, 3, 0, b"\7"), ("ng2n3", 0, 3, 0, b""),
        ("ng2n3", 1, 3, 1, b"\7"),
    ]  # fmt: skip
    failing = True
    with pytest.raises(fua.system.Failure, match="read of /dev/ng2n3: status 0x281"):
        ask(op="fua.force_unit_access", node="/dev/nvme2n3")


REGIONS = {"node": "/dev/lab/S:1", "ranges": [[1 << 20, 4096], [(1 << 20) + 4096, 4096]]}


def test_a_mirror_has_a_region_for_each_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror.system, "block_name", lambda node: {"/dev/lab/S:1": "nvme3n1"}[node])
    table = mirror.table(REGIONS | {"to": 4 << 20})
    assert table == ("0 16 mirror core 1 8 2 /dev/nvme3n1 2048 /dev/nvme3n1 8192 1 handle_errors")


@pytest.mark.parametrize("ranges", [[[0, 4096], [8192, 4096]], [[0, 4096], [4096, 8192]]])
def test_ranges_that_no_mirror_has_are_refused(ranges: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="one length and follow one another"):
        mirror.table({"node": "n", "ranges": ranges, "to": 1 << 20})


@pytest.mark.parametrize(
    ("status", "progress"),
    [
        ("mirror 2 259:0 259:0 4/4 1 AA 1 core", (4, "AA")),
        ("mirror 2 259:0 259:0 0/4 1 AA 1 core", (0, "AA")),
        ("mirror 2 259:0 259:0 1/4 1 AD 1 core", (1, "AD")),
        ("mirror 3 8:0 8:16 8:32 12/40 1 ASR 3 disk 8:48 A", (12, "ASR")),
    ],
)
def test_the_status_of_a_mirror_tells_what_is_in_line(
    status: str, progress: tuple[int, str]
) -> None:
    assert mirror.progress(status.split()) == progress


@pytest.fixture
def pid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the copying process tells its pid."""
    monkeypatch.setattr(child, "PID", str(tmp_path / "copier.pid"))
    return tmp_path / "copier.pid"


def test_a_child_hands_its_answer_on(pid: Path) -> None:
    mine = os.getpid()
    answer = child.run(lambda: {"errno": 0, "done": 3, "pid": os.getpid(), "long": "x" * 200_000})
    assert (answer["errno"], answer["done"], len(answer["long"])) == (0, 3, 200_000)
    assert answer["pid"] != mine
    assert not pid.exists()


def test_a_child_that_was_killed_has_told_nothing(pid: Path) -> None:
    def work() -> dict[str, Any]:
        # Who kills it reads its pid, which the parent writes down meanwhile.
        while not (pid.exists() and pid.read_text()):
            pass
        os.kill(int(pid.read_text()), signal.SIGKILL)
        return {"errno": 0}

    answer = child.run(work)
    assert answer["killed"] == signal.SIGKILL
    assert answer["seconds"] > 0
    assert not pid.exists()


def test_what_goes_wrong_in_a_child_is_told(pid: Path) -> None:
    def work() -> dict[str, Any]:
        raise LookupError("no namespace")

    assert child.run(work) == {"error": "LookupError: no namespace"}
    # A child that went on where its parent does would answer the host as well.
    assert "not JSON serializable" in child.run(lambda: {"data": b"bytes"})["error"]


def test_an_error_of_the_kernel_in_a_child_is_how_the_copy_ended(tmp_path: Path) -> None:
    """As the host sees it: over the executor's stdin and stdout."""
    request = {
        "op": "files.copy", "path": "fs-cfr", "node": str(tmp_path / "none"), "ranges": [[0, 1]],
        "to": 2,
    }  # fmt: skip
    code = (
        "import sys, runpy; sys.argv[1:] = ['serve']; sys.path.insert(0, sys.argv[0]);"
        f"import child; child.PID = {str(tmp_path / 'pid')!r};"
        f"runpy.run_path({str(COPIES)!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input="".join(json.dumps(request | own) + "\n" for own in ({"own_process": True}, {})),
        env={**os.environ, "LAB_LAYERS": str(LAYERS), "PYTHONPATH": str(COPIES)},
        capture_output=True,
        text=True,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(answer["errno"], answer["done"]) for answer in answers] == [(errno.ENOENT, 0)] * 2


def crowd_request(tmp_path: Path, *copies: dict[str, Any]) -> dict[str, Any]:
    """Copies within a file, and a write to it, at once."""
    node = tmp_path / "file"
    node.write_bytes(b"".join(bytes([at]) * 4096 for at in range(8)))
    data = base64.b64encode(zlib.compress(b"w" * 4096)).decode()
    return {
        "op": "crowd.copy", "node": str(node), "copies": list(copies),
        "writes": [{"offset": 7 * 4096, "data": data}],
    }  # fmt: skip


def within(node: str, source: int, target: int) -> dict[str, Any]:
    """A copy of one block within a file."""
    ranges = [[source * 4096, 4096]]
    return {
        "op": "files.copy", "path": "fs-cfr", "node": node, "ranges": ranges, "to": target * 4096,
    }  # fmt: skip


def test_copies_and_writes_are_made_at_once_and_all_of_them_are_told(tmp_path: Path) -> None:
    node = str(tmp_path / "file")
    request = crowd_request(tmp_path, within(node, 0, 4), within(node, 1, 5))
    answer = load("crowd").copy(request)
    assert (answer["errno"], answer["failed"], answer["done"]) == (0, [], 1)
    assert 0 <= answer["met"] <= 3
    assert answer["moved"] == {"unknown": "it is no block device"}
    blocks = [0, 1, 2, 3, 0, 1, 6, ord("w")]
    assert Path(node).read_bytes() == b"".join(bytes([at]) * 4096 for at in blocks)


def test_what_failed_among_several_is_told_and_the_others_are_made(tmp_path: Path) -> None:
    node = str(tmp_path / "file")
    missing = within(str(tmp_path / "nowhere"), 0, 4)
    answer = load("crowd").copy(crowd_request(tmp_path, within(node, 0, 4), missing))
    assert (answer["errno"], answer["failed"], answer["done"]) == (errno.ENOENT, [1], 0)
    assert answer["said"] == "copy 2: No such file or directory"
    assert Path(node).read_bytes()[4 * 4096 : 5 * 4096] == bytes(4096)
    assert Path(node).read_bytes()[7 * 4096 :] == b"w" * 4096
