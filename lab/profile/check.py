# SPDX-License-Identifier: GPL-2.0-or-later
"""Checking profiles: all problems of all of them, instead of the first error."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab.errors import ProfileError
from lab.problem import InvalidProfileError, Problem
from lab.profile.change import ProfileChange
from lab.profile.find import display, find, shipped
from lab.profile.load import load_file


@dataclass(frozen=True)
class ProfileCheck:
    """What checking one profile found; without problems it can be used."""

    name: str
    file: str
    problems: tuple[Problem, ...]


def check(names: Sequence[str], changes: Sequence[str] = ()) -> Iterator[ProfileCheck]:
    """Check each profile given by name or path, with `changes` (PATH=VALUE) made to it; without
    any, all that ship.  Raises UsageError for a change that is none."""
    wanted = [ProfileChange.parse(change) for change in changes]
    for name in names or [str(path) for path in shipped()]:
        yield _check(name, wanted)


def _check(name: str, changes: Sequence[ProfileChange]) -> ProfileCheck:
    try:
        path = find(name)
    except ProfileError as error:
        return ProfileCheck(name, name, (Problem(name, None, "", str(error)),))
    try:
        load_file(path, changes)
    except InvalidProfileError as error:
        return ProfileCheck(path.stem, display(path), error.problems)
    return ProfileCheck(path.stem, display(path), ())
