# SPDX-License-Identifier: GPL-2.0-or-later
"""Writing the site: the index, and pages of a night, of its runs, and of their cases."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lab.foreign import harmless
from lab.host import dirs
from lab.host.dirs import not_writable
from lab.host.scratch import scratch
from lab.results.news import Night
from lab.results.remarks import remarks
from lab.results.sectors.model import STATES, WORDS
from lab.results.sectors.text import fault
from lab.results.site import night as nights
from lab.results.site import run as of_run
from lab.results.site.allowance import allowances
from lab.results.site.draw.plots import sparkline
from lab.results.site.listing import latest
from lab.results.site.strip import strip
from lab.results.site.unended import page_of, unended
from lab.results.store.schema import CaseRow, NightRow, RunRow

RECENT = 50
"""Nights and runs on the index."""


def write(session: Session, directory: Path, night: Night | None, runs: Sequence[RunRow]) -> Path:
    """Write the index, the night's page and those of `runs`; return the index.

    Where there are more cases than can have a page, those of the first runs have one.

    Pages that are there already and have not changed what they tell are written all the same;
    those of other nights and runs are left.  Raises HostError when the directory cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _beside(directory) as place:
            press = _Press(_environment(), directory, place)
            _runs(session, press, runs)
            if night:
                press.page("night", f"{night.row.id}.html", nights.told(session, night))
            _without_end(session, press)
            return press.page("index", "index.html", _index(session, directory))
    except OSError as error:
        raise not_writable(directory, error) from error


@contextmanager
def _beside(directory: Path) -> Iterator[Path]:
    """A place for pages that are not whole yet, from which they can be moved into the directory:
    where that is the lab's own, one that the next command sweeps should the lab be killed."""
    if directory.resolve().is_relative_to(dirs.state().resolve()):
        with scratch() as place:
            yield place
        return
    with tempfile.TemporaryDirectory(prefix=".lab-", dir=directory) as name:
        yield Path(name)


@dataclass(frozen=True)
class _Press:
    """What makes pages, which whoever reads them finds whole."""

    templates: Environment
    directory: Path
    place: Path

    def page(self, template: str, name: str, told: Mapping[str, Any]) -> Path:
        """Write a page; where it is."""
        new = self.place / name
        new.write_text(self.templates.get_template(f"{template}.html").render(told))
        return new.replace(self.directory / name)


def _runs(session: Session, press: _Press, runs: Sequence[RunRow]) -> None:
    """The pages of runs and of their cases: see allowance.py."""
    runs = list({run.id: run for run in runs}.values())
    counted = _counted(session, [run.id for run in runs])
    for run, allowed in zip(
        runs, allowances([counted.get(run.id, (0, 0)) for run in runs]), strict=True
    ):
        context, cases = of_run.told(session, run, allowed)
        for case in cases:
            press.page("case", case.key.page, {"case": case, "run": run})
        press.page("run", f"{run.id}.html", context)


def _without_end(session: Session, press: _Press) -> None:
    """The pages of the latest runs that have no end; those of runs that have one by now go."""
    for run in latest(session, RECENT):
        if run.seconds is None:
            told = unended(run)
            press.page("unended", told.page, {"told": told, "run": run})
        else:
            (press.directory / page_of(run.id)).unlink(missing_ok=True)


def _counted(session: Session, runs: Sequence[str]) -> Mapping[str, tuple[int, int]]:
    """How many cases of each run did not pass, and how many did."""
    found: dict[str, tuple[int, int]] = {}
    rows = session.execute(
        select(CaseRow.run_id, CaseRow.status, func.count())
        .where(CaseRow.run_id.in_(runs))
        .group_by(CaseRow.run_id, CaseRow.status)
    )
    for run, status, count in rows:
        bad, good = found.get(run, (0, 0))
        found[run] = (bad, good + count) if status == "pass" else (bad + count, good)
    return found


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("lab.results.site"),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {
        "sparkline": sparkline, "strip": strip, "remarks": remarks, "fault": fault,
        "states": STATES, "state_words": WORDS,
    }  # fmt: skip
    return made


def _finalize(value: Any) -> Any:
    """What is put into a page: nothing that a browser would not show."""
    return harmless(value) if type(value) is str else value


def _index(session: Session, directory: Path) -> dict[str, Any]:
    there = {path.name for path in directory.glob("*.html")}
    found = session.scalars(select(NightRow).order_by(NightRow.started.desc()).limit(RECENT))
    return {"nights": list(found), "runs": latest(session, RECENT), "there": there}
