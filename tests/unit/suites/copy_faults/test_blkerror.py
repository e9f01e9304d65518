# SPDX-License-Identifier: GPL-2.0-or-later
"""blk-error: what is asked for, the rule it makes, and kernels that do not have it."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.copy.model import Copy, Extent, Layout
from lab.errors import GuestError, UsageError
from lab.faults.actions import Action
from lab.faults.blkerror import BlockError
from lab.faults.model import Point, Stage
from lab.faults.stepper import Fault
from lab.suites.copy_faults.acts import guest as guest_acts
from lab.suites.copy_faults.acts import registry
from lab.suites.copy_faults.acts.ability import able
from lab.suites.copy_faults.acts.registry import action_called
from lab.suites.copy_faults.acts.scene import Scene
from lab.suites.copy_faults.cell import Setup
from lab.suites.copy_faults.failures import NotSupported
from lab.suites.copy_faults.options import parse

NAMES = st.from_regex(r"[A-Z][A-Z_]{0,12}", fullmatch=True)
ASKED = st.builds(
    BlockError,
    op=st.one_of(st.just(""), NAMES),
    start=st.just(0),
    status=NAMES,
    chance=st.integers(1, 10**6),
) | st.builds(BlockError, start=st.integers(0, 2**40), count=st.integers(1, 2**40))


@given(ASKED)
def test_what_is_written_is_read_again(asked: BlockError) -> None:
    assert BlockError.parse(str(asked)) == asked


@pytest.mark.parametrize(
    ("text", "stage", "rule", "listed"),
    [
        ("", Stage.READ, "add,op=READ,status=IOERR,chance=1",
         "0:18446744073709551615 op=READ,status=IOERR,chance=1"),
        ("", Stage.WRITTEN, "add,op=WRITE,status=IOERR,chance=1",
         "0:18446744073709551615 op=WRITE,status=IOERR,chance=1"),
        ("op=DISCARD,sectors=8+16,status=MEDIUM,chance=10", Stage.WRITE,
         "add,op=DISCARD,start=8,nr_sectors=16,status=MEDIUM,chance=10",
         "8:23 op=DISCARD,status=MEDIUM,chance=10"),
    ],
)  # fmt: skip
def test_the_rule_is_as_the_kernel_reads_and_lists_it(
    text: str, stage: Stage, rule: str, listed: str
) -> None:
    asked = BlockError.parse(text)
    assert (asked.rule(stage), asked.listed(stage)) == (rule, listed)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("op=read", "op=read"),
        ("op=READ,op=WRITE", "op=WRITE"),
        ("sectors=8", "sectors=8"),
        ("sectors=8+0", r"sectors=8\+0"),
        ("status=MEDIUM;rm", "status=MEDIUM;rm"),
        ("chance=0", "chance=0"),
        ("nr_sectors=8", "nr_sectors=8"),
        ("op", "op"),
    ],
)
def test_what_is_no_rule_is_refused_with_what_would_be(text: str, word: str) -> None:
    with pytest.raises(UsageError, match=f"'{word}' does not fit") as caught:
        BlockError.parse(text)
    assert "sectors=START+COUNT" in caught.value.hint


def test_a_case_is_carried_out_again_with_the_same_rule() -> None:
    options = parse(["--actions", "blk-error", "--blk-error", "status=MEDIUM,chance=3"])
    layout = Layout(Copy((Extent(64, 8),), 128, 8), Extent(0, 256))
    setup = Setup(
        layout, Point(Stage.WRITE, 1), action_called("blk-error"), block_error=options.block_error
    )
    assert Setup.read(setup.document()) == setup
    # One of a run before there was such a thing.
    old = setup.document()
    del old["blk_error"]
    assert Setup.read(old) == replace(setup, block_error=BlockError())


class Bench:
    """A bench whose guest answers scripts by what they hold."""

    def __init__(self, **answers: str | GuestError) -> None:
        self.answers = answers
        self.asked: list[tuple[str, ...]] = []
        self.lacking: dict[Action, str] = {}
        self.path = SimpleNamespace(layer=lambda kind: "DISK:1")
        self.run = SimpleNamespace(emit=lambda *_, **__: None)
        self.taps = SimpleNamespace(kernel_messages=lambda: ["blk: invalid op 'NOPE'"])

    def sh(self, script: str, *words: str, deadline: float) -> str:
        """The answer to the script that holds a key."""
        self.asked.append(words)
        for key, answer in self.answers.items():
            if key in script:
                if isinstance(answer, GuestError):
                    raise answer
                return answer
        return ""


NO_FILE = GuestError("exit status 1 in the guest: sh …", detail="cat: /sys/…: No such file")


def test_what_the_kernel_lacks_is_left_out_and_quoted() -> None:
    bench: Any = Bench(error_injection=NO_FILE)
    actions = registry.named("blk-error,eio,fail-make-request")
    assert able(bench, actions) == actions[1:]
    (said,) = bench.lacking.values()
    assert said.startswith("cat: /sys/…: No such file (") and "BLK_ERROR_INJECTION" in said
    with pytest.raises(NotSupported, match=r"blk-error: cat: .*: No such file"):
        able(bench, actions[:1])


def scene(bench: Bench, text: str) -> Scene:
    nothing: Any = None
    point, asked = Point(Stage.READ, 1), BlockError.parse(text)
    subject: Any = bench
    action = action_called("blk-error")
    return Scene(subject, nothing, action, point, nothing, nothing, Fault(), 5.0, asked)


def test_a_rule_is_read_back_and_taken_away_again() -> None:
    listed = "0:18446744073709551615 op=READ,status=MEDIUM,chance=1\n"
    bench = Bench(removeall="", tee=listed)
    effect = guest_acts.fail_bios(scene(bench, "status=MEDIUM"))
    effect.after(5.0)
    disk, rule = "/dev/lab/DISK:1", "add,op=READ,status=MEDIUM,chance=1"
    assert bench.asked == [(disk, rule), (disk,)]
    with pytest.raises(GuestError, match="not among those"):
        guest_acts.fail_bios(scene(bench, "status=TIMEOUT"))
    with pytest.raises(GuestError, match="still has rules"):
        left = guest_acts.fail_bios(scene(Bench(tee=listed), "status=MEDIUM"))
        left.after(5.0)


def test_a_rule_that_the_kernel_refuses_is_its_users_mistake() -> None:
    refused = GuestError("exit status 1", detail="tee: …: Invalid argument")
    with pytest.raises(UsageError, match="refuses the rule add,op=NOPE") as caught:
        guest_acts.fail_bios(scene(Bench(tee=refused), "op=NOPE"))
    assert "Invalid argument" in caught.value.detail and "invalid op 'NOPE'" in caught.value.detail
