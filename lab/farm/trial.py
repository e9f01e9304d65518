"""A commit of a kernel on trial: built, booted, and judged by a suite."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.artifacts.kernel import ensure_kernel
from lab.artifacts.kernels import names
from lab.errors import BuildError, GuestError, HostError
from lab.farm import job as runner
from lab.farm.bisect import Tried, Verdict
from lab.farm.plan import Job
from lab.guest import guest as guests
from lab.host.process import me
from lab.profile.load import load as load_profile

_VERDICTS = {0: Verdict.GOOD, 1: Verdict.BAD}
"""By the exit status of `lab run`."""


@dataclass(frozen=True)
class Trial:
    """What judges each commit of `source`: a suite with its arguments on a profile."""

    source: Path
    profile: str
    suite: str
    args: tuple[str, ...]
    place: Path
    """Gets what the runs print."""
    progress: Callable[[str], None]
    qemu: str = ""
    """As `--qemu` takes it; empty for that of the profile."""

    def __call__(self, commit: str) -> Tried:
        """Good or bad by the suite's exit status; skipped where the kernel does not build or boot,
        or the lab cannot come to an end on it.  Raises HostError when the host is at fault."""
        kernel = names.commit(self.source, commit)
        try:
            ensure_kernel(kernel, self.progress)
        except BuildError as error:
            return Tried(Verdict.SKIP, why=error.message)
        self.progress(f"{self.suite} on {self.profile}")
        job = Job(
            kernel=kernel, qemu=self.qemu, baseline=False, profile=self.profile,
            suite=self.suite, args=self.args, repetition=1, priority=0,
        )  # fmt: skip
        ended = runner.carry_out(job, f"{self.place.name}/{commit}", self.place / commit)
        if ended.status in _VERDICTS and ended.run:
            return Tried(_VERDICTS[ended.status], ended.run)
        if ended.status != HostError.exit_status:
            raise HostError(f"{job.title} cannot be judged", detail=ended.said)
        self.progress("does it boot?")
        refusal = self._refusal(kernel, f"{self.place.name}-{commit[:12]}")
        return Tried(Verdict.SKIP, ended.run, refusal or f"the lab failed: {ended.said}")

    def _refusal(self, kernel: str, name: str) -> str:
        """Why a guest does not boot on the kernel; '' if it does.  Raises HostError."""
        changes = [f"kernel={json.dumps(kernel)}"]
        if self.qemu:
            changes.append(f"machine.qemu={json.dumps(self.qemu)}")
        profile = load_profile(self.profile, changes)
        try:
            guest = guests.start(name, profile, self.progress, owner=me())
        except GuestError as error:
            return f"does not boot: {error.message}"
        guest.down()
        return ""
