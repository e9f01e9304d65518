"""The suite copy-faults: one NVMe Copy, interrupted at every point by every action."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.copy import nvme
from lab.errors import LabError, ProfileError
from lab.guest import guest as guests
from lab.guest.boot import Platform, Progress
from lab.guest.guest import Guest
from lab.host import qemu
from lab.host.process import me
from lab.profile.models import NvmeController, NvmeNamespace, Profile, stack
from lab.results.run import Run
from lab.suites.bench import Bench
from lab.suites.case import Case, CaseResult
from lab.suites.options import Options, layout
from lab.vm.graph import Drive, drives

NAME = "copy-faults"


@dataclass
class Report:
    """A run of the suite as it grows; `error` is set when the lab had to break it off."""

    run: str
    directory: Path
    profile: Profile
    options: Options
    kernel: str = ""
    qemu: str = ""
    accelerator: str = ""
    accelerator_note: str = ""
    """Why it is not KVM."""
    capabilities: list[dict[str, Any]] = field(default_factory=list)
    """What the guest's kernel offers on each disk and layer."""
    cases: list[CaseResult] = field(default_factory=list)
    seconds: float = 0.0
    error: LabError | None = None

    @property
    def exit_status(self) -> int:
        """0: all rules hold everywhere; 1: not so; otherwise that of the lab's error."""
        if self.error:
            return self.error.exit_status
        return int(any(case.verdict != "holds" for case in self.cases))

    def counts(self) -> dict[str, int]:
        """Cases by verdict."""
        return dict(Counter(case.verdict for case in self.cases))

    def document(self) -> dict[str, Any]:
        """The run's JSON."""
        timeout = int(self.profile.guest.nvme_io_timeout)
        return {
            "run": self.run,
            "suite": NAME,
            "profile": self.profile.name,
            "kernel": self.kernel,
            "qemu": self.qemu,
            "accelerator": self.accelerator,
            "notes": [
                f"nvme_core.io_timeout={timeout}: a held copy must not run into the guest's timeout"
            ],
            "capabilities": self.capabilities,
            "plant": self.options.plant.kind or None,
            "verdicts": self.counts(),
            "cases": [case.document() for case in self.cases],
            "seconds": round(self.seconds, 3),
            "error": str(self.error) if self.error else None,
        }


OnCase = Callable[[CaseResult], None]


def run(
    profile: Profile,
    options: Options,
    progress: Progress,
    on_case: OnCase,
    *,
    on: Guest | None = None,
) -> Report:
    """Run the suite in a guest of its own, or in the running guest `on`.

    What the lab itself fails at ends the run and stands in the report, with all cases judged
    until then; only errors from before the first boot are raised (ProfileError, HostError).
    """
    drive, namespace = _drive_under_test(profile)
    plan = layout(options, drive)
    nvme.check_limits(plan.copy, namespace.copy_limits)
    cells = options.cells()
    platform = Platform.find(profile, progress)
    start = time.monotonic()
    with Run(profile.name, NAME) as record:
        record.write("profile.json", profile.model_dump_json(indent=1, by_alias=True))
        report = Report(
            record.id, record.directory, profile, options, platform.kernel.release,
            qemu.version(platform.qemu), platform.accelerator.name, platform.accelerator.why,
        )  # fmt: skip
        try:
            with _Booted(record, profile, platform, drive, progress, on) as bench:
                report.capabilities = bench.capabilities
                for point, action in cells:
                    case = Case(bench, plan, point, action, options.plant, options.hang_deadline)
                    result = case.run()
                    report.cases.append(result)
                    on_case(result)
        except LabError as error:
            record.emit("lab", "error", message=str(error))
            report.error = error
        finally:
            report.seconds = time.monotonic() - start
            record.finish(report.document())
    return report


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


class _Booted:
    """The bench of a run, from boot to take-down; evidence is kept whatever happens."""

    def __init__(
        self,
        run: Run,
        profile: Profile,
        platform: Platform,
        drive: Drive,
        progress: Progress,
        on: Guest | None,
    ) -> None:
        self._run = run
        self._profile = profile
        self._platform = platform
        self._drive = drive
        self._progress = progress
        self._on = on
        self._guest: Guest | None = on
        self._bench: Bench | None = None

    def __enter__(self) -> Bench:
        if self._guest is None:
            self._guest = guests.start(
                f"run-{self._run.id}", self._profile, self._progress,
                owner=me(), platform=self._platform, on_event=self._run.qmp_event,
            )  # fmt: skip
        try:
            self._bench = Bench(self._run, self._guest, self._platform, self._drive)
        except BaseException:
            self._take_down()
            raise
        return self._bench

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        assert self._guest is not None and self._bench is not None
        died = None
        if isinstance(error, LabError) and not self._guest.machine.alive():
            # Whatever broke first, this is what the user must know.
            died = self._guest.machine.died()
        self._bench.close()
        self._take_down()
        if died and str(died) != str(error):
            raise died from error

    def _take_down(self) -> None:
        assert self._guest is not None
        if self._on is None:
            self._guest.down()
        else:
            self._guest.machine.close()
