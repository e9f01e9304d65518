# SPDX-License-Identifier: GPL-2.0-or-later
"""Listings say what must be known of a run before its cases mean anything."""

import json
from typing import Any

import pytest
import typer

from lab.cli.compare import compare
from lab.cli.export import ExportFormat, export
from lab.cli.results import list_runs, show
from lab.errors import UsageError
from lab.results.run import PROFILE, Run
from lab.suites.upstream.shards import seen
from tests.unit.builders import findings
from tests.unit.test_sectors import STRANGE, done
from tests.unit.test_sectors import document as sectors
from tests.unit.test_store import ran, write_run


def document(plant: str = "") -> dict[str, object]:
    """A run's document with a case that passed."""
    return {
        "suite": "fsx", "profile": "p", "plant": plant or None, "error": None, "kernel": "6.12",
        "cases": [{"name": "one", "status": "pass"}],
    }  # fmt: skip


def test_an_interrupted_run_and_a_planted_defect_are_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Run("p", "fsx") as whole:
        whole.write(PROFILE, "{}")
        whole.finish(document())
    with pytest.raises(KeyboardInterrupt), Run("p", "fsx") as cut:
        cut.write(PROFILE, "{}")
        cut.finish(document("flip-bit"))
        raise KeyboardInterrupt
    list_runs()
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert rows[cut.id].rstrip().endswith("1 pass, planted: flip-bit, interrupted")
    assert rows[whole.id].rstrip().endswith("1 pass")
    show(cut.id)
    assert "1 pass, planted: flip-bit, interrupted" in capsys.readouterr().out


def test_a_run_that_was_interrupted_before_its_first_case(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(KeyboardInterrupt), Run("p", "fsx") as cut:
        raise KeyboardInterrupt
    list_runs()
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith(cut.id))
    assert row.rstrip().endswith("none, interrupted")


def test_a_suite_that_says_what_was_planted_among_its_options(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Run("p", "verity") as run:
        run.write(PROFILE, "{}")
        run.finish({**document(), "options": {"plant": "no-flip"}})
    show(run.id)
    assert "1 pass, planted: no-flip" in capsys.readouterr().out


def test_a_planted_baseline_is_told_before_what_changed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made: list[str] = []
    for plant in ("flip-bit", ""):
        with Run("p", "fsx") as run:
            run.write(PROFILE, "{}")
            run.finish(document(plant))
        made.append(run.id)
    with pytest.raises(typer.Exit):
        compare(made[0], made[1])
    first = capsys.readouterr().out.splitlines()[0]
    assert first == f"careful: the baseline {made[0]}: planted: flip-bit"
    export(made[0], ExportFormat.JUNIT)
    assert '<property name="plant" value="flip-bit"' in capsys.readouterr().out


def test_a_case_is_shown_with_its_sectors(capsys: pytest.CaptureFixture[str]) -> None:
    seen = findings({**done(5), 53: STRANGE, 70: STRANGE})
    rules = {
        "NO-FOREIGN": {"verdict": "violated", "evidence": "1 foreign: sector 53"},
        "NEIGHBOUR": {"verdict": "violated", "evidence": "1 changed: sector 70"},
        "SOURCE": {"verdict": "holds", "evidence": "unchanged"},
    }
    case = sectors(seen, findings(done(12)), verdict="violated", rules=rules)
    run = write_run(1, [case], plant="flip-bit")
    for name in ("7", "write:2 eio", "write:2,eio"):
        show(f"{run}:{name}")
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == f"{run}:7 write:2 eio: violated"
        assert lines[1:4] == [
            "NO-FOREIGN violated: every destination sector is old or new as a whole",
            "  1 foreign: sector 53", "  sectors: 53+1",
        ]  # fmt: skip
        assert "  sectors: 70+1" in lines and not any("SOURCE" in line for line in lines)
        assert any("nnnnnXoooooo" in line for line in lines)
        assert "after the same copy again: 12 new" in lines
        assert lines[-1] == "careful, planted: flip-bit"
        assert max(map(len, lines)) <= 80
    show(f"{run}:7", json=True)
    assert json.loads(capsys.readouterr().out) == case
    with pytest.raises(UsageError, match="has no case 8"):
        show(f"{run}:8")


def test_a_case_of_several_with_its_number_is_named_with_its_own_run() -> None:
    cases = [sectors(findings({}), run=f"2026-{path}", path=path) for path in ("one", "two")]
    run = write_run(1, cases, suite="conformance")
    with pytest.raises(UsageError, match=r"has 2 cases 7 .*2026-one:7, 2026-two:7"):
        show(f"{run}:7")


def test_a_case_without_a_number_is_shown_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(1, [ran("generic/001", "fail"), ran("generic/002")], suite="fstests")
    show(f"{run}:generic/001")
    said = capsys.readouterr().out
    assert "output mismatch" in said and "generic/002" not in said
    with pytest.raises(UsageError, match="has no case generic/003"):
        show(f"{run}:generic/003")


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ({"cases": [{**ran("a"), "status": "skipped"}]}, "'skipped' is not a valid CaseStatus"),
        ({"cases": ["a"]}, "its cases cannot be read"),
        ({"suite": 7, "profile": None, "cases": None}, "its cases cannot be read"),
        ({"cases": [], "options": ["a"]}, "cannot be read: AttributeError"),
    ],
)
def test_a_run_of_another_lab_hides_no_other(
    capsys: pytest.CaptureFixture[str], odd: dict[str, Any], said: str
) -> None:
    strange = write_run(1, **{"cases": [], **odd})
    good = write_run(2, [ran("a")])
    list_runs(json=True)
    rows = {row["run"]: row for row in json.loads(capsys.readouterr().out)}
    assert said in rows[strange]["cases"]
    assert rows[good]["cases"] == "1 pass"
    list_runs()
    assert good in capsys.readouterr().out


def test_a_run_of_another_lab_is_told_where_it_is_asked_for() -> None:
    run = write_run(1, [{**ran("a"), "status": "skipped"}])
    with pytest.raises(UsageError, match=f"run {run}: its cases cannot be read.*'skipped'"):
        show(run)


def test_a_run_of_another_lab_has_no_durations() -> None:
    write_run(2, [{**ran("b"), "status": "skipped"}], suite="fstests")
    write_run(1, [ran("a")], suite="fstests")
    assert seen("fstests", "nvme-copy", "tcg") == {"xfs:a": 2.0}
