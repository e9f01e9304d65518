"""The suite copy-faults: NVMe copies, interrupted at every point by every action."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lab.copy import nvme
from lab.copy.plant import Plant
from lab.errors import LabError, ProfileError
from lab.guest.boot import Platform, Progress
from lab.guest.guest import Guest
from lab.host import qemu
from lab.profile.models import NvmeController, NvmeNamespace, Profile, stack
from lab.results.run import PROFILE, Run
from lab.suites.bench import Bench
from lab.suites.booted import Booted
from lab.suites.case import Case, CaseResult
from lab.suites.generate import draw, space
from lab.suites.minimise import minimise
from lab.suites.options import Options, layout
from lab.suites.report import Judged, Report, broken_rules
from lab.suites.setup import Setup
from lab.vm.graph import Drive, drives

NAME = "copy-faults"

OnCase = Callable[[CaseResult], None]


@dataclass(frozen=True)
class Job:
    """Cases to carry out on a profile, one after the other.

    `asked`: what they come from, for the run's JSON.  `minimised`: the first failing case of
    each kind is to be made smaller.
    """

    profile: Profile
    suite: str
    asked: dict[str, Any]
    setups: Sequence[Setup]
    plant: Plant
    hang_deadline: float
    minimised: bool = False


def run(
    profile: Profile,
    options: Options,
    progress: Progress,
    on_case: OnCase,
    *,
    on: Guest | None = None,
) -> Report:
    """Run the suite in a guest of its own, or in the running guest `on`; see carry_out()."""
    drawn = options.generated
    job = Job(
        profile, NAME, options.document(), setups(profile, options), options.plant,
        options.hang_deadline, minimised=drawn is not None and drawn.minimise,
    )  # fmt: skip
    return carry_out(job, progress, on_case, on=on)


def setups(profile: Profile, options: Options) -> list[Setup]:
    """The cases, in the order in which they are carried out.

    Raises ProfileError or UsageError when the profile has no device for them.
    """
    drive, namespace = _drive_under_test(profile)
    if drawn := options.generated:
        where = space(options, drive, namespace.copy_limits)
        return [draw(where, drawn.seed, number) for number in range(1, drawn.cases + 1)]
    plan = layout(options, drive)
    nvme.check_limits(plan.copy, namespace.copy_limits)
    return [Setup(plan, point, action) for point, action in options.cells()]


def carry_out(job: Job, progress: Progress, on_case: OnCase, *, on: Guest | None = None) -> Report:
    """Boot, carry out the cases and judge them.

    What the lab itself fails at ends the run and stands in the report, with all cases judged
    until then; only errors from before the first boot are raised (ProfileError, HostError).
    """
    profile = job.profile
    drive, _ = _drive_under_test(profile)
    platform = Platform.find(profile, progress)
    start = time.monotonic()
    with Run(profile.name, job.suite) as record:
        record.write(PROFILE, profile.model_dump_json(indent=1, by_alias=True))
        report = Report(
            record.id, record.directory, job.suite, profile, job.asked, job.plant,
            platform.kernel.release, qemu.version(platform.qemu),
            platform.accelerator.name, platform.accelerator.why,
        )  # fmt: skip
        try:
            with Booted(record, profile, platform, drive, progress, on) as bench:
                report.capabilities = bench.capabilities
                _judge_all(job, bench, report, on_case)
        except LabError as error:
            record.emit("lab", "error", message=str(error))
            report.error = error
        finally:
            report.seconds = time.monotonic() - start
            record.finish(report.document())
    return report


def _judge_all(job: Job, bench: Bench, report: Report, on_case: OnCase) -> None:
    known: set[tuple[object, ...]] = set()
    for number, setup in enumerate(job.setups, 1):
        judged = Judged(number, setup, _judge(job, bench, number, setup))
        report.cases.append(judged)
        on_case(judged.result)
        broken = broken_rules(judged.result)
        kind = (setup.action, setup.point.stage, *broken)
        if job.minimised and judged.result.verdict == "violated" and kind not in known:
            known.add(kind)
            judged.minimised = _minimised(job, bench, judged)


def _judge(job: Job, bench: Bench, number: int, setup: Setup) -> CaseResult:
    # Should the lab break off in this case, the timeline still says what it was.
    bench.run.emit("lab", "setup", number=number, **setup.document())
    return Case(bench, setup.layout, setup.point, setup.action, job.plant, job.hang_deadline).run()


def _minimised(job: Job, bench: Bench, judged: Judged) -> Judged:
    """The smallest case found that breaks the same rules, which may be the case itself."""
    broken = set(broken_rules(judged.result))
    smallest = judged.result

    def fails(setup: Setup) -> bool:
        nonlocal smallest
        result = _judge(job, bench, judged.number, setup)
        if not broken <= set(broken_rules(result)):
            return False
        smallest = result
        return True

    return Judged(judged.number, minimise(judged.setup, fails), smallest)


def _drive_under_test(profile: Profile) -> tuple[Drive, NvmeNamespace]:
    """The first NVMe namespace that is not zoned, has no metadata and carries no layer.

    With metadata QEMU copies a range in more than one read and one write, so that points would
    mean something else.  Raises ProfileError when there is none.
    """
    used = stack(profile).users
    namespaces = {
        (device.serial, namespace.nsid): namespace
        for device in profile.devices
        if isinstance(device, NvmeController)
        for namespace in device.namespaces
        if not namespace.zoned and not namespace.metadata
    }
    for drive in drives(profile):
        namespace = namespaces.get((drive.serial, drive.nsid))
        if namespace and f"{drive.serial}:{drive.nsid}" not in used:
            return drive, namespace
    on_them = "; ".join(f"on {ref}: {users[0][0]}" for ref, users in used.items())
    raise ProfileError(
        f"profile {profile.name}: {NAME} needs an emulated NVMe namespace without zones, "
        f"metadata or layers{f' ({on_them})' if on_them else ''}",
        hint="add one to the profile's devices",
    )
