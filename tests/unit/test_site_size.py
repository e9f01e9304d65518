# SPDX-License-Identifier: GPL-2.0-or-later
"""Pages of many runs: how long they take, how large they are, and which cases have one."""

import cProfile
import os
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from lab.farm.outcome import last_night
from lab.host import dirs
from lab.results.site.allowance import DRAWN, PAGES, Allowance, allowances
from lab.results.site.draw.canvas import drawing, figure, inline
from lab.results.site.write import write
from lab.results.store.database import session
from lab.results.store.feed import feed
from lab.results.store.query import run_named
from tests.unit.builders import findings
from tests.unit.test_sectors import STRANGE, document, done
from tests.unit.test_site import timeline
from tests.unit.test_store import judged, write_run

RUNS, CASES = 200, 100
SECONDS = 5.0
"""On a quiet processor, for one thread that does it all."""
CALLS = 15_000_000
"""Of Python's functions: as many on any processor, whoever else uses it."""
LARGEST = 1 << 20


def case(run: int, number: int) -> dict[str, Any]:
    """One in a hundred fails, each run's another one."""
    bad = number == run % CASES + 1
    found = judged(f"write:{number} eio", "violated" if bad else "holds", "PREFIX" * bad)
    return {**seen(number % 13, bad), **found, "number": number}


@lru_cache
def seen(copied: int, bad: bool) -> dict[str, Any]:
    """A case of which so many sectors were copied."""
    return document(
        findings({**done(copied), **({54: STRANGE} if bad else {})}), findings(done(12))
    )


def events(number: int) -> list[dict[str, Any]]:
    """What a case leaves in the timeline."""
    at, told = number * 10.0, [("lab", "setup"), ("guest", "copy"), ("stepper", "held")]
    told += [("trace", "copy_source_range"), ("trace", "copy_out")] * 4
    told += [("kernel", "message")] * 8
    told += [("stepper", "inject"), ("stepper", "release"), ("guest", "completion")]
    return [
        {"t": at + place / 1000, "source": source, "event": event, "number": number}
        for place, (source, event) in enumerate([*told, ("oracle", "verdict")])
    ]


def write_runs() -> list[str]:
    found = []
    trace = [event for number in range(1, CASES + 1) for event in events(number)]
    for run in range(RUNS):
        name = f"20261124-01{run // 60:02d}{run % 60:02d}-{run:04x}"
        cases = [case(run, number) for number in range(1, CASES + 1)]
        made = write_run(1, cases, run=name, boot=4.0)
        (dirs.state("runs") / made).rename(dirs.state("runs") / name)
        timeline(name, *trace)
        found.append(name)
    return found


@pytest.fixture
def drawn() -> None:
    """What is imported and found once is no part of it."""
    with drawing():
        inline(figure(10, 10), "", "")


def written(directory: Path) -> tuple[list[str], Callable[[], object]]:
    """The runs, and what writes their pages."""
    runs = write_runs()
    with session() as store:
        feed(store)

    def write_pages() -> None:
        with session() as store:
            rows = [run_named(store, run) for run in reversed(runs)]
            write(store, directory, last_night(store), rows)

    return runs, write_pages


def test_pages_of_many_runs_take_little_and_stay_small(tmp_path: Path, drawn: None) -> None:
    runs, write_pages = written(tmp_path)
    counted = cProfile.Profile()
    counted.runcall(write_pages)
    assert sum(entry.callcount for entry in counted.getstats()) < CALLS
    pages = {path.name: path.stat().st_size for path in tmp_path.glob("*.html")}
    assert max(pages.values()) < LARGEST
    assert all(f"{run}.html" in pages for run in runs)
    # Each case that failed has its page, and the latest of these have pictures.
    failed = [f"{name}.{run % CASES + 1}.html" for run, name in enumerate(runs)]
    assert all(page in pages for page in failed)
    drawn_ones = ["<svg" in (tmp_path / page).read_text() for page in failed]
    assert drawn_ones == [False] * (RUNS - DRAWN) + [True] * DRAWN
    assert '<pre class="sectors">' in (tmp_path / failed[0]).read_text()
    assert len(pages) == 1 + RUNS + PAGES


@pytest.mark.skipif(not os.environ.get("LAB_TIMES"), reason="LAB_TIMES=1, on a quiet machine")
def test_pages_of_many_runs_take_seconds(tmp_path: Path, drawn: None) -> None:
    _, write_pages = written(tmp_path)
    begun = time.process_time()
    write_pages()
    taken = time.process_time() - begun
    print(f"{taken:.2f} s")
    assert taken < SECONDS


def test_a_run_of_very_many_cases_has_a_page_that_can_be_opened(tmp_path: Path) -> None:
    cases = [
        judged(f"write:{number % 9 + 1} eio", "violated" if number % 3 else "holds", "PREFIX")
        | {"number": number}
        for number in range(1, 20_001)
    ]
    run = write_run(1, cases)
    with session() as store:
        feed(store)
        write(store, tmp_path, None, [run_named(store, run)])
    assert max(path.stat().st_size for path in tmp_path.glob("*.html")) < LARGEST
    page = (tmp_path / f"{run}.html").read_text()
    assert "all 20000" in page and "And 19000 more." in page


@pytest.mark.parametrize(
    ("runs", "dealt"),
    [
        ([], []),
        ([(1, 9)], [Allowance(1, 9, 1, 9)]),
        ([(0, 79), (5, 0)], [Allowance(0, 79, 0, 75), Allowance(5, 0, 5, 0)]),
        (
            [(600, 600), (600, 1)],
            [Allowance(600, 0, 80, 0), Allowance(0, 0, 0, 0)],
        ),
    ],
)
def test_what_failed_is_served_first(runs: list[tuple[int, int]], dealt: list[Allowance]) -> None:
    assert allowances(runs) == dealt
    assert (DRAWN, PAGES) == (80, 600)
