# SPDX-License-Identifier: GPL-2.0-or-later
"""Questions to the store."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from lab.errors import UsageError
from lab.results import runs
from lab.results.remarks import INTERRUPTED, UNFINISHED
from lab.results.store.schema import CaseRow, NightRow, RunRow


def run_named(session: Session, name: str) -> RunRow:
    """A run by its id, the unique beginning of one, or `latest`.  Raises UsageError."""
    if name == runs.LATEST:
        latest = session.scalars(select(RunRow).order_by(RunRow.id.desc()).limit(1)).first()
        if latest is None:
            raise UsageError("there is no run yet", hint="lab run nvme-copy copy-faults")
        return latest
    found = session.scalars(
        select(RunRow).where(RunRow.id.startswith(name, autoescape=True)).limit(2)
    ).all()
    if len(found) != 1:
        _say_interrupted([] if found else [run for run in runs.ids() if run.startswith(name)])
        what = "more than one run" if found else "no run"
        raise UsageError(f"{what} {name}", hint="lab results list shows the runs")
    return found[0]


def _say_interrupted(named: Sequence[str]) -> None:
    """The store has none of `named`.  Raises UsageError where that is one without an end."""
    if len(named) == 1 and not runs.ended(named[0]):
        what = INTERRUPTED if runs.interrupted(named[0]) else UNFINISHED
        raise UsageError(
            f"run {named[0]} is no result: {what}",
            hint="its timeline.jsonl says how far it came; name another",
        )


def night_named(session: Session, name: str) -> NightRow:
    """A night by its id, the unique beginning of one, or the last if that is empty.

    Raises UsageError.
    """
    asked = select(NightRow).where(NightRow.id.startswith(name, autoescape=True))
    found = session.scalars(asked.order_by(NightRow.started.desc()).limit(2)).all()
    if not found or (name and len(found) != 1):
        what = "more than one night" if found else "no night"
        raise UsageError(f"{what} {name}".rstrip(), hint="lab nightly PLAN carries one out")
    return found[0]


def cases_of(session: Session, runs: Sequence[str]) -> list[CaseRow]:
    """All cases of these runs, in the order in which they were carried out."""
    return list(
        session.scalars(select(CaseRow).where(CaseRow.run_id.in_(runs)).order_by(CaseRow.id))
    )


def outcomes_of(
    session: Session, runs: Sequence[str]
) -> list[tuple[str, str, str, str, dict[str, str]]]:
    """Run, name, status, reason and rules of each case of these runs.

    Columns, not rows as objects: a baseline's history is tens of thousands.
    """
    columns = (CaseRow.run_id, CaseRow.name, CaseRow.status, CaseRow.reason, CaseRow.rules)
    rows = session.execute(select(*columns).where(CaseRow.run_id.in_(runs)))
    return [(run, name, status, reason, rules) for run, name, status, reason, rules in rows]


def alike(session: Session, run: RunRow, limit: int) -> list[RunRow]:
    """This run and those before it of the same suite, options, planted defect, profile, kernel and
    QEMU, newest first.

    They tell how flaky its cases are by themselves.
    """
    return list(
        session.scalars(
            select(RunRow)
            .where(
                RunRow.suite == run.suite,
                RunRow.options == run.options,
                RunRow.plant == run.plant,
                RunRow.profile == run.profile,
                RunRow.kernel == run.kernel,
                RunRow.release == run.release,
                RunRow.qemu_name == run.qemu_name,
                RunRow.qemu == run.qemu,
                RunRow.id <= run.id,
            )
            .order_by(RunRow.id.desc())
            .limit(limit)
        )
    )
