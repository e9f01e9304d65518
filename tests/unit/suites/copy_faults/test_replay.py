# SPDX-License-Identifier: GPL-2.0-or-later
"""Finding a recorded case again, and telling whether it came to the same."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.copy.contract import Ruling, Verdict, judge
from lab.copy.model import Layout
from lab.copy.plant import Plant
from lab.errors import HostError, UsageError
from lab.faults.model import Point, Stage
from lab.profile.models import Profile
from lab.results.run import PROFILE, Run
from lab.results.runs import ids
from lab.suites.copy_faults.acts.registry import action_called
from lab.suites.copy_faults.case import CaseResult
from lab.suites.copy_faults.cell import Setup
from lab.suites.copy_faults.options import parse
from lab.suites.copy_faults.replay import CaseOutcome, RecordedCase, Replay, case_of
from lab.suites.copy_faults.report import JudgedCase, Report
from tests.unit.builders import COPY, WINDOW, facts, nvme_path

MACHINE = Profile.model_validate(
    {
        "name": "p",
        "description": "for a test",
        "devices": ({"type": "nvme", "serial": "S", "namespaces": ({"size": 2**26},)},),
    }
)
LAYOUT = Layout(COPY, WINDOW)
EIO = Setup(LAYOUT, Point(Stage.WRITE, 2), action_called("eio"))
CUT = Setup(LAYOUT, Point(Stage.FLUSHED), action_called("power-cut"))


def result(setup: Setup, *broken: str) -> CaseResult:
    """A judged case in which these rules are violated."""
    seen = facts()
    rules = judge(seen) | {rule: Verdict(Ruling.VIOLATED, "planted") for rule in broken}
    verdict = "violated" if broken else "holds"
    return CaseResult(setup.point, setup.action, seen, rules, verdict, 0.1)


def report(run: Run, *cases: JudgedCase, **changes: Any) -> Report:
    """The report of a run with these cases."""
    asked = parse(["--plant", "flip-bit", "--hang-deadline", "2.5"])
    done = Report(
        run=run.id, directory=run.directory, suite="copy-faults", profile=MACHINE,
        asked=asked.document(), plant=asked.plant, path=nvme_path(), kernel="6.1", qemu="7.2",
        accelerator="tcg", cases=list(cases),
    )  # fmt: skip
    return replace(done, **changes)


@pytest.fixture
def recorded() -> str:
    """The id of a run with three cases, of which the third was minimised."""
    small = Setup(
        replace(LAYOUT, copy=replace(COPY, sources=COPY.sources[:2])), EIO.point, EIO.action
    )
    with Run("p", "copy-faults") as run:
        run.write(PROFILE, MACHINE.model_dump_json(by_alias=True))
        run.finish(
            report(
                run,
                JudgedCase(1, EIO, result(EIO)),
                JudgedCase(2, CUT, result(CUT)),
                JudgedCase(
                    3, EIO, result(EIO, "SOURCE"), JudgedCase(3, small, result(small, "SOURCE"))
                ),
            ).document()
        )
    return run.id


def test_a_case_is_found_with_all_that_it_takes_to_repeat_it(recorded: str) -> None:
    found = case_of(f"{recorded}:2")
    assert found.id == f"{recorded}:2"
    assert found.profile == MACHINE
    assert found.setup == CUT
    assert (found.plant.kind, found.hang_deadline) == ("flip-bit", 2.5)
    assert found.outcome == CaseOutcome.of(result(CUT))
    assert found.platform == {"kernel": "6.1", "qemu": "7.2", "accelerator": "tcg"}


def test_a_case_can_be_named_by_point_and_action(recorded: str) -> None:
    assert case_of(f"{recorded}:flushed,power-cut").id == f"{recorded}:2"


def test_a_run_stands_for_its_only_case_that_failed(recorded: str) -> None:
    assert case_of(recorded).id == case_of(f"{recorded}:").id == f"{recorded}:3.min"


def failed_in(home: Path, recorded: str, *numbers: int) -> None:
    """Let these cases of a run have failed, and no others."""
    path = document(recorded, home)
    content = json.loads(path.read_text())
    for case in content["cases"]:
        case["verdict"] = "violated" if case["number"] in numbers else "holds"
    path.write_text(json.dumps(content))


def test_of_several_that_failed_one_must_be_named(recorded: str, home: Path) -> None:
    failed_in(home, recorded, 1, 2, 3)
    with pytest.raises(UsageError, match="3 cases failed") as caught:
        case_of(recorded)
    assert caught.value.hint == (f"lab replay {recorded}:1, or {recorded}:2, {recorded}:3.min")
    failed_in(home, recorded)
    with pytest.raises(UsageError, match="no case failed") as caught:
        case_of(recorded)
    assert f"lab replay {recorded}:CASE" in caught.value.hint


def test_a_minimised_case_is_another_one(recorded: str) -> None:
    whole, small = case_of(f"{recorded}:3"), case_of(f"{recorded}:3.min")
    assert (len(whole.setup.layout.copy.sources), len(small.setup.layout.copy.sources)) == (3, 2)
    assert small.id == f"{recorded}:3.min"
    assert str(small.outcome) == str(whole.outcome) == "violated SOURCE"


@pytest.mark.parametrize(
    ("case", "message", "hint"),
    [
        ("4", "has no case 4", "from 1 to 3"),
        ("0", "has no case 0", "from 1 to 3"),
        ("1.min", "has no case 1.min", "only where one was minimised"),
        ("write:2,torn", "has no case write:2,torn", ""),
        ("write:2,eio", "has 2 cases", "by number: 1, 3"),
    ],
)
def test_a_case_that_is_not_there_is_refused(
    recorded: str, case: str, message: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        case_of(f"{recorded}:{case}")
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("run", ["20260101-000000-abcd", "../../etc", "x", "."])
def test_a_run_that_is_not_there_is_refused(recorded: str, run: str) -> None:
    with pytest.raises(UsageError, match="no run ") as caught:
        case_of(f"{run}:1")
    assert caught.value.hint == f"the latest is {recorded}"


def test_where_no_run_is_none_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        case_of("20260101-000000-abcd:1")
    assert caught.value.hint == "there is none yet"


def document(run: str, home: Path) -> Path:
    """The file with the document of a run."""
    return home / ".local/state/lab/runs" / run / "run.json"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cases": 5}', '{"cases": [{"number": 1}]}'])
def test_a_document_of_another_make_is_refused(recorded: str, home: Path, text: str) -> None:
    document(recorded, home).write_text(text)
    with pytest.raises(UsageError, match=recorded):
        case_of(f"{recorded}:1")


def test_a_document_without_the_window_is_refused(recorded: str, home: Path) -> None:
    path = document(recorded, home)
    content = json.loads(path.read_text())
    del content["cases"][0]["window"]
    path.write_text(json.dumps(content))
    with pytest.raises(UsageError, match="KeyError 'window'") as caught:
        case_of(f"{recorded}:1")
    assert "run it again" in caught.value.hint
    assert case_of(f"{recorded}:2").setup == CUT


def test_a_run_that_was_broken_off_is_refused() -> None:
    with Run("p", "s") as run:
        pass
    with pytest.raises(UsageError, match="no document") as caught:
        case_of(f"{run.id}:1")
    assert "timeline" in caught.value.hint
    assert ids() == [run.id]


def again(found: RecordedCase, *results: CaseResult, **changes: Any) -> Replay:
    """The replay of a case that came to these results."""
    cases = [JudgedCase(number, found.setup, each) for number, each in enumerate(results, 1)]
    with Run("p", "replay") as run:
        return Replay(found, len(results), report(run, *cases, **changes))


def test_the_same_verdicts_end_with_0_whatever_they_are(recorded: str) -> None:
    bad = again(case_of(f"{recorded}:3"), *[result(EIO, "SOURCE")] * 3)
    assert (bad.same, bad.exit_status) == ([True] * 3, 0)
    good = again(case_of(f"{recorded}:1"), result(EIO))
    assert (good.same, good.exit_status) == ([True], 0)


@pytest.mark.parametrize("broken", [(), ("NEIGHBOUR",), ("SOURCE", "NEIGHBOUR")])
def test_other_rules_are_not_the_same_verdict(recorded: str, broken: tuple[str, ...]) -> None:
    done = again(case_of(f"{recorded}:3"), result(EIO, "SOURCE"), result(EIO, *broken))
    assert (done.same, done.exit_status) == ([True, False], 1)


def test_a_failure_of_the_lab_is_no_verdict(recorded: str) -> None:
    done = again(case_of(f"{recorded}:1"), result(EIO, "SOURCE"), error=HostError("no QEMU"))
    assert done.exit_status == 3


def test_another_platform_is_told(recorded: str) -> None:
    found = case_of(f"{recorded}:1")
    assert again(found, result(EIO)).differences() == []
    done = again(found, result(EIO), kernel="6.12", accelerator="kvm")
    assert done.differences() == ["kernel was 6.1, is 6.12", "accelerator was tcg, is kvm"]
    assert done.document()["differences"] == done.differences()
    assert done.document()["same"] == [True]


def test_a_replay_can_be_replayed(recorded: str) -> None:
    found = case_of(f"{recorded}:1")
    done = again(found, result(EIO), plant=Plant())
    with Run("p", "replay") as run:
        run.write(PROFILE, MACHINE.model_dump_json(by_alias=True))
        run.finish(done.report.document())
    second = case_of(f"{run.id}:1")
    assert (second.setup, second.outcome, second.plant.kind) == (found.setup, found.outcome, "")
