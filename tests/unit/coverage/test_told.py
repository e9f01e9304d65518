# SPDX-License-Identifier: GPL-2.0-or-later
"""What was executed, merged and in words: the table that a reviewer asks for, in mail and pages."""

import json
from pathlib import Path
from typing import Any

import pytest

from lab.cli import coverage as command
from lab.cli.show.coverage import print_coverage, print_files
from lab.coverage.export import CoveredRuns
from lab.farm.outcome import last_night
from lab.host import dirs
from lab.results import coverage, executed, letter
from lab.results.coverage import (
    NEVER,
    Circumstance,
    CountRecord,
    CoverageReport,
    CoveredFile,
    SeriesLine,
    stretches,
)
from lab.results.executed import COLUMNS
from lab.results.mail import mail
from lab.results.store.database import session
from tests.unit.test_mail import FOUND
from tests.unit.test_nightly import Bench, bench, carry_out, plan
from tests.unit.test_site import pages
from tests.unit.test_store import judged, write_run

__all__ = ["bench", "plan"]

OUTSIDE, PLAIN, FAULT = Circumstance


def lines(*whens: str, function: str = "blkdev_copy") -> tuple[SeriesLine, ...]:
    """Lines of block/copy.c from line 10 on, every other one of which has code."""
    return tuple(
        SeriesLine(
            file="block/copy.c", line=10 + 2 * at, when=when, function=function,
            text=f"\tdone += {at};",
        )
        for at, when in enumerate(whens)
    )  # fmt: skip


def report(*whens: str, key: str = "linux-0123", letters: str = "ffp.o") -> CoverageReport:
    return CoverageReport(
        kernel="series+gcov:block",
        key=key,
        places=("block",),
        files=(
            CoveredFile(file="block/copy.c", letters=letters),
            CoveredFile(file="block/partitions/core.c", letters=".."),
        ),
        series=lines(*whens),
        taken=3,
        seconds=0.5,
    )


def put(run: str, found: CoverageReport) -> None:
    """Let this be what a run has executed."""
    place = dirs.state("runs") / run / coverage.DIRECTORY
    place.mkdir()
    (place / coverage.REPORT).write_text(found.model_dump_json())


def test_lines_that_follow_each_other_are_one_stretch() -> None:
    found = stretches(lines(NEVER, NEVER, FAULT, NEVER, PLAIN, NEVER), NEVER)
    assert [one.where for one in found] == [
        "block/copy.c:10-12", "block/copy.c:16", "block/copy.c:20",
    ]  # fmt: skip
    assert found[0].text == "done += 0;"


def test_a_stretch_ends_with_its_function() -> None:
    both = (
        *lines(NEVER),
        *(one.model_copy(update={"line": 12}) for one in lines(NEVER, function="x")),
    )
    assert [one.function for one in stretches(both, NEVER)] == ["blkdev_copy", "x"]


def test_runs_on_the_same_kernel_are_one() -> None:
    first = report(NEVER, OUTSIDE, PLAIN, FAULT, letters="..opf")
    second = report(PLAIN, NEVER, FAULT, NEVER, letters="op.f.")
    other = report(NEVER, key="linux-4567")
    both, apart = coverage.merged([first, other, second])
    assert apart == other
    assert [line.when for line in both.series] == [PLAIN, OUTSIDE, FAULT, FAULT]
    assert both.files[0].letters == "opoff"
    assert (both.files[0].executed, both.files[0].fault) == (3, 2)
    assert (both.taken, both.seconds) == (6, 1.0)


def test_the_sentences() -> None:
    made = report(FAULT, FAULT, PLAIN, NEVER)
    assert executed.headline(made) == (
        "Of 7 lines of code in block cases executed 3 (43 %), 2 of them (29 %) with a fault."
    )
    assert executed.of_series(made) == (
        "Of 4 lines of code in the series 2 were executed by cases with a fault, 1 was executed "
        "by cases without a fault only, 1 was executed by nothing."
    )
    assert executed.of_series(report()) == ""
    lost = CountRecord(case="7", circumstance=FAULT, lost="its guest was gone")
    cautious = made.model_copy(update={"lost": (lost, lost), "uncounted": ("fs/splice.c",)})
    uncounted, gone = executed.cautions(cautious)
    assert "fs/splice.c" in uncounted and "--coverage" in uncounted
    assert gone == "Of 1 case the last counts were lost with the guest: 7 (its guest was gone)."


def test_the_mail_asks_what_a_reviewer_asks() -> None:
    text = mail([FOUND], [report(NEVER, NEVER, PLAIN, FAULT)])
    start, end = text.index("What was executed of series+gcov:block"), text.index("On what")
    asked = text[start:end]
    never, plain = asked.index("Executed by nothing:"), asked.index("without a fault only:")
    assert never < asked.index("block/copy.c:10-12 blkdev_copy()") < plain
    assert plain < asked.index("block/copy.c:14 blkdev_copy()")
    assert "block/copy.c:16" not in asked
    assert max(map(len, asked.splitlines())) <= COLUMNS


def test_the_page_of_a_run_has_the_table(tmp_path: Path) -> None:
    run = write_run(1, [judged("write:1 eio")])
    put(run, report(NEVER, PLAIN, FAULT))
    page = pages(tmp_path, run)[f"{run}.html"]
    assert '<td class="bad">never</td><td class="case">block/copy.c:10 <span' in page
    assert '<td class="odd">without a fault only</td><td class="case">block/copy.c:12 <span' in page
    assert "block/copy.c:14" not in page
    assert "block/partitions</span>: 0 of 2 lines by cases" in page


def test_a_night_has_all_its_runs_together(plan: Any, bench: Bench, tmp_path: Path) -> None:
    night = carry_out(plan)
    runs = [job.run_id for job in night.jobs if job.run_id]
    for run, when in zip(runs, (NEVER, PLAIN), strict=False):
        put(run, report(NEVER, when, FAULT))
    page = pages(tmp_path)[f"{night.id}.html"]
    assert "<h2>Coverage: series+gcov:block</h2>" in page
    assert page.count('<td class="bad">never</td>') == 1
    assert '<td class="odd">without a fault only</td><td class="case">block/copy.c:12 <span' in page
    with session() as store:
        found = last_night(store)
        assert found
        text, posted = letter.text(found), letter.document(found)
    assert "\nseries+gcov:block:\nOf 3 lines of code in the series" in text
    assert "block/copy.c:10 blkdev_copy()" in text
    assert posted["coverage"]["series+gcov:block"]["series"]["never"] == 1


def test_a_page_without_coverage_says_nothing_of_it(tmp_path: Path) -> None:
    run = write_run(1, [judged("write:1 eio")])
    assert "<h2>Coverage" not in pages(tmp_path, run)[f"{run}.html"]


def test_the_terminal_lists_what_was_not_executed_with_a_fault(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_coverage(report(NEVER, PLAIN, FAULT), "RUN")
    said = capsys.readouterr().out
    assert f"{'never':23}block/copy.c:10  blkdev_copy()\n" in said
    assert f"\n{' ' * 27}done += 0;\n" in said
    assert "without a fault only   block/copy.c:12" in said
    assert "lab results coverage RUN" in said
    print_files(report(FAULT))
    assert "block/copy.c                 5         3             2" in capsys.readouterr().out


def test_a_report_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    assert coverage.of_run(tmp_path) is None
    (tmp_path / coverage.DIRECTORY).mkdir()
    (tmp_path / coverage.DIRECTORY / coverage.REPORT).write_text("{")
    assert coverage.of_run(tmp_path) is None


class Written(CoveredRuns):
    """Runs whose pages need no kernel."""

    def pages(self, directory: Path) -> Path:
        return directory / "index.html"


def test_of_json_nothing_stands_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_found", lambda _name, _stack: [Written(report("p"), ())])
    command.coverage("latest", html=tmp_path, json=True)
    said = capsys.readouterr()
    assert json.loads(said.out)[0]["kernel"] == "series+gcov:block"
    address = (tmp_path / "index.html").as_uri()
    assert address in said.err
    command.coverage("latest", html=tmp_path)
    assert capsys.readouterr().out.endswith(f"{address}\n")
