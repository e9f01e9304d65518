# SPDX-License-Identifier: GPL-2.0-or-later
"""Profiles at a glance."""

from collections.abc import Iterator
from dataclasses import dataclass

from lab.problem import InvalidProfileError
from lab.profile.find import available, display, shipped
from lab.profile.load import load_file


@dataclass(frozen=True)
class Summary:
    """One line of the list of profiles: `valid` tells whether it can be used, `own` that it is the
    user's and does not ship."""

    name: str
    description: str
    file: str
    valid: bool
    own: bool


def summaries() -> Iterator[Summary]:
    """All profiles that can be named.  A broken one is listed too, or it could not be found."""
    ours = shipped()
    for name, path in available().items():
        try:
            description, valid = load_file(path).description, True
        except InvalidProfileError as error:
            description, valid = f"invalid: {error.problems[0].message}", False
        yield Summary(name, " ".join(description.split()), display(path), valid, path not in ours)
