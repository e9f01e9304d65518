# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run writes down of itself: what it is, before anything happens, and what came of it."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from lab.artifacts.kernel import provenance
from lab.errors import LabError
from lab.guest.boot import Platform
from lab.host import qemu
from lab.profile.models import Profile
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

    What the lab itself fails at within ends the run, and stands in the outcome.
    """
    start = time.monotonic()
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
            yield record, outcome
        except LabError as error:
            record.emit("lab", "error", message=str(error))
            outcome.error = error
        finally:
            outcome.boots = record.boots()
            outcome.seconds = time.monotonic() - start
            record.finish(outcome.document())


def _found(platform: Platform) -> dict[str, Any]:
    """What the outcome says of it."""
    return {
        "kernel": platform.kernel.release,
        "qemu": qemu.version(platform.qemu),
        "accelerator": platform.accelerator.name,
        "accelerator_note": platform.accelerator.why,
    }
