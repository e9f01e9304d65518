# SPDX-License-Identifier: GPL-2.0-or-later
"""What is kept of earlier nights: their evidence costs disk, their rows in the store do not."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from lab.farm.plan import Plan
from lab.host import dirs
from lab.results.store.schema import NightRow


def trim(session: Session, plan: Plan) -> list[str]:
    """Remove the evidence of the plan's nights that its retention does not keep; their ids.

    The newest night is kept whatever its size.
    """
    nights = session.scalars(
        select(NightRow).where(NightRow.plan == plan.name).order_by(NightRow.started.desc())
    ).all()
    removed, size = [], 0
    for number, night in enumerate(nights):
        directories = [path for path in evidence(night) if path.is_dir()]
        size += sum(_size(path) for path in directories)
        if number > 0 and (number >= plan.retention.nights or size > plan.retention.size):
            for path in directories:
                shutil.rmtree(path, ignore_errors=True)
            for page in _pages_of_cases(night):
                page.unlink(missing_ok=True)
            if directories:
                removed.append(night.id)
    return removed


def evidence(night: NightRow) -> Iterator[Path]:
    """The directories of a night and of its runs on this host, removed ones included."""
    for job in night.jobs:
        if job.run_id:
            yield dirs.state("runs") / job.run_id
    yield dirs.state("nights") / night.id


def _pages_of_cases(night: NightRow) -> Iterator[Path]:
    """What is drawn of the evidence, and there are hundreds of; pages of the night and of its runs
    stay."""
    for job in night.jobs:
        if job.run_id:
            yield from dirs.state("site").glob(f"{job.run_id}.*.html")


def _size(directory: Path) -> int:
    """Bytes on disk; write logs and media are sparse."""
    return sum(path.lstat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())
