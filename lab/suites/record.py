# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run writes down of itself: what it is, before anything happens, and what came of it."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from lab.artifacts.kernel import provenance
from lab.artifacts.kernels.names import counted
from lab.coverage import report
from lab.errors import LabError
from lab.guest.boot import Platform
from lab.host import qemu
from lab.profile.models import Profile
from lab.results import coverage
from lab.results.coverage import CoverageReport
from lab.results.run import KERNEL, PROFILE, Run
from lab.suites.outcome import Outcome

Out = TypeVar("Out", bound=Outcome)


@contextmanager
def recorded(
    kind: Callable[..., Out],
    suite: str,
    profile: Profile,
    platform: Platform | None,
    asked: Mapping[str, Any],
    **more: Any,
) -> Iterator[tuple[Run, Out]]:
    """A run of a suite, and its outcome, which is of some kind (`more` are fields of it).  Without
    a platform it is made of runs that have theirs.

    What the lab itself fails at within ends the run, and stands in the outcome.  Raises HostError
    where what a kernel counts could not be read afterwards.
    """
    start = time.monotonic()
    if platform and counted(profile.kernel):
        report.check(platform.kernel.vmlinux.parent)
    with Run(profile.name, suite) as record:
        # With all that was set.
        record.write(PROFILE, profile.model_dump_json(indent=1, by_alias=True))
        if platform:
            record.write(KERNEL, json.dumps(provenance(platform.kernel), indent=1) + "\n")
            more |= _found(platform)
        outcome = kind(
            run=record.id, directory=record.directory, suite=suite, profile=profile, asked=asked,
            **more,
        )  # fmt: skip
        try:
            with _told(record, outcome):
                yield record, outcome
            with _told(record, outcome):
                if platform:
                    outcome.executed = _executed(record, profile, platform)
        except BaseException as error:
            # Before its document is there, which would pass for that of a whole run.
            record.break_off(error)
            _finish(record, outcome, start)
            raise
        _finish(record, outcome, start)


def _finish(record: Run, outcome: Outcome, start: float) -> None:
    """Write down what the run has come to, which began at `start`."""
    outcome.boots = record.boots()
    outcome.seconds = time.monotonic() - start
    record.finish(outcome.document())


@contextmanager
def _told(record: Run, outcome: Outcome) -> Iterator[None]:
    """What the lab fails at within stands in the outcome, which keeps the first of it."""
    try:
        yield
    except LabError as error:
        record.emit("lab", "error", message=str(error))
        outcome.error = outcome.error or error


def _executed(record: Run, profile: Profile, platform: Platform) -> CoverageReport | None:
    """What was executed of a kernel that counts it.  Raises HostError."""
    if not coverage.records(record.directory):
        return None

    def progress(text: str) -> None:
        record.emit("lab", "progress", text=text)

    artifact = platform.kernel.vmlinux.parent
    return report.make(record.directory, profile.kernel, artifact, progress)


def _found(platform: Platform) -> dict[str, Any]:
    """What the outcome says of it."""
    return {
        "kernel": platform.kernel.release,
        "qemu": qemu.version(platform.qemu),
        "accelerator": platform.accelerator.name,
        "accelerator_note": platform.accelerator.why,
    }
