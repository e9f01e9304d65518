# SPDX-License-Identifier: GPL-2.0-or-later
"""Allocations that fail: the k-th and no other, one case for each until there are no more."""

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.copy.contract import judge
from lab.copy.paths import find
from lab.errors import GuestError, UsageError
from lab.faults import allocations as said
from lab.faults.actions import Action
from lab.guest.kmsg import complaints
from lab.profile.load import load
from lab.suites.copy_faults import behind
from lab.suites.copy_faults.acts import registry
from lab.suites.copy_faults.cell import Setup
from lab.suites.copy_faults.failures import NotSupported
from lab.suites.copy_faults.options import ALLOCATIONS, parse
from lab.suites.copy_faults.sweep import Sweep, as_sweep
from tests.unit.builders import facts, findings, nvme_path
from tests.unit.suites.copy_faults.test_rehearsal import ROOM
from tests.unit.test_guest_copies import load as of_the_guest

allocations = of_the_guest("allocations")

FAILSLAB, PAGES = map(registry.action_called, ("failslab", "fail-page-alloc"))


class Kernel:
    """Fault injection as lib/fault-inject.c has it (should_fail_ex): its files in a directory, and
    a count over all intervals that nobody can read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.count = 0
        self.task = root / "make-it-fail"
        self.task.write_bytes(b"0")
        self.failed: list[int] = []
        self.asked = 0
        for kind, its in allocations.KINDS.items():
            (root / kind).mkdir()
            for name in (
                *its,
                *allocations.NOTHING,
                "times",
                "space",
                "verbose_ratelimit_interval_ms",
            ):
                (root / kind / name).write_text("0\n")

    def has(self, kind: str, name: str) -> str:
        """What an attribute says."""
        return (self.root / kind / name).read_text().strip()

    def allocate(self, kind: str) -> None:
        """An allocation of the task, which may fail."""
        self.asked += 1
        if self.has(kind, "probability") != "100" or self.task.read_bytes()[-1:] != b"1":
            return
        if self.has(kind, "times") == "0":
            return
        if (interval := int(self.has(kind, "interval"))) > 1:
            self.count += 1
            if self.count % interval:
                return
        (self.root / kind / "times").write_text("0\n")
        self.failed.append(self.asked)
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    """A kernel, into which the guest's module looks."""
    made = Kernel(tmp_path)
    monkeypatch.setattr(allocations, "DEBUG", str(tmp_path))
    monkeypatch.setattr(allocations, "TASK", str(made.task))
    monkeypatch.setattr(allocations, "allocate", lambda kind, page: made.allocate(kind))
    yield made
    for kind in allocations.KINDS:
        for name, value in allocations.NOTHING.items():
            assert made.has(kind, name) in (str(value), "0"), (kind, name)


def copy(kernel: Kernel, kind: str, makes: int) -> None:
    """A copy that makes so many allocations, and some more before and after it, of no account."""
    kernel.allocate(kind)
    with allocations.counted():
        kernel.asked = 0
        for _ in range(makes):
            kernel.allocate(kind)
    kernel.allocate(kind)


@pytest.mark.parametrize("kind", allocations.KINDS)
def test_the_kth_allocation_of_the_copy_fails_whatever_was_counted_before(
    kernel: Kernel, kind: str
) -> None:
    for nth, makes in ((1, 3), (3, 5), (7, 7), (2, 9), (6, 5), (5, 4), (4, 4), (5, 5), (1, 0)):
        kernel.failed.clear()
        with allocations.failing(kind, nth) as told:
            try:
                copy(kernel, kind, makes)
                survived = True
            except OSError as problem:
                assert problem.errno == errno.ENOMEM
                survived = False
            # One fails while it is counted to a multiple.
            last = kernel.failed[nth > 1 :]
        assert told["struck"] == (not survived) == (nth <= makes)
        assert last == ([nth] if nth <= makes else [])
        assert kernel.has(kind, "probability") == "0" and kernel.has(kind, "task-filter") == "N"


def test_what_was_not_asked_for_fails_nowhere(kernel: Kernel) -> None:
    copy(kernel, "failslab", 3)
    assert kernel.failed == [] and kernel.task.read_bytes() == b"0"


def test_the_attributes_are_set_to_nothing_whatever_happens(kernel: Kernel) -> None:
    with pytest.raises(RuntimeError), allocations.failing("failslab", 2):
        raise RuntimeError
    assert kernel.has("failslab", "probability") == "0"
    with pytest.raises(OSError, match="make-it-fail"):
        kernel.task.unlink()
        allocations.failing("failslab", 2).__enter__()


def test_a_count_that_comes_to_nothing_is_told(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allocations, "allocate", lambda kind, page: None)
    with pytest.raises(Exception, match=r"failslab: 2 allocations: none of them failed"):
        allocations.failing("failslab", 2).__enter__()
    assert kernel.has("failslab", "probability") == "0"


class Bench:
    """A bench on which copies make so many allocations of each kind."""

    def __init__(self, **makes: int) -> None:
        self.makes = makes
        self.struck = True
        self.lacking: dict[Action, str] = {}
        self.path = SimpleNamespace(layer=lambda kind: "")
        self.run = SimpleNamespace(emit=lambda *_, **__: None)

    def sh(self, script: str, *words: str, deadline: float) -> str:
        """The kernel has what copies make allocations of."""
        if not any(kind in script for kind in self.makes):
            raise GuestError("exit status 1", detail="cat: …: No such file or directory")
        return "0\n0\n"

    def judge(self, setup: Setup) -> None:
        """Carry a case out."""
        act = registry.find(setup.action.name)
        self.struck = not act.allocation or setup.allocation <= self.makes[act.allocation]


def carried_out(bench: Bench, *args: str) -> tuple[list[str], list[int]]:
    """The names of the cases of a sweep with these arguments, and how many there were to be."""
    sweep = as_sweep(ROOM, parse([*args, "--ranges", "1"]))
    first = replace(sweep.first)
    actions = [each for each in parse([*args]).selection.actions if each.beforehand]
    expected: list[int] = []

    def before(_: Any, expect: Callable[[int], None]) -> Iterator[tuple[int, Setup]]:
        yield 0, first
        expect(1)

    names: list[str] = []
    subject: Any = bench
    setups = behind.with_allocations(before, first, actions, parse([*args]).allocations)
    for number, setup in setups(subject, expected.append):
        assert number == len(names)
        names.append(setup.name)
        bench.judge(setup)
    return names, expected


def test_each_allocation_is_a_case_until_there_are_no_more() -> None:
    bench = Bench(failslab=2, fail_page_alloc=0)
    names, expected = carried_out(bench, "--actions", "failslab,fail-page-alloc")
    assert names == [
        "rehearsal", "failslab 1", "failslab 2", "failslab 3", "fail-page-alloc 1",
    ]  # fmt: skip
    # What shows that none is left is begun, and is no case.
    assert expected == [1, 2, 3, 4, 3, 4, 3]
    assert bench.lacking == {PAGES: "the copying task makes no such allocation"}


def test_no_more_are_tried_than_were_asked_for() -> None:
    bench = Bench(failslab=1000)
    names, _ = carried_out(bench, "--actions", "failslab", "--allocations", "3")
    assert names == ["rehearsal", "failslab 1", "failslab 2", "failslab 3"]
    assert len(carried_out(bench, "--actions", "failslab")[0]) == 1 + ALLOCATIONS
    with pytest.raises(UsageError, match="within 1 and"):
        parse(["--allocations", "0"])


def test_a_kernel_without_it_is_told_and_nothing_else_is_left_out() -> None:
    bench = Bench()
    with pytest.raises(NotSupported, match="FAILSLAB and FAULT_INJECTION_DEBUG_FS"):
        carried_out(bench, "--actions", "failslab")
    names, _ = carried_out(Bench(failslab=1), "--actions", "failslab,fail-page-alloc")
    assert names == ["rehearsal", "failslab 1", "failslab 2"]


def test_a_case_that_only_showed_that_there_are_no_more_is_none() -> None:
    sweep = as_sweep(ROOM, parse(["--ranges", "1", "--actions", "failslab"]))
    setup = replace(sweep.first, action=FAILSLAB, allocation=3)

    def is_none(sweep: Sweep, setup: Setup, rehearsed: str = "", **seen: Any) -> bool:
        observed = facts(**seen)
        result: Any = SimpleNamespace(facts=observed, rules=judge(observed))
        return sweep.is_past_the_last(setup, result, set(rehearsed.split()))

    copies_nothing = findings({})
    assert is_none(sweep, setup, reached=False)
    assert not is_none(sweep, setup, reached=True)
    assert not is_none(sweep, setup, reached=False, findings=copies_nothing)
    assert is_none(sweep, setup, "COMPLETE", reached=False, findings=copies_nothing)
    assert not is_none(sweep, setup, "NO-HANG", reached=False, crash="BUG: x")
    assert not is_none(sweep, sweep.first, reached=False)
    # Of a replay it is what there is to tell.
    assert not is_none(replace(sweep, rehearses=False), setup, reached=False)


def test_such_a_case_is_named_and_read_again_as_it_was() -> None:
    path = nvme_path()
    first = as_sweep(ROOM, parse(["--ranges", "1", "--actions", "failslab"])).first
    setup = replace(first, action=PAGES, allocation=12)
    assert setup.name == "fail-page-alloc 12"
    assert Setup.read(setup.document()) == setup
    old = {key: value for key, value in first.document().items() if key != "allocation"}
    assert Setup.read(old) == first
    for wrong, of in ((-1, setup), (0, setup), (1 << 47, setup), (1, first)):
        with pytest.raises(ValueError, match=str(wrong)):
            Setup.read({**of.document(), "allocation": wrong})
    assert path.possible(PAGES)


@pytest.mark.parametrize(
    ("name", "path", "possible"),
    [
        ("nvme-copy", "nvme-copy", True),
        ("loop-xfs-reflink", "loop-reflink", True),
        ("null-blk", "bdev-cfr-memory", True),
        ("dm-kcopyd", "dm-kcopyd", False),
        ("scsi-xcopy", "scsi-xcopy", False),
    ],
)
def test_they_are_possible_where_the_copy_is_made_by_a_task_of_its_own(
    name: str, path: str, possible: bool
) -> None:
    asked = parse(["--actions", "failslab,rehearsal"])
    on = find(load(name, []), path)
    assert (FAILSLAB in asked.possible(on)) == possible


def test_nobody_draws_them() -> None:
    with pytest.raises(UsageError, match="the copies of failslab are those of a sweep"):
        as_sweep(ROOM, parse(["--cases", "3", "--actions", "failslab"]))
    assert as_sweep(ROOM, parse(["--cases", "3", "--actions", "failslab,eio"])).drawn == 3


TRACE = """\
FAULT_INJECTION: forcing a failure.
name failslab, interval 3, probability 100, space 0, times 1
CPU: 0 UID: 0 PID: 310 Comm: python3 Not tainted 7.2.13-lab #1 PREEMPT(lazy)
Hardware name: QEMU Standard PC (Q35 + ICH9, 2009), BIOS 1.16.3-debian-1.16.3-2 04/01/2014
Call Trace:
 <TASK>
 dump_stack_lvl+0x53/0x70
 should_fail_ex+0xe8/0x110
 ? __pfx_something+0x10/0x10
 should_failslab+0x57/0x80
 kmem_cache_alloc_noprof+0x59/0x2a0
 mempool_alloc_noprof+0x5e/0x140
 bio_alloc_bioset+0x15f/0x2d0
 blk_rq_map_user_iov+0x1bb/0x8a0
 nvme_map_user_request+0xd2/0x160 [nvme]
 nvme_submit_user_cmd+0x11c/0x1a0
 </TASK>
"""


def test_where_it_failed_is_read_from_the_kernels_own_words() -> None:
    lines = ["nvme nvme0: 2/0/0 default/read/poll queues", *TRACE.splitlines(), "later: x"]
    assert said.place(lines) == (
        "kmem_cache_alloc_noprof <- mempool_alloc_noprof <- bio_alloc_bioset <- "
        "blk_rq_map_user_iov <- nvme_map_user_request"
    )
    assert said.place(lines[:1]) == said.place(lines[:4]) == said.place([]) == ""


def test_what_the_injection_itself_says_is_no_complaint() -> None:
    assert complaints(TRACE.splitlines()) == ()
