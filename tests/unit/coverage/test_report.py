# SPDX-License-Identifier: GPL-2.0-or-later
"""What was executed, read by the real gcov, gcovr and diff-cover from a program's real counts."""

import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from lab.artifacts import cache
from lab.coverage import export, report
from lab.errors import HostError, LackError, UsageError
from lab.results import coverage
from lab.results.coverage import Circumstance, CountRecord
from tests.unit.coverage.compiled import Compiled

OUTSIDE, PLAIN, FAULT = Circumstance


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compiled:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    made = Compiled(tmp_path)
    made.build()
    return made


def test_lines_of_a_series_by_when_they_were_executed(compiled: Compiled) -> None:
    compiled.count("", OUTSIDE)
    compiled.count("0", PLAIN, "x")
    compiled.count("1", FAULT, "x", "y", calls=2)
    compiled.note(CountRecord(case="2", circumstance=FAULT, lost="the guest hangs"))
    made = report.make(compiled.run, "base+gcov:block", compiled.artifact, lambda _: None)

    told = {line.line: (line.when, line.function, line.text) for line in made.series}
    assert told == {
        7: ("fault", "copy", "\tif (done < 0)"),
        8: ("outside", "copy", "\t\treturn done;"),
        9: ("fault", "copy", "\tif (done == 7)"),
        10: ("plain", "copy", "\t\tdone = 70;"),
    }
    assert made.uncounted == ("fs/other.c",)
    assert [one.case for one in made.lost] == ["2"]
    assert (made.taken, made.seconds) == (3, 0.75)
    assert coverage.of_run(compiled.run) == made


def test_files_with_how_many_lines_cases_executed(compiled: Compiled) -> None:
    compiled.count("", OUTSIDE)
    compiled.count("0", PLAIN, "x")
    compiled.count("1", FAULT, "x", "y")
    made = report.make(compiled.run, "base+gcov:block", compiled.artifact, lambda _: None)
    counted = {one.file: (one.lines, one.executed, one.fault) for one in made.files}
    # Of limit() the lines that refuse were executed outside of cases only.
    assert counted == {
        "block/copy.c": (7, 6, 5),
        "block/copy.h": (4, 3, 3),
        "block/main.c": (2, 2, 2),
    }


def test_counts_of_many_cases_are_added_up(compiled: Compiled) -> None:
    for case in range(5):
        compiled.count(str(case), PLAIN, "x", calls=case + 1)
    report.make(compiled.run, "base", compiled.artifact, lambda _: None)
    tree = ElementTree.parse(compiled.run / coverage.DIRECTORY / coverage.COBERTURA)
    hits = {
        (one.get("filename"), line.get("number")): line.get("hits")
        for one in tree.iter("class")
        for line in one.iter("line")
    }
    assert hits["block/copy.c", "10"] == "15"
    assert hits["block/copy.c", "8"] == "0"
    assert hits["block/copy.h", "5"] == "15"


def test_nothing_counted_is_nothing_executed(compiled: Compiled) -> None:
    compiled.count("", OUTSIDE)
    made = report.make(compiled.run, "base", compiled.artifact, lambda _: None)
    assert {line.when for line in made.series} == {"never", "outside"}
    assert sum(one.executed for one in made.files) == 0


def test_a_host_without_the_compilers_gcov(compiled: Compiled) -> None:
    report.check(compiled.artifact)
    note = compiled.artifact / "coverage/notes/block/copy.gcno"
    data = note.read_bytes()
    # As gcc 99 would write it.
    note.write_bytes(data[:5] + b"09J" + data[8:])
    with pytest.raises(LackError, match="gcov of gcc 99"):
        report.check(compiled.artifact)


def test_a_kernel_without_notes(compiled: Compiled, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="nothing is kept there"):
        report.make(compiled.run, "base", tmp_path / "out", lambda _: None)


def test_a_run_that_is_made_of_others_has_what_these_executed(
    compiled: Compiled, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    parts: list[Path] = []
    for words in (("x",), ("x", "y")):
        compiled.count("0", PLAIN, *words)
        report.make(compiled.run, "base", compiled.artifact, lambda _: None)
        parts.append(compiled.run.rename(tmp_path / f"part-{len(parts)}"))
    whole.mkdir()
    made = report.join(whole, parts)
    assert made
    assert coverage.of_run(whole) == made
    executed = [one.executed for one in made.files]
    assert executed == [6, 3, 2]
    assert report.tracefile(whole, PLAIN).stat().st_size
    assert report.join(whole, [tmp_path]) is None


@pytest.fixture
def built(compiled: Compiled) -> Path:
    """The artifact of a kernel."""

    def build(directory: Path) -> dict[str, str]:
        shutil.copytree(compiled.artifact, directory, dirs_exist_ok=True)
        return {}

    return cache.ensure("kernel", "linux", {"a": "b"}, build, lambda _: None, room=1).path


def test_one_case_of_a_run(compiled: Compiled, built: Path, tmp_path: Path) -> None:
    compiled.count("", OUTSIDE)
    compiled.count("1", FAULT, "x", "y")
    compiled.count("1", PLAIN, "x", "y")
    compiled.count("2", PLAIN, "x")
    report.make(compiled.run, "base", built, lambda _: None)
    with export.of_case(compiled.run, "2") as covered:
        whens = [line.when for line in covered.report.series]
        assert whens == ["plain", "never", "plain", "plain"]
        page = covered.pages(tmp_path / "pages")
        assert "copy.c" in page.read_text()
    with (
        pytest.raises(UsageError, match=r"nothing was counted of a case 3 \(there are: 1, 2\)"),
        export.of_case(compiled.run, "3"),
    ):
        pass


def test_pages_of_several_runs_have_all_lines(
    compiled: Compiled, built: Path, tmp_path: Path
) -> None:
    places = []
    for case, words in (("1", ("x",)), ("2", ("x", "y"))):
        compiled.count(case, FAULT, *words)
        report.make(compiled.run, "base", built, lambda _: None)
        places.append(compiled.run.rename(tmp_path / f"run-{case}"))
    (both,) = export.together(places, "night")
    both.cobertura(tmp_path / "both.xml")
    lines = {
        line.get("number"): line.get("hits")
        for one in ElementTree.parse(tmp_path / "both.xml").iter("class")
        if one.get("filename") == "block/copy.c"
        for line in one.iter("line")
    }
    assert (lines["7"], lines["10"], lines["8"]) == ("2", "1", "0")
    page = both.pages(tmp_path / "pages")
    (copy,) = page.parent.glob("*copy.c*.html")
    assert re.search(r"done\W.*==\W.*\b7\b", copy.read_text())
    assert "<script" not in page.read_text() + copy.read_text()


def test_pages_of_a_kernel_that_is_gone(compiled: Compiled, tmp_path: Path) -> None:
    compiled.count("1", FAULT, "x")
    report.make(compiled.run, "base", compiled.artifact, lambda _: None)
    (only,) = export.together([compiled.run], "run")
    with pytest.raises(HostError, match="lab kernel build 'base'"):
        only.pages(tmp_path / "pages")


def test_runs_that_counted_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--coverage"):
        export.together([tmp_path], "night")
