# SPDX-License-Identifier: GPL-2.0-or-later
"""Known failures: cases that are expected not to pass, why, and where that is so.

A file `known/SUITE.yaml` beside the profile, or the one given with --known:

    - cases: [generic/127, "generic/43?"]   # patterns as of the shell
      reason: what is wrong, and where it is tracked
      when:                                 # all of these must hold; without any: always
        fs: [ext4]                          # the file system under test is one of these
        works: [xfs_io, -c, help falloc]    # this command succeeds in the guest
        fails: [modprobe, dm-clone]         # this command fails there
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from lab import yamlfile

DIRECTORY = "known"

Tried = Callable[[Sequence[str]], bool]
"""Whether a command succeeds in the guest."""


class KnownCondition(BaseModel):
    """Where a failure is expected: found by trying, never by a version."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    fs: list[str] = []
    works: list[str] = []
    fails: list[str] = []

    def holds(self, fs: str, tried: Tried) -> bool:
        """Whether this is such a place."""
        return (
            (not self.fs or fs in self.fs)
            and (not self.works or tried(self.works))
            and (not self.fails or not tried(self.fails))
        )


class KnownFailure(BaseModel):
    """Cases that are expected to fail for one reason."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    cases: list[str] = Field(min_length=1)
    reason: str = Field(min_length=1)
    when: KnownCondition = KnownCondition()


_LIST = TypeAdapter(list[KnownFailure])


def beside(profile: Path, suite: str) -> list[KnownFailure]:
    """The known failures of a suite beside a profile's file; none where there is no such file."""
    path = profile.parent / DIRECTORY / f"{suite}.yaml"
    return load(path) if path.exists() else []


def known_failures(asked: Path | None, profile: Path, suite: str) -> list[KnownFailure]:
    """The known failures in the file that was asked for, or else beside a profile's file."""
    return load(asked) if asked else beside(profile, suite)


def load(path: Path) -> list[KnownFailure]:
    """Read a file.  Raises ProfileError that names it, the line and the key that is wrong."""
    return yamlfile.read(path, _LIST, empty=[])


def applying(
    known: Iterable[KnownFailure],
    names: Mapping[str, Iterable[str]],
    fs: Mapping[str, str],
    tried: Tried,
) -> dict[str, str]:
    """Why cases are expected to fail here, by title; `names` and `fs` are by section.

    What is to be tried is tried only where a case of that section is meant.
    """
    found: dict[str, str] = {}
    for section, cases in names.items():
        for entry in known:
            meant = [name for name in cases if any(fnmatchcase(name, p) for p in entry.cases)]
            if meant and entry.when.holds(fs.get(section, ""), tried):
                prefix = f"{section}:" if section else ""
                found.update({prefix + name: entry.reason for name in meant})
    return found
