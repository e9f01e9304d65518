# SPDX-License-Identifier: GPL-2.0-or-later
"""Choosing an error by hand, and telling from QEMU's words what is held."""

import errno
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import UsageError
from lab.faults import choice
from lab.faults.arming import Arming, held
from lab.faults.model import Stage
from lab.host.process import Process

EVENT_OF = {"flush": "flush_to_os", "read -q 0 4096": "read_aio"}
EVENTS = st.sampled_from(["flush_to_os", "read_aio", "write_aio", "pwritev", "flush_to_disk"])
CHOICES = [("read", 0), *((k, getattr(errno, e)) for k in ("read", "write") for e in choice.ERRORS)]


class Blkdebug:
    """The state machine of QEMU block/blkdebug.c (process_rule, blkdebug_debug_event): of the
    rules of an event the first set-state counts, and an armed error replaces the one before."""

    def __init__(self) -> None:
        self.state = 1
        self.active: dict[str, Any] | None = None
        options = choice.options()
        self._moves = cast(list[dict[str, Any]], options["set-state"])
        self._errors = cast(list[dict[str, Any]], options["inject-error"])

    def event(self, name: str) -> None:
        def of(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [
                rule
                for rule in rules
                if rule["event"] == name and rule.get("state", self.state) == self.state
            ]

        moves, errors = of(self._moves), of(self._errors)
        assert len(moves) <= 1, "which of them counts depends on their order"
        assert len(errors) <= 1
        if errors:
            self.active = errors[0]
        if moves:
            self.state = moves[0]["new_state"]

    def armed(self) -> tuple[str, int] | None:
        """Kind and errno of the error that the next request of that kind gets."""
        if self.active is None or self.active.get("sector"):
            return None
        return self.active["iotype"], self.active["errno"]


@given(st.lists(EVENTS, max_size=60), st.sampled_from(CHOICES), st.sampled_from(CHOICES))
def test_a_choice_is_armed_whatever_was_before(
    before: list[str], first: tuple[str, int], second: tuple[str, int]
) -> None:
    disk = Blkdebug()
    for name in before:
        disk.event(name)
    for kind, error in (first, second):
        for command in choice.commands(kind, error):
            disk.event(EVENT_OF[command])
        assert disk.armed() == ((kind, error) if error else None)


@pytest.mark.parametrize("state", range(1, 11 + len(CHOICES)))
def test_a_choice_is_armed_from_any_state(state: int) -> None:
    disk = Blkdebug()
    disk.state = state
    for command in choice.commands("write", errno.EIO):
        disk.event(EVENT_OF[command])
    assert disk.armed() == ("write", errno.EIO)


@given(st.lists(st.sampled_from(["RF", "F", "RRF", "WF", "RRRF", "RW"]), max_size=40))
def test_a_guest_that_reads_and_flushes_arms_nothing(pattern: list[str]) -> None:
    """Unless it issues the key itself, which nobody does by chance."""
    letters = "".join(pattern)
    if "FRFRRFRRRF" in letters:
        return
    disk = Blkdebug()
    for letter in letters:
        disk.event({"F": "flush_to_os", "R": "read_aio", "W": "write_aio"}[letter])
    assert disk.armed() is None


@pytest.mark.parametrize(
    ("text", "error"), [("eio", 5), ("ENOSPC", 28), ("61", 61), ("none", 0), ("None", 0)]
)
def test_an_error_is_named_or_numbered(text: str, error: int) -> None:
    assert choice.parse(text) == error


@pytest.mark.parametrize("text", ["", "0", "-5", "EFOO", "9999", "e io"])
def test_what_cannot_be_injected_is_refused_with_what_can(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        choice.parse(text)
    assert "eio, enospc" in caught.value.hint


def said(*words: str) -> str:
    """What QEMU prints: `+tag` suspends, `-tag` resumes, all else is as it stands."""
    names = {"+": "Suspended", "-": "Resuming"}
    return "".join(
        f"blkdebug: {names[word[0]]} request '{word[1:]}'\n" if word[0] in names else f"{word}\n"
        for word in words
    )


def test_held_is_what_was_suspended_and_not_resumed() -> None:
    assert held("") == []
    assert held(said("+d0n1-1", "-d0n1-1", "+d0n1-1")) == ["d0n1-1"]
    assert held(said("+a", "+b", "-a")) == ["b"]
    assert held(said("-a", "Could not resume request: No such file or directory")) == []
    assert held(said("Could not remove breakpoint a: No such file or directory", "+b")) == ["b"]


def test_the_points_of_a_copy_follow_each_other() -> None:
    arming = Arming(
        qemu=Process(1, 1), drive="d0n1", layer=1, stage=Stage.READ, k=1, number=1, since=0
    )
    seen = []
    for _ in range(5):
        seen.append(str(arming.point))
        point = arming.following()
        arming = arming.model_copy(update={"stage": point.stage, "k": point.k})
    assert seen == ["read:1", "write:1", "written:1", "read:2", "write:2"]
