# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel that floods: its messages are kept in part, and what says that it is lost is heard."""

import json
from typing import Any

import pytest

from lab.guest.kernel_words import CASE, HALF, Heard, KernelWords
from lab.guest.relay import KernelMessages
from lab.results.run import Run
from lab.suites.guest import RunGuest

OOPS = "Oops: 0000 [#1] SMP"


def texts(run: Run) -> list[str]:
    lines = (run.directory / "timeline.jsonl").read_text().splitlines()
    return [event["text"] for event in map(json.loads, lines) if event["source"] == "kernel"]


def size(run: Run) -> int:
    return (run.directory / "timeline.jsonl").stat().st_size


@pytest.mark.parametrize("text", ["x", "\U0001f4a5" * 2000, "\\x1b" * 100, "y" * (1 << 20)])
def test_a_flood_of_one_case_takes_no_more_of_the_timeline_than_it_may(text: str) -> None:
    with Run("p", "s") as run:
        words = KernelWords(run)
        words.of("a")
        for _ in range(25_000):
            words.write(text, since_boot=123456.123456)
            if words._left_out > 100:
                break
        words.write(OOPS)
        assert size(run) < CASE + (1 << 16)
        assert texts(run)[-1] == OOPS
        words.of("b")
        assert (
            texts(run)[-1]
            == f"lab: {words_left_out(run, text)} messages of the kernel were left out"
        )
        words.write("of the next")
        assert texts(run)[-1] == "of the next"


def words_left_out(run: Run, text: str) -> int:
    told = [each for each in texts(run) if each.startswith("lab: ")]
    assert told[0] == "lab: the kernel says too much, and is not written down any more"
    return int(told[-1].split()[1])


def test_what_says_that_the_kernel_is_lost_is_no_way_around_that() -> None:
    with Run("p", "s") as run:
        words = KernelWords(run)
        for _ in range(30_000):
            words.write(OOPS + "y" * 500)
        assert size(run) < CASE + (1 << 17)


def test_many_cases_together_take_no_more_than_a_run_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.results.run.KERNEL_ROOM", 100_000)
    with Run("p", "s") as run:
        one, other = KernelWords(run), KernelWords(run)
        for number in range(40):
            for words in (one, other):
                words.of(str(number))
                for _ in range(100):
                    words.write("x" * 100)
        assert size(run) < 150_000


def test_a_guest_hears_of_its_kernel_what_is_not_written_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lab.guest.kernel_words.CASE", 10_000)
    with Run("p", "s") as run:
        own: Any = object.__new__(RunGuest)
        own.run, own.words, own._counts = run, KernelWords(run), None
        said = (*((1.0, f"line {number}") for number in range(1000)), (2.0, OOPS))
        heard = own.note(KernelMessages(said))
        assert heard[-1] == OOPS
        assert texts(run)[-1] == OOPS
        assert len(heard) == 1001 > 10 * len(texts(run))


def test_of_what_was_heard_the_first_the_last_and_the_worst_are_kept() -> None:
    heard = Heard()
    heard += (f"line {number}" for number in range(5000))
    heard += [OOPS]
    heard += (f"line {number}" for number in range(5001, 20_000))
    kept = list(heard)
    assert (kept[0], kept[-1]) == ("line 0", "line 19999")
    assert OOPS in kept
    assert f"lab: {20_000 - len(kept) + 1} messages of the kernel are left out here" in kept
    assert len(heard.text()) < 2 * HALF
    heard += ["z" * (64 << 20)] * 3
    assert len(heard.text()) < 3 * HALF


def test_what_was_heard_before_the_guest_ended_is_heard() -> None:
    def ending() -> Any:
        yield "first"
        raise OSError

    heard = Heard()
    with pytest.raises(OSError):
        heard += ending()
    assert list(heard) == ["first"]
    assert heard.text() == "first\n"
