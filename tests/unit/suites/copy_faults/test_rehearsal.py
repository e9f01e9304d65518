# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies without a fault: they are cases, and decide what follows them."""

from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar, cast

import pytest

from lab.cli.show.copy_faults import show
from lab.copy.contract import Facts, judge, overall
from lab.crash.writelog import Flag, LogEntry
from lab.errors import HostError, LabError, UsageError
from lab.faults.actions import REHEARSAL, Action
from lab.faults.model import REHEARSED, points_of
from lab.profile.models import Profile
from lab.results.cases import read
from lab.results.junit import xml
from lab.results.run import Run
from lab.results.store.feed import case_rows
from lab.suites.copy_faults import rehearsal
from lab.suites.copy_faults.acts.registry import action_called
from lab.suites.copy_faults.bench import Bench
from lab.suites.copy_faults.case import CaseResult
from lab.suites.copy_faults.cell import Setup
from lab.suites.copy_faults.failures import NotSupported
from lab.suites.copy_faults.options import parse
from lab.suites.copy_faults.rehearsal import CopyPoints, goes_on, is_by_range, is_case
from lab.suites.copy_faults.report import JudgedCase, Report
from lab.suites.copy_faults.selection import Selection
from lab.suites.copy_faults.sweep import as_sweep
from tests.unit.builders import DONE, FAILED, copied, facts, findings, nvme_path, profile

ROOM = Profile.model_validate(
    {
        "name": "p",
        "description": "for a test",
        "devices": ({"type": "nvme", "serial": "S", "namespaces": ({"size": 2**26},)},),
    }
)
NOTHING = facts(findings=findings({}))
HANGS = facts(completion=None, waited=None)
REFUSED = facts(completion=FAILED, findings=findings({}))
CORRUPTS = facts(completion=FAILED, findings=findings({62: bytes(512)}))


def judged(seen: Facts) -> CaseResult:
    """A rehearsal in which this was seen."""
    rules = judge(seen)
    return CaseResult(
        REHEARSED, REHEARSAL, seen, rules, overall(seen, rules), 0.1,
        seen.completion, ("nvme0: I/O error",),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "first", "is_one"),
    [
        (facts(), True, True),
        (facts(), False, False),
        (NOTHING, True, True),
        (NOTHING, False, True),
        (HANGS, True, True),
        (REFUSED, True, False),
        (CORRUPTS, True, True),
        (REFUSED, False, True),
    ],
)
def test_the_first_is_a_case_and_each_that_found_something(
    seen: Facts, first: bool, is_one: bool
) -> None:
    assert is_case(judged(seen), first=first) is is_one


def test_faults_follow_a_copy_that_ended_well_and_none_that_did_not() -> None:
    limits = nvme_path().limits
    for first in (True, False):
        assert goes_on(judged(facts()), limits, first=first)
        assert goes_on(judged(NOTHING), limits, first=first)
        assert not goes_on(judged(HANGS), limits, first=first)
    with pytest.raises(NotSupported, match=r"status 0x280.*\nkernel: nvme0: I/O error"):
        goes_on(judged(REFUSED), limits, first=True)
    assert goes_on(judged(REFUSED), limits, first=False)


def test_a_planted_error_is_none_of_the_path() -> None:
    planted = replace(judged(replace(REFUSED, findings=findings(copied()))), told=DONE)
    assert goes_on(planted, nvme_path().limits, first=True)
    assert is_case(planted, first=True)


def run_of(args: list[str]) -> list[tuple[int, Setup]]:
    """The cases of a run on nvme-copy with these arguments, and how many it tells there are."""
    told: list[int] = []
    sweep = as_sweep(ROOM, parse(args))
    found = list(sweep.setups(cast(Bench, FakeBench()), told.append))
    assert told == [len(found)]
    return found


class FakeBench:
    """As much of a bench as cases on a path with known points need."""

    path = nvme_path()
    lacking: ClassVar[dict[Action, str]] = {}
    broken = False
    refused = False
    run = SimpleNamespace(emit=lambda *_, **__: None)


def test_a_sweep_begins_with_the_copy_that_is_not_interrupted() -> None:
    (zero, first), *others = run_of(["--actions", "eio", "--ranges", "2"])
    assert (zero, first.name) == (0, "rehearsal")
    assert [number for number, _ in others] == list(range(1, 5))
    assert {setup.layout for _, setup in others} == {first.layout}
    assert [setup.name for _, setup in others] == [
        f"{point} eio"
        for point, _ in Selection((action_called("eio"),)).on(nvme_path(), points_of(2))
    ]


def test_it_can_be_all_there_is() -> None:
    assert [setup.name for _, setup in run_of(["--ranges", "2", "--actions", "rehearsal"])] == [
        "rehearsal"
    ]
    assert len(run_of(["--ranges", "2", "--actions", "rehearsal,torn", "--points", "write:1"])) == 2


def test_generated_cases_keep_the_numbers_they_are_drawn_by() -> None:
    found = run_of(["--cases", "3", "--seed", "5", "--actions", "eio"])
    assert [number for number, _ in found] == [0, 1, 2, 3]
    assert found[0][1].name == "rehearsal"
    assert found[0][1].layout == found[1][1].layout


def test_copies_that_nothing_interrupts_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for no fault needs no points, which more copies would have to tell."""
    monkeypatch.setattr(rehearsal, "points", lambda *_: pytest.fail("points are counted"))
    asked = ["--path", "bdev-cfr", "--cases", "3", "--seed", "5", "--actions", "rehearsal"]
    sweep = as_sweep(ROOM, parse(asked))
    cases = list(sweep.setups(cast(Bench, FakeBench()), lambda _: None))
    assert [(number, setup.name) for number, setup in cases] == [
        (number, "rehearsal") for number in range(4)
    ]
    # Whoever asks for them is told of each, and not of those alone that break a rule.
    assert [sweep.is_rehearsal(*case) for case in cases] == [True, False, False, False]


def test_what_only_tells_the_points_of_a_drawn_case_is_none() -> None:
    sweep = as_sweep(ROOM, parse(["--cases", "3", "--seed", "5", "--actions", "rehearsal,eio"]))
    assert sweep.is_rehearsal(3 + 2, sweep.first)
    assert not sweep.is_rehearsal(2, sweep.first)


@pytest.mark.parametrize("drawn", [[], ["--cases", "3", "--seed", "5"]])
@pytest.mark.parametrize("broken", [True, False])
def test_where_a_copy_that_breaks_a_rule_has_no_point_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, broken: bool, drawn: list[str]
) -> None:
    """It may have moved nothing: then there is nothing that could be held."""
    monkeypatch.setattr(rehearsal, "points", lambda *_: CopyPoints((REHEARSED,)))
    monkeypatch.setattr(FakeBench, "broken", broken)
    monkeypatch.setattr(FakeBench, "lacking", {})
    actions = "eio" if drawn else "eio,size"
    sweep = as_sweep(ROOM, parse(["--path", "bdev-cfr", "--actions", actions, *drawn]))
    cases = sweep.setups(cast(Bench, FakeBench()), lambda _: None)
    if not broken:
        with pytest.raises(UsageError, match="none of these actions is possible"):
            list(cases)
        return
    sizes = ["one block", "at mssrl", "above mssrl", "above twice mssrl"]
    names = [setup.name for _, setup in cases]
    assert names == (["rehearsal"] * 3 if drawn else ["rehearsal", *sizes])
    assert "none of these" in FakeBench.lacking[action_called("eio")]


def test_what_cannot_be_copied_without_a_fault_is_not_copied_with_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rehearsal, "points", lambda *_: CopyPoints(tuple(points_of(6))))
    asked = ["--path", "bdev-cfr", "--cases", "3", "--seed", "5", "--actions", "eio"]
    names = []
    for number, setup in as_sweep(ROOM, parse(asked)).setups(
        cast(Bench, FakeBench()), lambda _: None
    ):
        names.append((number, setup.name))
        # The copy of the second case.
        monkeypatch.setattr(FakeBench, "refused", number == 3 + 2)
    assert [number for number, _ in names] == [0, 1, 3 + 2, 3 + 3, 3]


PLACED = "torn,lost-write,corrupt,stale-read"


@pytest.mark.parametrize("by_range", [True, False])
def test_what_needs_the_place_of_a_point_is_done_where_that_is_known(
    monkeypatch: pytest.MonkeyPatch, by_range: bool
) -> None:
    counted = CopyPoints(tuple(points_of(4)), by_range)
    monkeypatch.setattr(rehearsal, "points", lambda *_: counted)
    monkeypatch.setattr(FakeBench, "lacking", {})
    asked = ["--path", "bdev-cfr", "--ranges", "2", "--actions", f"{PLACED},eio"]
    cases = as_sweep(ROOM, parse(asked)).setups(cast(Bench, FakeBench()), lambda _: None)
    done = {setup.action.name for _, setup in cases}
    wanted = set(PLACED.split(","))
    assert done == {"rehearsal", "eio"} | (wanted if by_range else set())
    assert {action.name for action in FakeBench.lacking} == (set() if by_range else wanted)
    drawn = [*asked, "--cases", "40", "--seed", "5"]
    monkeypatch.setattr(FakeBench, "lacking", {})
    cases = as_sweep(ROOM, parse(drawn)).setups(cast(Bench, FakeBench()), lambda _: None)
    assert wanted.isdisjoint(setup.action.name for _, setup in cases) is not by_range
    assert {action.name for action in FakeBench.lacking} == (set() if by_range else wanted)


@pytest.mark.parametrize("more", [[], ["--cases", "3", "--seed", "5"]])
def test_where_nothing_else_is_asked_for_the_run_goes_on_without(
    monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    counted = CopyPoints(tuple(points_of(8)), by_range=False)
    monkeypatch.setattr(rehearsal, "points", lambda *_: counted)
    monkeypatch.setattr(FakeBench, "lacking", {})
    asked = ["--path", "bdev-cfr", "--ranges", "2", "--actions", PLACED, *more]
    cases = as_sweep(ROOM, parse(asked)).setups(cast(Bench, FakeBench()), lambda _: None)
    assert {setup.name for _, setup in cases} == {"rehearsal"}
    assert {action.name for action in FakeBench.lacking} == set(PLACED.split(","))


def test_points_are_those_of_ranges_where_each_is_read_and_written_as_a_whole() -> None:
    copy = nvme_path().layout(2, 8).copy
    first, second = ((target.start, target.sectors) for _, target in copy.pieces())
    assert is_by_range(copy, 2, 2, logged(first, (0, 0), second))
    half = first[1] // 2
    for reads, wrote in (
        (2, [second, first]),
        (2, [(first[0], half), (first[0] + half, half), second]),
        (2, [first]),
        (1, [first, second]),
    ):
        assert not is_by_range(copy, reads, len(wrote), logged(*wrote))


def logged(*wrote: tuple[int, int]) -> list[LogEntry]:
    """Entries of a write log: first sectors and how many; a flush has none."""
    return [
        LogEntry(number, start * 512, sectors * 512, Flag(0 if sectors else 1), 0, 0)
        for number, (start, sectors) in enumerate(wrote)
    ]


def report(error: LabError | None, *results: CaseResult) -> Report:
    """The report of a run with these rehearsals."""
    asked = parse(["--actions", "eio"])
    path = nvme_path()
    setup = Setup(path.layout(1, 8), REHEARSED, REHEARSAL, path.name, path.ref)
    cases = [JudgedCase(number, setup, result) for number, result in enumerate(results)]
    with Run("p", "copy-faults") as run:
        return Report(
            run=run.id, directory=run.directory, suite="copy-faults", profile=profile(),
            asked=asked.document(), plant=asked.plant, path=path, kernel="6.12", qemu="7.2",
            accelerator="tcg", cases=cases, error=error,
        )  # fmt: skip


NO_POINTS = UsageError("none of these actions is possible at any of these points: completed")


@pytest.mark.parametrize(
    ("seen", "error", "status"),
    [
        (facts(), None, 0),
        (NOTHING, None, 1),
        (NOTHING, NO_POINTS, 1),
        (facts(), NO_POINTS, 2),
        (NOTHING, HostError("no QEMU"), 3),
    ],
)
def test_what_it_finds_is_not_undone_by_points_that_are_not_there(
    seen: Facts, error: LabError | None, status: int
) -> None:
    assert report(error, judged(seen)).exit_status == status


def test_it_is_a_case_wherever_cases_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    found = report(None, judged(NOTHING))
    document = found.document()
    (row,) = case_rows(document)
    assert (row["name"], row["status"]) == ("nvme-copy:rehearsal", "fail")
    assert row["rules"]["COMPLETE"].startswith("success: all destination sectors must be new")
    text = xml(found.run, "copy-faults", [read(case) for case in document["cases"]])
    assert 'name="rehearsal"' in text
    assert "<failure" in text
    show(found, parse(["--actions", "eio"]))
    printed = capsys.readouterr().out
    assert "rehearsal: COMPLETE" in printed
    assert f"lab replay {found.run}:0" in printed
