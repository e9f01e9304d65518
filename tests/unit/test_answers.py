# SPDX-License-Identifier: GPL-2.0-or-later
"""What the executor in the guest answers is as it should be, or the guest's fault."""

import base64
import errno
import json
import zlib
from pathlib import Path
from typing import Any, cast

import pytest

from lab.copy.answers import CopyAnswer, KernelAnswer, NvmeAnswer, checked, unpacked
from lab.copy.ground import CachedGround, Guess, GuestGround, packed
from lab.copy.model import SECTOR, Extent
from lab.errors import GuestError
from lab.results.run import Run
from lab.suites.copy_faults.bench import Bench
from lab.suites.copy_faults.taps import Taps
from tests.fuzz import documents, endure

EXTENT = Extent(8, 8)
DATA = bytes(range(256)) * 16
RIGHT = {"data": packed(DATA), "unreadable": [[8 * SECTOR, SECTOR, errno.EIO]]}
BOMB = base64.b64encode(zlib.compress(bytes(64 << 20), 9)).decode()


def read(answer: Any) -> bytes:
    return GuestGround(lambda **_: answer, "/dev/x", 1).read(EXTENT)


def test_sectors_are_as_the_guest_tells_them() -> None:
    found = read(RIGHT)
    assert found[SECTOR:] == DATA[SECTOR:]
    assert found[:SECTOR] != DATA[:SECTOR]
    guess = Guess([], b"x" * len(DATA))
    ground = CachedGround(lambda **_: {"as_moved": True, "unreadable": []}, "/dev/x", 1)
    assert ground.read(EXTENT, guess) == guess.data


@pytest.mark.parametrize(
    "wrong",
    [
        {"data": "!!"}, {"data": 7}, {"data": BOMB}, {"data": packed(DATA[1:])}, {"data": None},
        {"data": packed(DATA + b"x")}, {"unreadable": 7}, {"unreadable": [[1, 2]]},
        {"unreadable": [[0, SECTOR, 5]]}, {"unreadable": [[8 * SECTOR, 1 << 40, 5]]},
        {"unreadable": [[8 * SECTOR + 1, SECTOR, 5]]}, {"unreadable": [["a", "b", "c"]]},
    ],
)  # fmt: skip
def test_sectors_that_are_none_are_the_guests_fault(wrong: dict[str, Any]) -> None:
    with pytest.raises(GuestError, match="the executor in the guest") as caught:
        read({**RIGHT, **wrong})
    assert len(str(caught.value)) < 1000


def test_no_more_is_unpacked_than_was_asked_for() -> None:
    with pytest.raises(GuestError, match="more bytes where 4096 were asked for"):
        unpacked(BOMB, 4096)


def test_whatever_is_answered_is_an_answer_or_the_guests_fault() -> None:
    endure(read, mappings(RIGHT), errors=(GuestError,))
    nvme = {"status": 0, "dw0": 2, "seconds": 0.1}
    endure(lambda each: checked(NvmeAnswer, each), mappings(nvme), errors=(GuestError,))
    copied = {"errno": 5, "done": 1, "seconds": 0.1, "said": "EIO"}
    endure(lambda each: checked(CopyAnswer, each), mappings(copied), errors=(GuestError,))
    records = {"records": [[1, 6, "nvme0n1: p1"], [2, 3, "I/O error"]]}
    endure(lambda each: checked(KernelAnswer, each), mappings(records), errors=(GuestError,))


def mappings(right: dict[str, Any]) -> Any:
    return (each for each in documents(right) if isinstance(each, dict))


@pytest.mark.parametrize("records", [7, [7], [[1, 2]], [["x", 3, "text"]], [[1, 3, None]]])
def test_kernel_messages_that_are_none_are_the_guests_fault(tmp_path: Path, records: Any) -> None:
    (tmp_path / "trace").touch()
    with Run("p", "s") as run:
        taps = Taps(run, tmp_path / "trace", tmp_path / "log", lambda **_: {"records": records})
        with pytest.raises(GuestError, match="answers what it should not: records"):
            taps.open()


class _Answers:
    def __init__(self, answer: dict[str, Any]) -> None:
        self._answer = answer

    def answer(self, deadline: float) -> dict[str, Any]:
        return self._answer


def test_an_answer_whose_keys_are_those_of_an_event_is_written_down() -> None:
    said = {"killed": 9, "event": "x", "source": "y", "at": "z", "self": 1, "t": 2}
    with Run("p", "s") as run:
        bench = cast(Any, object.__new__(Bench))
        bench.run, bench._executor = run, _Answers(said)
        assert bench.completed(1.0) is None
        line = (run.directory / "timeline.jsonl").read_text().splitlines()[-1]
    event = json.loads(line)
    assert (event["source"], event["event"], event["answer"]) == ("guest", "completion", said)
