# SPDX-License-Identifier: GPL-2.0-or-later
"""A run that is asked for, and the same with all that it names looked up."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from lab.errors import UsageError
from lab.profile.change import booting
from lab.profile.find import find as find_profile
from lab.profile.load import load
from lab.profile.models import Profile
from lab.suites.suite import Suite

OptionsT = TypeVar("OptionsT")


def under_test(kernel: str, qemu: str) -> str:
    """What people call a kernel in a QEMU, which together are compared with those of the
    baseline; '' for a QEMU that nobody named."""
    return f"{kernel} in {qemu}" if qemu else kernel


@dataclass(frozen=True)
class Request:
    """A run in the words in which it is asked for, as `lab run` takes them."""

    profile: str
    """A name or a path."""
    suite: str
    options: Sequence[str] = ()
    """Of the suite, after `--`."""
    tree: Path | None = None
    """A built one of the suite, instead of the one in the settings."""
    on: str = ""
    """The guest to run in, which is up; empty for guests of its own."""
    kernel: str = ""
    """As `--kernel` takes it; empty for that of the profile."""
    qemu: str = ""
    """As `--qemu` takes it; empty for that of the profile."""
    changes: Sequence[str] = ()
    """Of the profile, PATH=VALUE."""
    boot: str = ""
    """As `--boot` takes it; empty for that of the profile."""
    spares: int | None = None
    """As `--spares` takes it; None for that of the profile."""
    coverage: str = ""
    """As `--coverage` takes it; empty for none."""

    @property
    def title(self) -> str:
        """How people call it."""
        platform = under_test(self.kernel, self.qemu)
        words = f"{' '.join([self.suite, *self.options])} on {self.profile}"
        return f"{words}, {platform}" if platform else words

    def words(self, *more: str) -> Iterator[str]:
        """The arguments with which `lab` carries it out, with more options of `lab run`."""
        yield from ("run", self.profile, self.suite)
        given = {"--on": self.on, "--kernel": self.kernel, "--qemu": self.qemu, "--boot": self.boot}
        given["--spares"] = "" if self.spares is None else str(self.spares)
        given["--coverage"] = self.coverage
        for option, value in {**given, "--tree": self.tree and str(self.tree)}.items():
            if value:
                yield from (option, value)
        for change in self.changes:
            yield from ("--set", change)
        yield from (*more, "--", *self.options)

    def _changes(self) -> list[str]:
        return booting(self.changes, self._kernel(), self.qemu, self.boot, self.spares)

    def _kernel(self) -> str:
        """That which is booted, '' for the profile's.  Raises UsageError where it does not count
        what it is to."""
        if not self.coverage:
            return self.kernel
        # Told before anything slow.
        from lab.artifacts.kernels.names import counting, resolve

        own = self.kernel or load(self.profile, self.changes).kernel
        kernel = counting(own, self.coverage)
        resolve(kernel)
        return kernel

    def load(self) -> Profile:
        """The profile with all changes.  Raises ProfileError and UsageError."""
        return load(self.profile, self._changes())


@dataclass(frozen=True)
class Assignment(Generic[OptionsT]):
    """A request with the profile loaded, and with the options as the suite understands them."""

    request: Request
    profile: Profile
    options: OptionsT

    @property
    def place(self) -> Path:
        """The profile's file."""
        return find_profile(self.request.profile)


def assign(suite: Suite, request: Request) -> Assignment[object]:
    """Look up what a request for a suite names.

    Raises UsageError, or ProfileError, before anything slow is imported; Help where the options
    ask for that.
    """
    if request.on and not suite.reuses:
        raise UsageError(f"{suite.name} boots guests of its own, and cannot run on {request.on}")
    if request.tree and not suite.tree:
        raise UsageError(f"{suite.name} needs no tree")
    return Assignment(request, request.load(), suite.parse(request.options))
