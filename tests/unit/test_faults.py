# SPDX-License-Identifier: GPL-2.0-or-later
"""Points and actions, the fault that each combination needs, and the stepping towards it."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.copy.model import SECTOR, Copy, Extent
from lab.errors import HostError, KernelHang, UsageError
from lab.faults import choice
from lab.faults.actions import CONCURRENT, REHEARSAL, SIZE, Action
from lab.faults.model import Point, Stage, points_of, ranges_written
from lab.faults.stepper import Fault, NotReached, Stdout, Stepper
from lab.suites.copy_faults.acts.registry import action_called, actions, find, named, swept
from lab.suites.copy_faults.fault import Strike
from lab.vm.graph import Drive, Rule
from lab.vm.machine import Machine
from lab.vm.start import STDOUT
from tests.unit.builders import COPY

HELD = (Stage.READ, Stage.WRITE, Stage.WRITTEN)
POINTS = st.one_of(
    st.builds(Point, st.sampled_from(HELD), st.integers(1, 999999)),
    st.builds(Point, st.sampled_from([Stage.COMPLETED, Stage.FLUSHED])),
)


@given(POINTS)
def test_a_point_reads_back_as_it_is_written(point: Point) -> None:
    assert Point.parse(str(point)) == point


@pytest.mark.parametrize(
    "text",
    ["", "read", "read:", "read:0", "read:01", "read:-1", "read:1.5", "READ:1", "read:1 ",
     "written:1\n", "completed:1", "flushed:", "erase:1", "write:1,read:1", "write:1000000"],
)  # fmt: skip
def test_what_is_no_point_is_refused_with_what_would_be(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Point.parse(text)
    assert repr(text) in caught.value.message
    assert "write:K" in caught.value.hint


@pytest.mark.parametrize("action", actions())
def test_an_action_reads_back_as_it_is_written(action: Action) -> None:
    assert find(str(action)).action is action


def test_what_is_no_action_is_refused_with_the_list() -> None:
    with pytest.raises(UsageError) as caught:
        find("explode")
    assert caught.value.hint == "one of " + ", ".join(map(str, actions()))
    with pytest.raises(UsageError) as caught:
        find("torm")
    assert caught.value.hint.startswith("did you mean torn? one of ")


@pytest.mark.parametrize(
    ("action", "stages"),
    [
        (action_called("resume"), "read write written"),
        (action_called("eio"), "read write"),
        (action_called("enospc"), "write"),
        (action_called("torn"), "write"),
        (action_called("corrupt"), "read write written"),
        (action_called("throttle"), "write"),
        (action_called("delay"), "read write written"),
        (action_called("reset"), "write"),
        (action_called("unplug"), "read write written"),
        (action_called("kill"), "read write written completed flushed"),
        (action_called("power-cut"), "read write written completed flushed"),
        (action_called("power-cut-kept"), "read write written completed flushed"),
        (action_called("power-cut-prefix"), "read write written completed flushed"),
        (action_called("eio-unheld"), "read write"),
        (action_called("lost-write"), "written"),
        (action_called("stale-read"), "read"),
        (action_called("qmp-lost"), "read write written"),
        (action_called("pause"), "write"),
        (action_called("kill-copier"), "read write written"),
        (action_called("fs-shutdown"), "read write written"),
        (action_called("dm-error"), "read write written"),
        (action_called("dm-delay"), "read write written"),
        (action_called("dm-drop-writes"), "read write written"),
        (action_called("dm-corrupt"), "read write written"),
        (action_called("copies-forbidden"), "read write written"),
        (action_called("cached-read"), "read write written"),
        (action_called("nfs-stop"), "read write written"),
        (action_called("target-removed"), "read write written"),
        (action_called("fail-make-request"), "read write written"),
        (action_called("blk-error"), "read write written"),
        (action_called("sysrq-crash"), "read write written"),
    ],
)
def test_an_action_is_possible_only_where_it_means_something(action: Action, stages: str) -> None:
    possible = [stage for stage in Stage if action.possible_at(Point(stage, 2 * (stage in HELD)))]
    assert " ".join(possible) == stages


def test_only_what_was_written_can_be_corrupted() -> None:
    possible = [str(point) for point in points_of(2) if action_called("corrupt").possible_at(point)]
    assert possible == ["written:1", "read:2", "write:2", "written:2"]
    assert [ranges_written(Point.parse(text)) for text in possible] == [1, 1, 1, 2]


def test_actions_are_named_one_by_one_or_all_at_once() -> None:
    assert named("kill,eio,kill,") == (action_called("kill"), action_called("eio"))
    assert set(named("all")) == set(actions()) - {REHEARSAL, SIZE, CONCURRENT}
    assert set(named("reset,all")) == set(named("all"))
    assert named("rehearsal") == (REHEARSAL,)
    assert named("") == ()
    with pytest.raises(UsageError, match="'al'"):
        named("al")


def test_a_sweep_that_names_no_actions_fits_a_terminal() -> None:
    widest = len("written:1")
    assert widest + 2 + sum(max(len(str(action)), len("holds")) + 2 for action in swept()) <= 80


def test_what_is_done_from_the_host_needs_nothing_of_the_guest() -> None:
    assert set(swept()) < set(named("host"))
    assert set(map(str, actions())) - set(map(str, named("host"))) == {
        "kill-copier", "fs-shutdown", "dm-error", "dm-delay", "dm-drop-writes", "dm-corrupt",
        "nfs-stop", "target-removed", "fail-make-request", "blk-error", "sysrq-crash", "rehearsal",
        "size", "concurrent", "copies-forbidden", "cached-read", "failslab",
        "fail-page-alloc",
    }  # fmt: skip


def fault(name: str, point: Point, copy: Copy, cut: int = 0, *, flushes: bool = False) -> Fault:
    """What an action asks of the fault layer."""
    act = find(name)
    return act.fault(Strike(copy, point, act.errno, cut, flushes))


@pytest.mark.parametrize("k", [1, 2, 4])
def test_a_request_that_fails_unheld_is_counted_to(k: int) -> None:
    found = fault("eio-unheld", Point(Stage.WRITE, k), COPY)
    unheld = found.more
    assert unheld is not None
    assert not found.held
    assert unheld["inject-error"] == [
        {"event": "pwritev", "state": k, "iotype": "write", "errno": 5, "once": True}
    ]
    # The state in which it fails is left by the request itself: the next one finds another.
    assert unheld["set-state"] == [
        {"event": "pwritev", "state": at, "new_state": at + 1} for at in range(1, k + 1)
    ]


def test_a_flush_of_the_guest_arms_nothing() -> None:
    found = fault("eio", Point(Stage.WRITE, 2), COPY, flushes=True)
    assert found.rules == ()
    assert found.more == choice.options()
    assert found.arming == tuple(choice.commands("write", 5))
    assert fault("resume", Point(Stage.WRITE, 2), COPY, flushes=True).more is None
    # Only where addresses are those of the medium, and there no file system is.
    torn = "torn", Point(Stage.WRITE, 2), COPY
    assert fault(*torn, flushes=True) == fault(*torn)


@pytest.mark.parametrize(("cut", "sectors"), [(0, 2), (1, 1), (3, 3), (4, 2), (99, 2)])
def test_a_write_tears_where_it_is_told_to(cut: int, sectors: int) -> None:
    torn = fault("torn", Point(Stage.WRITE, 2), COPY, cut)
    assert torn.rules[0].sector == COPY.pieces()[1][1].start + sectors


def test_the_points_of_a_copy_come_in_the_order_in_which_they_are_reached() -> None:
    assert [str(point) for point in points_of(2)] == [
        "read:1", "write:1", "written:1", "read:2", "write:2", "written:2", "completed", "flushed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("action", "errno"),
    [("resume", 0), ("kill", 0), ("power-cut", 0), ("eio", 5), ("torn", 5), ("enospc", 28)],
)
def test_the_medium_answers_with_the_errno_of_the_action(action: str, errno: int) -> None:
    assert find(action).errno == errno


TWO = Copy((Extent(0, 128), Extent(200, 128)), destination=400)


@pytest.mark.parametrize("action", ["resume", "kill", "power-cut"])
def test_without_an_error_nothing_is_injected(action: str) -> None:
    assert fault(action, Point(Stage.WRITTEN, 2), TWO) == Fault(nth=2)


@pytest.mark.parametrize(
    ("action", "stage", "iotype", "errno"),
    [
        ("eio", Stage.READ, "read", 5),
        ("eio", Stage.WRITE, "write", 5),
        ("enospc", Stage.WRITE, "write", 28),
    ],
)
def test_an_error_hits_the_held_request_whole_and_once(
    action: str, stage: Stage, iotype: str, errno: int
) -> None:
    rule = Rule("flush_to_os", iotype, errno, sector=None, once=True)
    assert fault(action, Point(stage, 2), TWO) == Fault((rule,), fragment=0, nth=2)


def test_a_torn_write_fails_in_the_middle_of_its_range() -> None:
    rule = Rule("flush_to_os", "write", 5, sector=400 + 128 + 64)
    torn = fault("torn", Point(Stage.WRITE, 2), TWO)
    assert torn == Fault((rule,), fragment=4096, nth=16 + 1)


@st.composite
def torn_writes(draw: st.DrawFn) -> tuple[Copy, int]:
    """A copy of ranges of at least two blocks, and which of them is torn."""
    unit = draw(st.sampled_from([1, 8, 32, 128]))
    blocks = draw(st.lists(st.integers(2, 300), min_size=1, max_size=5))
    sources = tuple(Extent(10000 * index, count * unit) for index, count in enumerate(blocks))
    destination = draw(st.integers(0, 1000)) * unit + 102400
    return Copy(sources, destination, unit), draw(st.integers(1, len(blocks)))


@given(torn_writes())
def test_a_torn_write_fails_inside_its_range_on_a_boundary_of_the_unit(
    torn: tuple[Copy, int],
) -> None:
    copy, k = torn
    (rule,) = fault("torn", Point(Stage.WRITE, k), copy).rules
    part = copy.pieces()[k - 1][1]
    assert rule.sector is not None
    assert part.start < rule.sector < part.end
    assert (rule.sector - part.start) % copy.unit == 0


@given(torn_writes())
def test_the_fragments_of_a_torn_write_end_where_it_fails(torn: tuple[Copy, int]) -> None:
    copy, k = torn
    found = fault("torn", Point(Stage.WRITE, k), copy)
    part = copy.pieces()[k - 1][1]
    assert found.rules[0].sector is not None
    assert (found.rules[0].sector - part.start) * SECTOR % found.fragment == 0
    # blkdebug takes no max-transfer that is not a multiple of the request alignment.
    assert found.fragment % (copy.unit * SECTOR) == 0
    assert found.fragment <= max(4096, copy.unit * SECTOR)


@given(torn_writes())
def test_a_torn_write_is_held_at_the_first_fragment_of_its_range(torn: tuple[Copy, int]) -> None:
    copy, k = torn
    found = fault("torn", Point(Stage.WRITE, k), copy)
    # Each request is cut from its start on, so each range begins a fragment of its own.
    first = [
        offset == 0
        for _, part in copy.pieces()[:k]
        for offset in range(0, part.sectors * SECTOR, found.fragment)
    ]
    begins = [number for number, starts in enumerate(first, start=1) if starts]
    assert found.nth == begins[k - 1]


class Blkdebug:
    """Stands for a machine whose device does `events` one after the other, as far as the
    breakpoints let it: block/blkdebug.c with qemu-io's break and resume in front."""

    process = None

    def __init__(self, directory: Path, events: list[str], alive: bool = True) -> None:
        self.directory = directory
        self.holding = False
        self.done: list[str] = []
        self.commands: list[str] = []
        self._events = list(events)
        self._breakpoints: dict[str, str] = {}
        self._held = ""
        self._alive = alive
        (directory / STDOUT).write_text("from before: Suspended request 'd0n1-1'\n")

    def start(self) -> None:
        """Go on until a breakpoint is met, something else makes it wait, or all is done."""
        while self._events and not self._held and not self.waits():
            event = self._events[0]
            if event in self._breakpoints:
                self._held = self._breakpoints.pop(event)
                with (self.directory / STDOUT).open("a") as out:
                    out.write(f"blkdebug: Suspended request '{self._held}'\n")
            else:
                self.done.append(self._events.pop(0))

    def waits(self) -> bool:
        """Whether the next event must wait for something else than a breakpoint."""
        return False

    def qemu_io(self, drive: str, command: str) -> None:
        assert drive == "d0n1"
        self.commands.append(command)
        match command.split():
            case ["break", event, tag]:
                self._breakpoints[event] = tag
            case ["resume", tag]:
                assert tag == self._held, "qemu-io would know no such tag"
                self._held = ""
                self.done.append(self._events.pop(0))
                self.start()

    def alive(self) -> bool:
        return self._alive

    def died(self) -> HostError:
        return HostError("QEMU was killed by signal 9")

    def ended(self) -> bool:
        return not self._events


DRIVE = Drive("d0n1", "S", 1, 2**20, 512)
COPY_EVENTS = ["read_aio", "pwritev", "pwritev_done"] * 3


def stepper_on(device: Blkdebug) -> Stepper:
    """A stepper for a copy on that device."""
    return Stepper(cast(Machine, device), [DRIVE], device.ended)


class Disks:
    """Stands for a machine with two disks, whose I/O has one order as long as nothing is held; what
    is held on one keeps nothing back on the other."""

    process = None

    def __init__(self, directory: Path, events: list[tuple[str, str]]) -> None:
        self.directory = directory
        self.holding = False
        self.done: list[tuple[str, str]] = []
        self._left = list(events)
        self._breakpoints: dict[tuple[str, str], str] = {}
        self._held: dict[str, str] = {}
        (directory / STDOUT).write_text("")

    def go_on(self) -> None:
        """Do what nothing holds."""
        for drive, event in list(self._left):
            if drive in self._held:
                continue
            if tag := self._breakpoints.pop((drive, event), ""):
                self._held[drive] = tag
                with (self.directory / STDOUT).open("a") as out:
                    out.write(f"blkdebug: Suspended request '{tag}'\n")
            else:
                self._did(drive, event)

    def qemu_io(self, drive: str, command: str) -> None:
        match command.split():
            case ["break", event, tag]:
                self._breakpoints[drive, event] = tag
            case ["remove_break", tag]:
                for key in [key for key, each in self._breakpoints.items() if each == tag]:
                    del self._breakpoints[key]
                if self._held.get(drive) == tag:
                    self._let_go(drive)
            case ["resume", tag]:
                assert self._held[drive] == tag, "qemu-io would know no such tag"
                self._let_go(drive)

    def alive(self) -> bool:
        return True

    def ended(self) -> bool:
        return not self._left

    def _did(self, drive: str, event: str) -> None:
        self._left.remove((drive, event))
        self.done.append((drive, event))

    def _let_go(self, drive: str) -> None:
        del self._held[drive]
        self._did(*next(each for each in self._left if each[0] == drive))
        self.go_on()


ONE, OTHER = Drive("d0n1", "S", 1, 2**20, 512), Drive("d0n2", "S", 2, 2**20, 512)
BOTH = [("d0n1", "read_aio"), ("d0n2", "read_aio"), ("d0n1", "read_aio"), ("d0n2", "pwritev")]


@pytest.mark.parametrize(
    ("point", "held", "done"),
    [("read:1", "d0n1", 0), ("read:2", "d0n2", 1), ("read:3", "d0n1", 2), ("write:1", "d0n2", 3)],
)
def test_the_points_of_several_disks_are_one_order(
    tmp_path: Path, point: str, held: str, done: int
) -> None:
    device, at = Disks(tmp_path, BOTH), Point.parse(point)
    stepper = Stepper(cast(Machine, device), [ONE, OTHER], device.ended)
    stepper.arm(at)
    device.go_on()
    stepper.hold(at, at.k, deadline=5)
    # What may be done before: all that comes first, whichever disk it is on.
    assert BOTH[done] not in device.done[done:]
    assert device.done[:done] == BOTH[:done]
    assert BOTH[done][0] == held
    stepper.release()
    # Nothing is left waiting at the other's breakpoint.
    assert sorted(device.done) == sorted(BOTH)


def test_a_copy_of_several_disks_that_ends_early_is_let_go(tmp_path: Path) -> None:
    device, at = Disks(tmp_path, BOTH), Point.parse("read:4")
    stepper = Stepper(cast(Machine, device), [ONE, OTHER], device.ended)
    stepper.arm(at)
    device.go_on()
    with pytest.raises(NotReached):
        stepper.hold(at, at.k, deadline=5)
    stepper.disarm()
    assert sorted(device.done) == sorted(BOTH)
    assert not device.holding


def test_what_is_none_of_the_copys_is_let_go_and_not_counted(tmp_path: Path) -> None:
    """Such as the reads of udev, which probes a disk that has news."""
    events = ["read_aio", "read_aio", "pwritev", "read_aio", "read_aio", "pwritev"]
    device = Blkdebug(tmp_path, events)
    others = {0, 3}  # who asked, by its place among the events

    def watch() -> Callable[[Stage], bool]:
        return lambda _: len(device.done) in others

    stepper, at = (
        Stepper(cast(Machine, device), [DRIVE], device.ended, watch),
        Point.parse("read:2"),
    )
    stepper.arm(at)
    device.start()
    stepper.hold(at, at.k, deadline=5)
    assert device.done == events[:4]
    stepper.release()
    assert device.done == events


@pytest.mark.parametrize(
    ("point", "before"),
    [("read:1", 0), ("write:1", 1), ("written:1", 2), ("read:3", 6), ("write:2", 4)],
)
def test_a_copy_is_frozen_exactly_at_its_point(tmp_path: Path, point: str, before: int) -> None:
    device = Blkdebug(tmp_path, COPY_EVENTS)
    stepper, at = stepper_on(device), Point.parse(point)
    stepper.arm(at)
    device.start()
    stepper.hold(at, at.k, deadline=5)
    assert device.done == COPY_EVENTS[:before]
    assert device.holding
    stepper.release()
    assert device.done == COPY_EVENTS
    assert not device.holding


def test_the_next_breakpoint_is_set_before_the_held_request_goes_on(tmp_path: Path) -> None:
    device = Blkdebug(tmp_path, COPY_EVENTS)
    stepper, at = stepper_on(device), Point(Stage.READ, 2)
    stepper.arm(at)
    device.start()
    stepper.hold(at, 2, deadline=5)
    assert device.commands == ["break read_aio d0n1-1", "break read_aio d0n1-2", "resume d0n1-1"]


def test_rules_are_armed_by_a_flush_while_the_copy_is_held(tmp_path: Path) -> None:
    device = Blkdebug(tmp_path, COPY_EVENTS)
    stepper_on(device).inject()
    assert device.commands == ["flush"]


def test_a_copy_that_ends_before_its_point_is_reported_as_such(tmp_path: Path) -> None:
    device = Blkdebug(tmp_path, COPY_EVENTS)
    stepper, at = stepper_on(device), Point(Stage.READ, 4)
    stepper.arm(at)
    device.start()
    with pytest.raises(NotReached, match="read:4"):
        stepper.hold(at, 4, deadline=5)


def test_a_qemu_that_dies_on_the_way_is_what_is_reported(tmp_path: Path) -> None:
    stepper = stepper_on(Blkdebug(tmp_path, COPY_EVENTS, alive=False))
    with pytest.raises(HostError, match="killed by signal 9"):
        stepper.hold(Point(Stage.READ, 1), 1, deadline=5)


def test_a_copy_that_goes_nowhere_is_waited_for_until_the_deadline(tmp_path: Path) -> None:
    stepper = stepper_on(Blkdebug(tmp_path, COPY_EVENTS))
    with pytest.raises(KernelHang, match="neither to read:1 nor to an end"):
        stepper.hold(Point(Stage.READ, 1), 1, deadline=0.02)


def test_what_was_printed_before_the_observation_is_past(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old\n")
    stdout = Stdout(path)
    assert stdout.new_text() == ""
    with path.open("a") as out:
        out.write("Suspended")
    assert stdout.new_text() == "Suspended"
    with path.open("a") as out:
        out.write(" request 'a'\n")
    assert stdout.new_text() == "Suspended request 'a'\n"
