# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases on the terminal: pace, summaries, and the runs there were."""

import json
import sys
from pathlib import Path

import pytest

from lab.cli import main
from lab.cli.show.cases import show, summary, tally
from lab.cli.show.watch import Pace, duration
from lab.errors import UsageError
from lab.results.cases import Case, CaseStatus
from lab.results.run import PROFILE, Run
from lab.suites.outcome import Results
from tests.unit.builders import profile

CASES = [
    Case("generic/001", CaseStatus.PASS, 3.0, section="xfs"),
    Case(
        "generic/002", CaseStatus.FAIL, 4.0, "output mismatch", "xfs", output="head\n" + "x\n" * 30
    ),
    Case("generic/003", CaseStatus.FAIL, 4.0, section="xfs", known="since ever"),
    Case("generic/004", CaseStatus.PASS, 4.0, section="xfs", known="it was broken"),
    Case("generic/001", CaseStatus.HUNG, 9.0, section="xfs", attempt=2),
]


def outcome(directory: Path) -> Results:
    return Results(
        run="20260101-000000-abcd", directory=directory, suite="fstests",
        profile=profile("nvme-copy"), asked={}, tree="/tree", kernel="6.12", qemu="7.2",
        accelerator="tcg", cases=CASES, selected=6, seconds=500.0, speed=17.0,
    )  # fmt: skip


def test_the_pace_tells_rate_and_time_left() -> None:
    now = [100.0]
    pace = Pace(lambda: now[0])
    assert str(pace) == ""
    pace.total = 10
    pace.begin()
    pace.done, now[0] = 4, 160.0
    pace.begin()
    assert str(pace) == "4.0 a minute, 90 s left"
    assert pace.left == 6


def test_durations_are_in_words() -> None:
    assert [duration(seconds) for seconds in (42, 180, 9000)] == ["42 s", "3 min", "2.5 h"]


def test_a_case_in_a_line() -> None:
    assert summary(CASES[2]) == "xfs:generic/003 fail 4.0 s [known: since ever]"
    assert summary(CASES[4]) == "xfs:generic/001 (2) hung 9.0 s"
    assert tally(CASES) == "2 pass, 2 fail, 1 hung, 1 of them known failures"


def test_the_end_of_a_run_tells_what_is_worth_a_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show(outcome(tmp_path), None)
    out = capsys.readouterr().out
    assert "xfs:generic/002 fail 4.0 s: output mismatch" in out
    assert "… 18 more lines" in out
    assert "xfs:generic/004 passed, but was expected to fail: it was broken" in out
    assert "xfs:generic/001 is flaky: passed 1 of 2 times" in out
    assert "generic/003 fail" not in out
    assert "1 without a result" in " ".join(out.split())


def test_only_unexpected_failures_make_the_exit_status(tmp_path: Path) -> None:
    done = outcome(tmp_path)
    assert done.exit_status == 1
    assert done.document()["unexpected"] == ["xfs:generic/002", "xfs:generic/001"]
    done.cases = [case for case in CASES if not case.unexpected]
    assert done.exit_status == 0
    done.error = UsageError("no")
    assert done.exit_status == 2


def lab(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lab", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_runs_are_listed_shown_and_exported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Run("nvme-copy", "fstests") as run:
        run.write(PROFILE, "{}")
        run.finish(outcome(run.directory).document())
    assert lab(monkeypatch, "results", "list", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["run"], row["suite"]) == (run.id, "fstests")
    assert lab(monkeypatch, "results", "show", run.id) == 0
    assert "xfs:generic/001 (2)" in capsys.readouterr().out
    assert lab(monkeypatch, "results", "export", run.id, "--to", "junit") == 0
    assert "<testsuite" in capsys.readouterr().out
    assert lab(monkeypatch, "results", "export", "19990101-000000-0000", "--to", "junit") == 2
    assert lab(monkeypatch, "results", "show", "../etc") == 2
