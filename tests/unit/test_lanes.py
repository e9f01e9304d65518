# SPDX-License-Identifier: GPL-2.0-or-later
"""Swim lanes: who did what when."""

import pytest

from lab.results.site.draw.lanes import picture
from lab.results.site.lanes import (
    CALLER,
    DEVICE,
    HOST,
    KERNEL,
    LANES,
    QMP,
    TRACE,
    Bar,
    lanes,
)
from lab.results.site.timeline import Event, by_case
from tests.unit.test_site import timeline
from tests.unit.test_store import judged, write_run


def events(*told: tuple[float, str, str]) -> list[Event]:
    return [Event(at, source, event, "") for at, source, event in told]


HELD = (
    (0.0, "lab", "setup"), (0.01, "guest", "copy"), (0.012, "trace", "copy"),
    (0.013, "trace", "copy_source_range"), (0.014, "trace", "copy_out"),
    (0.02, "stepper", "held"), (0.03, "stepper", "inject"), (0.04, "stepper", "release"),
    (0.05, "guest", "completion"), (0.06, "kernel", "message"), (0.07, "guest", "copy"),
    (0.08, "guest", "completion"), (0.09, "oracle", "verdict"),
)  # fmt: skip


def test_every_event_has_its_lane() -> None:
    found = lanes(events(*HELD))
    of = [mark.lane for mark in found.marks]
    assert of == [
        HOST, CALLER, TRACE, DEVICE, DEVICE, QMP, QMP, QMP, CALLER, KERNEL, CALLER, CALLER, HOST,
    ]  # fmt: skip
    assert set(of) == set(LANES)
    assert found.held == (Bar(0.02, 0.04, True),)
    assert found.copies == (Bar(0.01, 0.05, True), Bar(0.07, 0.08, True))
    assert found.panels == ((0.0, 0.09),)


def test_a_guest_that_is_killed_ends_what_was_held_and_the_pause_of_its_boot_is_left_out() -> None:
    found = lanes(
        events(
            (0.0, "lab", "setup"), (0.01, "guest", "copy"), (0.02, "stepper", "held"),
            (0.03, "stepper", "kill"), (1.5, "kernel", "message"), (4.0, "lab", "reboot"),
            (4.1, "guest", "copy"), (4.2, "guest", "completion"),
        )
    )  # fmt: skip
    assert found.held == (Bar(0.02, 0.03, True),)
    assert found.copies == (Bar(0.01, 0.03, False), Bar(4.1, 4.2, True))
    assert found.panels == ((0.0, 0.03), (4.0, 4.2))


def test_what_is_held_for_long_is_no_pause() -> None:
    found = lanes(
        events((0.0, "guest", "copy"), (0.1, "stepper", "held"), (9.0, "stepper", "release"))
    )
    assert found.panels == ((0.0, 9.0),)
    assert found.held == (Bar(0.1, 9.0, True),)


def test_the_trace_that_is_read_late_belongs_to_the_case_before() -> None:
    run = write_run(1, [judged("write:1 eio")])
    timeline(
        run,
        {"t": 5.0, "source": "lab", "event": "setup", "number": 1},
        {"t": 7.0, "source": "lab", "event": "setup", "number": 2},
        {"t": 6.5, "source": "trace", "event": "copy", "arguments": "nr 4"},
        {"t": 7.5, "source": "trace", "event": "copy", "arguments": "nr 4"},
    )
    found = by_case(run)
    assert [(each.event, each.at) for each in found[1]] == [("setup", 0.0), ("copy", 1.5)]
    assert [(each.event, each.at) for each in found[2]] == [("setup", 0.0), ("copy", 0.5)]
    assert by_case(run, {2}).keys() == {2}


def test_many_messages_of_the_kernel_leave_room_for_the_rest() -> None:
    run = write_run(1, [judged("write:1 kill")])
    boot = [
        {"t": 5.1, "source": "kernel", "event": "message", "level": 6, "text": "x"}
        for _ in range(5000)
    ]
    end = {"t": 9.0, "source": "oracle", "event": "verdict"}
    timeline(run, {"t": 5.0, "source": "lab", "event": "setup", "number": 1}, *boot, end)
    found = by_case(run)[1]
    assert found[-1].event == "verdict"
    assert len(found) < 1000


def test_a_picture_has_the_lanes_the_band_and_a_clock() -> None:
    drawn = picture(lanes(events(*HELD)))
    for lane in LANES:
        assert f">{lane}</text>" in drawn
    assert "var(--band)" in drawn and ">ms since the case began<" in drawn
    assert ">held</text>" in drawn and "held for 20 ms" in drawn
    slow = picture(lanes(events((0.0, "lab", "setup"), (8.0, "guest", "copy"), (20.0, "lab", "x"))))
    assert ">s since the case began<" in slow


@pytest.mark.parametrize("told", [(), ((0.0, "elsewhere", "thing"),)])
def test_of_nothing_there_is_no_picture(told: tuple[tuple[float, str, str], ...]) -> None:
    assert picture(lanes(events(*told))) == ""


def test_a_pause_is_said() -> None:
    found = lanes(events((0.0, "lab", "setup"), (0.1, "guest", "copy"), (9.1, "lab", "reboot")))
    assert ">⋯ 9.0 s ⋯<" in picture(found)
