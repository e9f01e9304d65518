# SPDX-License-Identifier: GPL-2.0-or-later
"""A plan as a matrix of GitHub's: a job there for each run, on runners with the labels it asks for.

See "Running variations of jobs in a workflow" in GitHub's documentation; a matrix has up to 256
jobs.
"""

import shlex
from collections.abc import Sequence
from typing import Any

from lab.farm.plan import Job

SLACK = 3.0
"""How much longer than before a run may take before GitHub ends it."""

_UNKNOWN = 3 * 3600.0
"""Seconds for a run that nobody has timed yet."""

_LEAST = 15
"""Minutes: a runner may have to build its image and kernel first."""


def matrix(wanted: Sequence[tuple[Job, float | None]]) -> dict[str, list[dict[str, Any]]]:
    """The matrix of runs with what each took before, in seconds."""
    return {"include": [_entry(number, *one) for number, one in enumerate(wanted, 1)]}


def _entry(number: int, job: Job, seconds: float | None) -> dict[str, Any]:
    limit = SLACK * (_UNKNOWN / SLACK if seconds is None else seconds) / 60
    return {
        "number": number,
        "title": job.title,
        "command": shlex.join(["lab", *job.request.words()]),
        "labels": ["self-hosted", "linux", "x64", *job.labels],
        "minutes": max(_LEAST, round(limit)),
    }
