# SPDX-License-Identifier: GPL-2.0-or-later
"""What a suite says of a case: read in time in proportion to its length, and kept in part."""

import re
import time
import tracemalloc
from collections.abc import Callable, Sequence

import pytest

from lab.results.cases import CaseStatus
from lab.suites.blktests.output import BlktestsReader
from lab.suites.cryptsetup.run import judge
from lab.suites.fstests.output import FstestsReader
from lab.suites.upstream.marks import MarkReader
from lab.suites.upstream.reader import CaseEnd, Reader
from lab.suites.upstream.said import Said, pieces

READERS: dict[str, tuple[Callable[[Sequence[str]], Reader], str, str]] = {
    "fstests": (FstestsReader, "generic/001 - output mismatch\n", "Ran: generic/001\n"),
    "blktests": (BlktestsReader, "block/001 (a test)  [failed]\n", "block/002 (a)  [passed]\n"),
    "marks": (lambda _: MarkReader(judge), "== a begins\n", "== a ends 1\n"),
}
"""What reads, how a case begins there and what ends it."""

NAMES = ["generic/001", "block/001", "block/002"]


def ended(reader: Reader, *texts: str) -> list[CaseEnd]:
    steps = [step for text in texts for step in reader.feed(text)]
    return [step for step in [*steps, *reader.finish()] if isinstance(step, CaseEnd)]


@pytest.mark.parametrize("blank", ["\n", " \n", " ", "1", "4s ... \n", "[not run]"])
def test_blanks_behind_the_name_of_a_case_cost_what_they_are_long(blank: str) -> None:
    started = time.process_time()
    steps = ended(FstestsReader(NAMES), f"generic/001{' ' + blank * 3_000}x\n")
    assert time.process_time() - started < 1
    assert [(step.name, step.status) for step in steps] in (
        [("generic/001", CaseStatus.FAIL)], [("generic/001", CaseStatus.NOTRUN)],
    )  # fmt: skip


def test_a_result_behind_blank_lines_is_one() -> None:
    (step,) = ended(FstestsReader(NAMES), "generic/001 \n\n  4s ...   5s\n")
    assert (step.status, step.output) == (CaseStatus.PASS, "4s ...   5s")


@pytest.mark.parametrize("suite", READERS)
@pytest.mark.parametrize("word", ["x" * 99 + "\n", "\n", "    y\n", "x" * 4000])
def test_of_a_flood_the_beginning_and_the_end_are_kept(
    suite: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.suites.upstream.said.HALF", 4096)
    make, begin, end = READERS[suite]
    flood = word * (4000 // len(word))
    steps = ended(make(NAMES), f"{begin}    first\n", *[flood] * 20, f"\n    last\n{end}")
    assert steps[0].status is CaseStatus.FAIL
    kept = steps[0].output
    assert len(kept) < 4 * 4096
    if suite == "blktests" and not word.endswith("\n"):
        return  # a line of blktests that is too long is cut before
    assert "first" in kept
    assert kept.rstrip().endswith("last")
    left_out = re.search(r"\[lab: (\d+) characters are left out\]", kept)
    assert left_out
    assert abs(len(kept) + int(left_out[1]) - 20 * len(flood)) < 200


def test_a_line_that_does_not_end_is_not_kept_as_a_whole() -> None:
    for make, begin, _ in READERS.values():
        reader = make(NAMES)
        list(reader.feed(begin))
        tracemalloc.start()
        try:
            for _ in range(30):
                assert not list(reader.feed("x" * 1_000_000))
            assert tracemalloc.get_traced_memory()[0] < 8 << 20
        finally:
            tracemalloc.stop()


def test_a_mark_is_found_behind_words_without_an_end_of_line() -> None:
    text = "== a begins\nsaid== a ends 0\n"
    for cut in range(len(text)):
        (step,) = ended(MarkReader(judge), text[:cut], text[cut:])
        assert (step.status, step.output) == (CaseStatus.PASS, "said")


def test_blktests_with_any_number_of_runs_and_headings_fails_by_the_first() -> None:
    runs = "".join(
        f"block/001 => d{n} (a)\nblock/001 => d{n} (a)  [passed]\n" for n in range(2_000)
    )
    failed = "block/001 => bad (a)\nblock/001 => bad (a)  [failed]\n    exited with status 1\n"
    groups = "".join(f"block{n}/***  [not run]\n    why\n" for n in range(2_000))
    reader = BlktestsReader(NAMES)
    (step,) = ended(reader, failed, runs, groups)
    assert (step.status, step.reason) == (CaseStatus.FAIL, "bad: exited with status 1")
    assert not [name for name in reader._spoken if name.endswith("***")]


def test_a_status_of_check_that_is_none_is_no_end() -> None:
    assert ended(BlktestsReader(NAMES), f"check ended with status {'9' * 5000}\n") == []


def test_a_text_that_is_short_is_whole() -> None:
    said = Said()
    for piece in pieces("a\nb" * 1000):
        said.add(piece)
    assert said.text() == "a\nb" * 1000
