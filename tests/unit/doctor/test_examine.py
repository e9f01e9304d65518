# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks are made in turn; whatever becomes of one, the others are made."""

import os
import signal
from pathlib import Path

import pytest

from lab.doctor.examine import CHECKS, Check, examine
from lab.doctor.finding import Finding, State, missing, ok
from lab.errors import HostError, LackError
from lab.host.command import run


def check(name: str, result: Finding | Exception, broken: State = State.MISSING) -> Check:
    def carry_out() -> Finding:
        if isinstance(result, Exception):
            raise result
        return result

    return Check(name, carry_out, broken)


def made(*checks: Check) -> dict[str, Finding]:
    return {line.name: line.finding for line in examine(lambda _name: None, checks)}


def test_names_are_told_before_the_checks_are_made() -> None:
    told: list[str] = []
    lines = examine(told.append, [check("one", ok("1")), check("two", ok("2"))])
    assert told == []
    next(lines)
    assert told == ["one"]
    assert [line.finding.said for line in lines] == ["2"]


def test_an_error_of_the_lab_is_a_line_in_its_own_words() -> None:
    found = made(
        check("a", HostError("it broke", detail="first\n  the reason\n", hint="mend it")),
        check("b", LackError("no such thing", hint="get it"), State.DEGRADED),
        check("c", HostError("it broke")),
    )
    assert [(one.state, one.said) for one in found.values()] == [
        (State.MISSING, "the reason"),
        (State.DEGRADED, "no such thing"),
        (State.MISSING, "it broke"),
    ]
    cures = [one.cure and one.cure.debian for one in found.values()]
    assert cures == ["mend it", "get it", None]


def test_a_check_that_breaks_is_itself_a_line() -> None:
    found = made(check("a", ZeroDivisionError("by zero")), check("b", ok("fine")))
    assert found["a"] == Finding(State.DEGRADED, "the check broke: ZeroDivisionError: by zero")
    assert found["b"].state is State.OK


def test_what_needs_something_missing_is_not_tried() -> None:
    needy = Check("b", lambda: ok("fine"), State.MISSING, needs="a")
    assert made(check("a", missing("none", "get it")), needy)["b"] == Finding(
        State.MISSING, "not tried: no a"
    )
    assert made(check("a", ok("there")), needy)["b"].state is State.OK


def test_a_check_without_end_is_ended_with_what_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"

    def endless() -> Finding:
        # In the hands of code that takes every Exception for its own.
        try:
            run(["sh", "-c", f"echo $$ >'{note}'; exec sleep 600"], deadline=600)
        except Exception:
            return ok("never")
        return ok("never")

    before = signal.getsignal(signal.SIGALRM)
    found = made(Check("a", endless, State.MISSING, deadline=0.5), check("b", ok("fine")))
    assert found["a"].said == "no answer within 0.5 s"
    assert found["b"].state is State.OK
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_names_are_unique_and_needs_are_met_by_earlier_ones() -> None:
    names = [one.name for one in CHECKS]
    assert len(set(names)) == len(names)
    for number, one in enumerate(CHECKS):
        assert not one.needs or one.needs in names[:number]
