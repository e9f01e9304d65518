"""What a run writes down of itself: what it is, before anything happens, and what came of it."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lab.artifacts.kernel import provenance
from lab.errors import LabError
from lab.guest.boot import Platform
from lab.host import qemu
from lab.profile.models import Profile
from lab.results.run import KERNEL, PROFILE, Run
from lab.suites.outcome import Outcome


def describe(run: Run, profile: Profile, platform: Platform) -> None:
    """Write the profile with all that was set, and where the kernel comes from."""
    run.write(PROFILE, profile.model_dump_json(indent=1, by_alias=True))
    run.write(KERNEL, json.dumps(provenance(platform.kernel), indent=1) + "\n")


@contextmanager
def recorded(
    suite: str, profile: Profile, platform: Platform, asked: Mapping[str, Any], **more: Any
) -> Iterator[tuple[Run, Outcome]]:
    """A run of a suite with cases of its own, and its outcome (`more` are fields of it).

    What the lab itself fails at within ends the run, and stands in the outcome.
    """
    start = time.monotonic()
    with Run(profile.name, suite) as record:
        describe(record, profile, platform)
        outcome = Outcome(
            run=record.id, directory=record.directory, suite=suite, profile=profile.name,
            asked=asked, kernel=platform.kernel.release, qemu=qemu.version(platform.qemu),
            accelerator=platform.accelerator.name, accelerator_note=platform.accelerator.why,
            **{"sections": {}, "tree": "", **more},
        )  # fmt: skip
        try:
            yield record, outcome
        except LabError as error:
            record.emit("lab", "error", message=str(error))
            outcome.error = error
        finally:
            outcome.seconds = time.monotonic() - start
            record.finish(outcome.document())
