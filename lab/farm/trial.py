# SPDX-License-Identifier: GPL-2.0-or-later
"""A commit of a kernel on trial: built, booted, and judged by a suite."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from lab.artifacts.kernel import ensure_kernel
from lab.artifacts.kernels import names
from lab.errors import BuildError, GuestError, HostError
from lab.farm.bisect import CommitResult, CommitVerdict
from lab.farm.job import run_job
from lab.guest import guests
from lab.host.process import me
from lab.suites.request import Request

_VERDICTS = {0: CommitVerdict.GOOD, 1: CommitVerdict.BAD}
"""By the exit status of `lab run`."""


@dataclass(frozen=True)
class CommitTrial:
    """What judges each commit of `source`: a suite with its arguments on a profile."""

    source: Path
    request: Request
    """On whatever kernel."""
    place: Path
    """Gets what the runs print."""
    progress: Callable[[str], None]

    def __call__(self, commit: str) -> CommitResult:
        """Good or bad by the suite's exit status; skipped where the kernel does not build or boot,
        or the lab cannot come to an end on it.  Raises HostError when the host is at fault."""
        kernel = names.commit(self.source, commit)
        try:
            ensure_kernel(kernel, self.progress)
        except BuildError as error:
            return CommitResult(CommitVerdict.SKIP, why=error.message)
        request = replace(self.request, kernel=kernel)
        self.progress(f"{request.suite} on {request.profile}")
        ended = run_job(request, f"{self.place.name}/{commit}", self.place / commit)
        if ended.status in _VERDICTS and ended.run:
            return CommitResult(_VERDICTS[ended.status], ended.run)
        if ended.status != HostError.exit_status:
            raise HostError(f"{request.title} cannot be judged", detail=ended.said)
        self.progress("does it boot?")
        refusal = self._refusal(request, f"{self.place.name}-{commit[:12]}")
        return CommitResult(
            CommitVerdict.SKIP, ended.run, refusal or f"the lab failed: {ended.said}"
        )

    def _refusal(self, request: Request, name: str) -> str:
        """Why a guest does not boot on the kernel; '' if it does.  Raises HostError."""
        try:
            guest = guests.start(name, request.load(), self.progress, owner=me())
        except GuestError as error:
            return f"does not boot: {error.message}"
        guest.down()
        return ""
