# SPDX-License-Identifier: GPL-2.0-or-later
"""The static site: what stands on its pages, and what must never stand there."""

import json
import re
import subprocess
import sys
from errno import EMFILE
from pathlib import Path
from typing import Any

import pytest

from lab.errors import HostError
from lab.farm.outcome import last_night
from lab.host import dirs
from lab.results.run import TIMELINE
from lab.results.site.draw.plots import History, distribution, sparkline, steps
from lab.results.site.matrix import matrices
from lab.results.site.strip import strip
from lab.results.site.timeline import by_case
from lab.results.site.write import write
from lab.results.store.database import session
from lab.results.store.feed import feed
from lab.results.store.query import run_named
from lab.results.store.schema import CaseRow
from tests.unit.test_nightly import Bench, bench, carry_out, plan
from tests.unit.test_store import judged, write_run

__all__ = ["bench", "plan"]

EVIL = "<script>alert('x')</script>"


def pages(directory: Path, *runs: str) -> dict[str, str]:
    with session() as store:
        feed(store)
        night = last_night(store)
        write(store, directory, night, [run_named(store, run) for run in runs])
    return {path.name: path.read_text() for path in directory.glob("*.html")}


SERVED = {"OFFLOADED": {"verdict": "fell back", "evidence": "2 writes"}}
"""What came of a rule where a caller was served by reads and writes."""


def timeline(run: str, *events: dict[str, Any]) -> None:
    text = "".join(json.dumps(event) + "\n" for event in events)
    (dirs.state("runs") / run / TIMELINE).write_text(text)


def test_a_run_with_its_matrix_evidence_and_timeline(tmp_path: Path) -> None:
    run = write_run(
        1,
        [
            judged("write:1 eio"),
            judged("write:1 torn", "violated", "PREFIX") | {"number": 2},
            judged("read:2 eio") | {"number": 3},
        ],
    )
    timeline(
        run,
        {"t": 5.0, "source": "lab", "event": "setup", "number": 1},
        {"t": 7.0, "source": "lab", "event": "setup", "number": 2},
        {"t": 7.25, "source": "stepper", "event": "held", "point": "write:1"},
        {"t": 7.5, "source": "kernel", "event": "message", "level": 3, "text": f"I/O error {EVIL}"},
        {"t": 9.0, "source": "lab", "event": "setup", "number": 3},
    )
    found = pages(tmp_path, run)
    page = found[f"{run}.html"]
    assert re.search(r"<th>point</th><th>eio</th><th>torn</th>", page)
    assert f'<td class="fail"><a href="{run}.2.html">PREFIX</a></td>' in page
    assert f'<td class="pass"><a href="{run}.1.html">holds</a></td>' in page
    assert re.search(r"<p><strong>PREFIX</strong>: sector 9 is old", page)
    assert f"lab replay {run}:2" in page
    case = found[f"{run}.2.html"]
    assert "<strong>PREFIX is violated</strong>: the ranges that" in case
    assert "0.2500" in case and "held" in case
    assert "I/O error &lt;script&gt;" in case
    assert "timeline: 3 events" in case
    assert '<svg width="720"' in case and "3 events in 6 lanes; held for 0.2 s" in case


def test_pages_need_nothing_from_outside_and_run_nothing(tmp_path: Path) -> None:
    case = judged(f"write:1 {EVIL}", "violated", "PREFIX")
    run = write_run(1, [case], kernel=EVIL, error=EVIL)
    for page in pages(tmp_path, run).values():
        assert "<script" not in page
        assert not re.search(r"https?:|src=|@import|url\(|<link", page)
        assert "color-scheme: dark" in page or "prefers-color-scheme: dark" in page
        assert 'name="viewport"' in page


def test_the_night_says_first_what_is_new(plan: Any, bench: Bench, tmp_path: Path) -> None:
    carry_out(plan)
    first = "".join(text for name, text in pages(tmp_path).items() if "night" in name)
    assert "Nothing new" in first
    bench.failing = "debian-sid"
    night = carry_out(plan)
    second = pages(tmp_path)[f"{night.id}.html"]
    news = second.index("3 things are worse than the baseline")
    assert news < second.index("<h2>")
    assert "passed 0 of 2, before 4 of 4" in second
    night = carry_out(plan)
    third = pages(tmp_path)[f"{night.id}.html"]
    # The same regressions are there, and are no news.
    assert "Nothing new" in third
    assert "6 regressed" in third
    assert "<svg" in third


def test_the_index_leads_to_the_pages_that_are_there(tmp_path: Path) -> None:
    one, two = write_run(1, []), write_run(2, [])
    index = pages(tmp_path, one)["index.html"]
    assert f'href="{one}.html"' in index
    assert two in index and f'href="{two}.html"' not in index


def test_planted_defects_and_runs_without_an_end_are_marked(tmp_path: Path) -> None:
    planted = write_run(1, [judged("write:1 eio")], plant="flip-bit")
    failed = write_run(2, [], error="the guest died")
    cut = write_run(3, [judged("write:1 eio")], plant="torn-block")
    began = {"t": 1.0, "source": "lab", "event": "run", "suite": "fsx", "profile": "nvme-copy"}
    timeline(cut, began, {"t": 2.0, "source": "lab", "event": "broken off"})
    killed = write_run(4, [])
    timeline(killed, began)
    (dirs.state("runs") / killed / "run.json").unlink()
    whole = write_run(5, [])
    found = pages(tmp_path, planted, failed, whole)
    rows = re.findall(
        r"(?s)<tr><td class=\"case id\">(?:<a [^>]*>)?([-\w]+).*?</tr>", found["index.html"]
    )
    assert rows == [whole, killed, cut, failed, planted]
    last = re.findall(r'<td class="odd">(.*?)</td></tr>', found["index.html"])
    assert last == [
        "", "interrupted, or not ended yet", "planted: torn-block, interrupted", "broken off",
        "planted: flip-bit",
    ]  # fmt: skip
    assert found["index.html"].count("<td>fsx</td><td>nvme-copy</td>") == 2
    assert "<strong>Planted: flip-bit</strong>" in found[f"{planted}.html"]
    assert "<strong>Broken off: the lab failed</strong>" in found[f"{failed}.html"]
    assert "Planted" not in found[f"{whole}.html"] and "Broken off" not in found[f"{whole}.html"]


def test_a_run_without_an_end_has_a_page_until_it_has_one(tmp_path: Path) -> None:
    cut = write_run(1, [judged("write:1 eio"), judged("write:2 eio", "violated", "PREFIX")])
    began = {"t": 5.0, "source": "lab", "event": "run", "suite": "fsx", "profile": "nvme-copy"}
    at = {"t": 7.5, "source": "lab", "event": "case", "point": "write:3", "action": "<eio>"}
    end = {"t": 9.0, "source": "lab", "event": "broken off", "by": "Interrupt"}
    timeline(cut, began, at, end)
    found = pages(tmp_path)
    assert f'href="{cut}.unended.html"' in found["index.html"]
    page = found[f"{cut}.unended.html"]
    assert "<strong>Interrupted</strong>" in page
    assert '<span class="pass">1 pass</span>, <span class="fail">1 fail</span> until then' in page
    assert 'The last that began: <span class="case">write:3 &lt;eio&gt;</span>' in page
    assert '<td class="number">4.0000</td><td>lab</td><td>broken off</td>' in page
    # What seemed to be killed only went on, and has come to its end.
    timeline(cut, began, at)
    found = pages(tmp_path)
    assert f"{cut}.unended.html" not in found


def test_a_run_that_was_killed_at_once_has_a_page(tmp_path: Path) -> None:
    killed = write_run(1, [])
    (dirs.state("runs") / killed / "run.json").unlink()
    (dirs.state("runs") / killed / TIMELINE).write_text('{"t": 5.0, "sour')
    page = pages(tmp_path)[f"{killed}.unended.html"]
    assert "No case was written down" in page


def test_a_planted_defect_is_no_history_of_a_case(tmp_path: Path) -> None:
    write_run(1, [judged("write:1 eio", "violated", "PREFIX")], plant="flip-bit")
    run = write_run(2, [judged("write:1 eio", "violated", "PREFIX")])
    assert "never before on this profile" in pages(tmp_path, run)[f"{run}.html"]


def test_the_night_tells_of_planted_defects(plan: Any, bench: Bench, tmp_path: Path) -> None:
    bench.plant = "flip-bit"
    night = carry_out(plan)
    page = pages(tmp_path)[f"{night.id}.html"]
    assert page.index("Careful") < page.index("<h2>")
    ids = [job.run_id for job in night.jobs]
    assert len(re.findall(r'<td class="odd">planted: flip-bit</td>', page)) == len(ids)
    for run in ids:
        assert f"{run}: planted: flip-bit</li>" in page


def test_only_what_writes_pages_imports_what_draws() -> None:
    """It takes half a second."""
    code = (
        "import lab.cli, lab.cli.results, lab.cli.export, lab.cli.show.judged, lab.cli.nightly\n"
        "import lab.farm.outcome, lab.farm.notify.send, lab.results.sectors.text, sys\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "lab.results.news" in done.stdout.split()
    assert not {"matplotlib", "numpy"} & set(done.stdout.split())


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match="cannot write"):
        pages(tmp_path / "file")


def test_a_matrix_for_each_path() -> None:
    names = [
        "read:1 eio",
        "nvme:write:1 power-cut",
        "nvme:completed kill",
        "xfs:generic/001",
        "a #3",
    ]
    found = matrices([CaseRow(name=name) for name in names])
    assert [(one.path, one.points, one.actions) for one in found] == [
        ("", ["read:1"], ["eio"]), ("nvme", ["write:1", "completed"], ["power-cut", "kill"]),
    ]  # fmt: skip


def test_a_timeline_that_ends_in_the_middle_of_a_line() -> None:
    run = write_run(1, [])
    timeline(run, {"t": 1.0, "source": "lab", "event": "setup", "number": 1})
    with (dirs.state("runs") / run / TIMELINE).open("a") as file:
        file.write('{"t": 2.0, "sou')
    assert len(by_case(run)[1]) == 1
    assert by_case("no-such-run") == {}


def test_plots() -> None:
    one = sparkline(History((1.0,), "2026-11-24", "2026-11-24"), "s", "a <b>")
    assert 'aria-label="a &lt;b&gt;: 1.0 s"' in one and one.count(">2026-11-24<") == 1
    two = sparkline(History((0.0, 10.0), "2026-11-23", "2026-11-24"), "s", "two")
    assert two.count("<use") - one.count("<use") == 2  # a point, and a tick for its date
    assert ">2026-11-23<" in two and ">2026-11-24<" in two and ">s</text>" in two
    assert strip(["pass", "fail"], "two").count("<rect") == 2


def test_a_distribution_has_a_curve_for_each_name_that_has_values() -> None:
    assert steps([3.0, 1.0, 0.0]) == [(1.0, 50.0), (3.0, 100.0)]
    assert distribution({"a": []}, "ms", "nothing") == ""
    both = distribution({"one <b>": steps([1.0]), "two": steps([1.0, 2.0]), "no": []}, "ms", "x")
    assert ">one &lt;b&gt;</text>" in both and ">two</text>" in both and ">no</text>" not in both
    assert ">ms</text>" in both


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_page_that_cannot_be_written_leaves_no_piece_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    run = write_run(1, [judged("write:1 eio")])
    directory = tmp_path / "site" if elsewhere else dirs.state("site")

    def refuse(*_: Any) -> Path:
        raise OSError(EMFILE, "too many")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(HostError, match="too many"):
        pages(directory, run)
    assert list(directory.iterdir()) == []
    assert elsewhere or list((dirs.state() / "scratch").iterdir()) == []


def test_pictures_are_in_the_colours_of_the_page(tmp_path: Path) -> None:
    run = write_run(1, [judged("write:1 eio")], boot=4.5)
    timeline(run, {"t": 5.0, "source": "lab", "event": "setup", "number": 1})
    for page in pages(tmp_path, run).values():
        style = page.partition("</style>")[0]
        drawn = "".join(re.findall(r"(?s)<svg.*?</svg>", page))
        assert not re.search("#[0-9a-f]{6}", drawn)
        used = set(re.findall(r"var\((--\w+)\)", drawn))
        assert all(f"{name}:" in style for name in used)


def test_a_run_of_conformance(tmp_path: Path) -> None:
    def case(path: str, name: str, broken: str = "", **other: Any) -> dict[str, Any]:
        verdict = "violated" if broken else "holds"
        return judged(name, verdict, broken) | {"path": path, "run": f"run-of-{path}", **other}

    cases = [
        case("loop-reflink", "write:1 eio"),
        case("loop-reflink", "write:2 eio"),
        case("nvme-copy", "read:1 eio"),
        case("nvme-copy", "write:1 eio"),
        case("nvme-copy", "write:2 eio", "PREFIX", number=17),
        case("nvme-copy", "write:1 kill") | {"verdict": "not exercised"},
        case("nvme-copy", "written:1 kill") | {"verdict": "fell back", "rules": SERVED},
        case("nvme-copy", "above mcl", "PREFIX", number=18),
    ]
    here = {"verdict": "violated", "evidence": EVIL, "case": "run-of-nvme-copy:17"}
    there = {"verdict": "holds", "evidence": "", "case": "run-of-loop-reflink:1"}
    run = write_run(
        1, cases, suite="conformance",
        differences=[
            {"path": "nvme-copy", "rule": "PREFIX", "situation": "write eio", "here": here,
             "reference": there, "known": None},
            {"path": "nvme-copy", "rule": "PREFIX", "situation": "read eio", "here": here,
             "reference": None, "known": "accepted"},
        ],
    )  # fmt: skip
    page = pages(tmp_path, run)[f"{run}.html"]
    assert "<th>loop-reflink<br>(the reference)</th><th>nvme-copy</th>" in page
    row = r"<tr><th>(\S+ \S+)</th>\s+<td class=\"(\S+?)\">.*?<td class=\"(\S+?)\">"
    rows = re.findall(row, page, re.DOTALL)
    assert rows == [
        ("read eio", "dim", "pass"), ("write eio", "pass", "fail"), ("written kill", "dim", "fell"),
        ("above mcl", "dim", "fail"),
    ]  # fmt: skip
    assert "<summary>PREFIX</summary><p><strong>PREFIX</strong>: write:2: sector 9 is old" in page
    assert "<summary>fell back</summary>" in page
    assert "written:1: OFFLOADED: 2 writes" in page
    assert "never came into that situation" in page
    assert "PREFIX (known: accepted)" in page
    # Each case belongs to the run of its path.
    assert "lab replay run-of-nvme-copy:17" in page
    assert f"lab replay {run}" not in page
    assert EVIL not in page


def test_how_long_guests_took_to_boot(tmp_path: Path) -> None:
    runs = [
        write_run(number, [], boot=seconds) for number, seconds in ((1, 4.5), (2, None), (3, 5))
    ]
    write_run(4, [], boot=99.0, source="sid")
    page = pages(tmp_path, *runs)[f"{runs[0]}.html"]
    assert "the last 2 guests of nvme-copy took to boot debian, at most 5.0" in page
    assert "seconds of the last boots: 4.5, 5.0 s" in page
    assert "99.0" not in page
