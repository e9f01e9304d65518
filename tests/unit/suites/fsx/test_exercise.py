# SPDX-License-Identifier: GPL-2.0-or-later
"""The exerciser: its operations on a real file of this host, and the model that must agree."""

import json
import random
import runpy
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.errors import ProfileError, UsageError
from lab.profile.load import load
from lab.suites.fsx.case import Course, FileMismatch
from lab.suites.fsx.model import FileModel, blocks, exact
from lab.suites.fsx.operations import BLOCK, KINDS, MAX_SIZE, Operation, draw
from lab.suites.fsx.options import parse
from lab.suites.fsx.run import places
from tests import ROOT

SCRIPTS = ROOT / "guest-scripts"


class Local:
    """guest-scripts/suites/exerciser, on a file of this host; `spoil` may change its answers."""

    def __init__(self, path: Path, spoil: Callable[[dict[str, Any]], None] | None = None) -> None:
        self._at_work = _exerciser()(str(path))
        self._path = path
        self._spoil = spoil

    def request(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = {"errno": 0, **self._at_work.carry_out(**request)}
        except OSError as problem:
            answer = {"errno": problem.errno, "said": problem.strerror}
        if self._spoil:
            self._spoil(request)
        return json.loads(json.dumps(answer))  # type: ignore[no-any-return]

    def bytes_at(self, at: int, length: int) -> bytes:
        return self._path.read_bytes()[at : at + length]

    def close(self) -> None:
        pass


def _exerciser() -> Any:
    sys.path.insert(0, str(SCRIPTS / "layers"))
    try:
        return runpy.run_path(str(SCRIPTS / "suites/exerciser"))["Exerciser"]
    finally:
        sys.path.remove(str(SCRIPTS / "layers"))
        sys.modules.pop("ioctls", None)


def course(path: Path, seed: int, ops: int = 80, **more: Any) -> Course:
    spoil = more.pop("spoil", None)
    kinds = more.pop("kinds", KINDS)
    numbers = random.Random(seed)
    return Course(Local(path, spoil), numbers, ops, kinds, **more)  # type: ignore[arg-type]


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_model_and_file_agree_after_every_operation(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    path = tmp_path_factory.mktemp("exercise") / "file"
    done = course(path, seed)
    done.run()
    assert path.read_bytes() == done.model.content
    assert len(done.log.lines) == 80


def test_each_kind_is_drawn_and_each_works_or_is_refused_by_name(tmp_path: Path) -> None:
    done = course(tmp_path / "file", 7, ops=400)
    done.run()
    assert done.worked | set(done.refused) == set(KINDS)
    assert {"write", "copy", "truncate", "fsync"} <= done.worked


def test_a_flipped_bit_is_found_with_its_operation_and_its_place(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()

    def spoil(request: dict[str, Any]) -> None:
        if request["op"] == "copy":
            with path.open("r+b") as file:
                file.seek(request["at"])
                byte = file.read(1)
                file.seek(request["at"])
                file.write(bytes([byte[0] ^ 1]))

    with pytest.raises(
        FileMismatch, match=r"operation \d+, copy \d+\+\d+ to (\d+).*: bytes \1 to"
    ) as wrong:
        course(path, 3, kinds=("write", "copy"), spoil=spoil).run()
    assert ", not " in str(wrong.value)


def test_a_case_can_be_replayed_from_its_log(tmp_path: Path) -> None:
    first = course(tmp_path / "first", 11)
    first.run()
    log = tmp_path / "operations.jsonl"
    log.write_text(first.log.text())
    asked = parse(["--replay", str(log)])
    again = course(tmp_path / "again", 0, replayed=asked.replay)
    again.run()
    assert again.model.content == first.model.content


@given(st.integers(0, 2**32), st.integers(0, MAX_SIZE))
def test_what_is_drawn_makes_sense(seed: int, size: int) -> None:
    operation = draw(random.Random(seed), size, KINDS)
    assert Operation.read(operation.request()) == operation
    assert str(operation).startswith(operation.kind)
    assert operation.at + operation.length <= MAX_SIZE or operation.kind == "truncate"
    if operation.kind in ("copy", "clone", "dedupe"):
        assert operation.source + operation.length <= size
        assert abs(operation.source - operation.at) >= operation.length
    if operation.kind in ("clone", "dedupe", "collapse", "insert"):
        assert not {operation.at % BLOCK, operation.length % BLOCK, operation.source % BLOCK} - {0}


def sums(content: bytes) -> list[int]:
    return [zlib.crc32(block) for block in blocks(content)]


@pytest.fixture
def model() -> Iterator[FileModel]:
    """A file of three blocks that was made durable, then changed in its second block, twice."""
    made = FileModel()
    made.apply(Operation("write", 0, 3 * BLOCK, fill=1), 3 * BLOCK)
    made.apply(Operation("fsync"), 0)
    made.apply(Operation("write", BLOCK, BLOCK, fill=2), BLOCK)
    made.apply(Operation("write", BLOCK, BLOCK, fill=3), BLOCK)
    yield made


def test_after_a_loss_each_block_may_be_any_version_since_fsync(model: FileModel) -> None:
    synced, second, third = model.versions
    for content in (synced, second, third):
        assert model.lost(3 * BLOCK, sums(content)) is None


def test_what_was_fsynced_must_not_be_lost(model: FileModel) -> None:
    content = bytearray(model.versions[0])
    content[2 * BLOCK :] = bytes(BLOCK)
    lost = model.lost(3 * BLOCK, sums(bytes(content)))
    assert lost and (lost.at, lost.end) == (2 * BLOCK, 3 * BLOCK)
    short = model.lost(2 * BLOCK, sums(bytes(content[: 2 * BLOCK])))
    assert short and "it was 12288 when fsync succeeded" in str(short)


def test_before_the_first_fsync_all_may_be_lost() -> None:
    made = FileModel()
    made.apply(Operation("write", 0, BLOCK, fill=1), BLOCK)
    assert made.lost(0, []) is None


def test_an_operation_that_failed_may_have_been_carried_out_in_part(model: FileModel) -> None:
    model.failed(Operation("write", 3 * BLOCK, 2 * BLOCK, fill=4))
    half = model.versions[-1][: 4 * BLOCK]
    assert model.lost(4 * BLOCK, sums(half)) is None
    assert model.lost(6 * BLOCK, sums(half.ljust(6 * BLOCK, b"\0")))


def test_a_mismatch_is_told_to_the_byte() -> None:
    wanted = bytes(range(1, 17))
    found = wanted[:4] + bytes(3) + wanted[7:]
    assert str(exact(found, wanted, 100)) == "bytes 104 to 107: zeroes, not 050607…"


def test_the_file_system_on_top_is_worked_on_and_any_below_can_be_shut_down() -> None:
    model = load("dm-flakey-loop")
    where = places(model, parse(["--shutdown", "xfs"]))
    assert (where.name, where.file, where.shutdown) == ("ext4", "/mnt/ext4/exerciser", "/mnt/xfs")
    with pytest.raises(UsageError, match="no file system btrfs"):
        places(model, parse(["--on", "btrfs"]))
    with pytest.raises(ProfileError, match="needs a file system"):
        places(load("nvme-copy"), parse([]))


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--kinds", "write,fly"], "no operation fly"),
        (["--kinds", "fsync"], "nothing to do"),
        (["--cases", "0"], "--cases"),
        (["--replay", "/nowhere"], "no log of operations"),
        (["--frob"], "unrecognized"),
    ],
)
def test_a_mistake_is_told(args: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse(args)
