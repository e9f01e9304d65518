# SPDX-License-Identifier: GPL-2.0-or-later
"""Listings say what must be known of a run before its cases mean anything."""

import pytest
import typer

from lab.cli.compare import ExportFormat, compare, export
from lab.cli.results import list_runs, show
from lab.results.run import PROFILE, Run


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
