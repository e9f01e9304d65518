"""Questions to the store."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session, load_only

from lab.errors import UsageError
from lab.results.store.schema import CaseRow, RunRow

LATEST = "latest"


def run_named(session: Session, name: str) -> RunRow:
    """A run by its id, the unique beginning of one, or `latest`.  Raises UsageError."""
    if name == LATEST:
        latest = session.scalars(select(RunRow).order_by(RunRow.id.desc()).limit(1)).first()
        if latest is None:
            raise UsageError("there is no run yet", hint="lab run nvme-copy copy-faults")
        return latest
    found = session.scalars(
        select(RunRow).where(RunRow.id.startswith(name, autoescape=True)).limit(2)
    ).all()
    if len(found) != 1:
        what = "more than one run" if found else "no run"
        raise UsageError(f"{what} {name}", hint="lab results list shows the runs")
    return found[0]


def cases_of(session: Session, runs: Sequence[str]) -> list[CaseRow]:
    """All cases of these runs, in the order in which they were carried out."""
    return list(
        session.scalars(select(CaseRow).where(CaseRow.run_id.in_(runs)).order_by(CaseRow.id))
    )


def alike(session: Session, run: RunRow, limit: int) -> list[RunRow]:
    """This run and those before it of the same suite, options, profile and kernel; newest first.

    They tell how flaky its cases are by themselves.
    """
    return list(
        session.scalars(
            select(RunRow)
            .where(
                RunRow.suite == run.suite,
                RunRow.options == run.options,
                RunRow.profile == run.profile,
                RunRow.kernel == run.kernel,
                RunRow.release == run.release,
                RunRow.id <= run.id,
            )
            .order_by(RunRow.id.desc())
            .limit(limit)
        )
    )


def history(session: Session, name: str, suite: str, profile: str) -> list[tuple[CaseRow, RunRow]]:
    """What came of a case in all runs, newest first."""
    rows = session.execute(
        select(CaseRow, RunRow)
        .join(CaseRow.run)
        .where(CaseRow.name == name, RunRow.suite == suite, RunRow.profile == profile)
        .order_by(RunRow.id.desc())
        .options(load_only(CaseRow.status, CaseRow.reason, CaseRow.seconds))
    )
    return [(case, run) for case, run in rows]
