"""Listings say what must be known of a run before its cases mean anything."""

import pytest

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
