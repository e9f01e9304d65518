# SPDX-License-Identifier: GPL-2.0-or-later
"""From what became of a commit's kernel to the verdict that git is told.

Here building, running and booting are functions that end as they are told to; docs/bisect.md has a
bisection of real kernels.
"""

from pathlib import Path

import pytest

from lab.errors import BuildError, GuestError, HostError, LabError
from lab.farm import trial
from lab.farm.bisect import CommitResult, CommitVerdict
from lab.farm.job import JobEnd
from lab.farm.trial import CommitTrial
from lab.guest import guests
from lab.profile.models import Profile
from lab.suites.request import Request

COMMIT = "c" * 40


class Fate:
    """How everything ends."""

    def __init__(self) -> None:
        self.build: LabError | None = None
        self.run = JobEnd("20261124-000001-0001", "", 0)
        self.boot: LabError | None = None
        self.asked: list[Request] = []
        self.downs = 0

    def ensure_kernel(self, _reference: str, _progress: object) -> None:
        if self.build:
            raise self.build

    def carry_out(self, request: Request, _token: str, _directory: Path) -> JobEnd:
        self.asked.append(request)
        return self.run

    def start(self, _name: str, _profile: Profile, _progress: object, *, owner: object) -> "Fate":
        if self.boot:
            raise self.boot
        return self

    def down(self) -> None:
        self.downs += 1


@pytest.fixture
def fate(monkeypatch: pytest.MonkeyPatch) -> Fate:
    made = Fate()
    monkeypatch.setattr(trial, "ensure_kernel", made.ensure_kernel)
    monkeypatch.setattr(trial, "run_job", made.carry_out)
    monkeypatch.setattr(guests, "start", made.start)
    return made


def tried(place: Path) -> CommitResult:
    request = Request("nvme-copy", "copy-faults", ("--actions", "eio"))
    return CommitTrial(place / "linux", request, place / "b", lambda _: None)(COMMIT)


@pytest.mark.parametrize(("status", "verdict"), [(0, CommitVerdict.GOOD), (1, CommitVerdict.BAD)])
def test_the_exit_status_of_the_run_is_the_verdict(
    tmp_path: Path, fate: Fate, status: int, verdict: CommitVerdict
) -> None:
    fate.run = JobEnd("20261124-000001-0001", "", status)
    assert tried(tmp_path) == CommitResult(verdict, "20261124-000001-0001")
    kernel = f"{tmp_path / 'linux'}@{COMMIT}"
    words = ("--actions", "eio")
    assert fate.asked == [Request("nvme-copy", "copy-faults", words, kernel=kernel)]


def test_what_does_not_build_is_skipped_and_not_run(tmp_path: Path, fate: Fate) -> None:
    fate.build = BuildError("the kernel does not build: a.c", detail="a.c:1:1: error: no")
    assert tried(tmp_path) == CommitResult(CommitVerdict.SKIP, why="the kernel does not build: a.c")
    assert fate.asked == []


def test_what_does_not_boot_is_skipped(tmp_path: Path, fate: Fate) -> None:
    fate.run = JobEnd("", "lab: the guest did not boot", 3)
    fate.boot = GuestError("the guest did not boot: Kernel panic")
    found = tried(tmp_path)
    assert found.verdict is CommitVerdict.SKIP
    assert found.why == "does not boot: the guest did not boot: Kernel panic"


def test_what_boots_and_cannot_be_judged_is_skipped(tmp_path: Path, fate: Fate) -> None:
    fate.run = JobEnd("20261124-000001-0001", "lab: no answer", 3)
    assert tried(tmp_path) == CommitResult(
        CommitVerdict.SKIP, "20261124-000001-0001", "the lab failed: lab: no answer"
    )
    assert fate.downs == 1


@pytest.mark.parametrize("where", ["build", "boot"])
def test_a_fault_of_the_host_is_no_verdict(tmp_path: Path, fate: Fate, where: str) -> None:
    fate.run = JobEnd("", "lab: no space", 3)
    setattr(fate, where, HostError("no space left"))
    with pytest.raises(HostError, match="no space left"):
        tried(tmp_path)


@pytest.mark.parametrize("status", [2, -9, 143])
def test_a_run_that_says_nothing_is_no_verdict(tmp_path: Path, fate: Fate, status: int) -> None:
    fate.run = JobEnd("", "lab: no such point", status)
    with pytest.raises(HostError, match=r"(?s)cannot be judged.*no such point"):
        tried(tmp_path)
