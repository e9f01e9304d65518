# SPDX-License-Identifier: GPL-2.0-or-later
"""From a YAML file to a Profile, or to everything that is wrong with the file at once."""

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

from pydantic import ValidationError

from lab.problem import InvalidProfileError
from lab.profile.base import Conflict
from lab.profile.change import ProfileChange, changed
from lab.profile.explain import EXTENDS, explain
from lab.profile.extend import extended
from lab.profile.find import find
from lab.profile.models import Profile

_NO_KEYS = {
    "name": "not a key; expected no name: it is the file's name",
    EXTENDS: "not a key of the profile itself; expected it in a file",
}
"""What would be a key for all that the model knows, and what to say of it."""

_ASKED_ABOVE = {"path": "lab.copy.paths"}
"""By the key that they judge, modules of rooms above this one with a misfits(profile); imported
only for a profile that has the key."""


def load(name_or_path: str, changes: Sequence[str] = ()) -> Profile:
    """The profile of that name or in that file, with `changes` (PATH=VALUE) made to it.

    Raises ProfileError for an unknown name, UsageError for a change that is none, and what
    load_file() raises.
    """
    wanted = [ProfileChange.parse(change) for change in changes]
    return load_file(find(name_or_path), wanted)


def load_file(path: Path, changes: Sequence[ProfileChange] = ()) -> Profile:
    """The profile in the YAML file at `path`; its name is the file's without the suffix.

    Raises InvalidProfileError, with a line for each problem, if a file cannot be read or the whole
    does not describe a guest.  What is wrong between values is told once each of them is right.
    """
    document = changed(extended(path), changes)
    wrong: list[Conflict] = [((key,), _NO_KEYS[key]) for key in document.data if key in _NO_KEYS]
    keys = {key: value for key, value in document.data.items() if key not in _NO_KEYS}
    try:
        profile = Profile.model_validate({**keys, "name": path.stem})
        wrong += _misfits(profile)
    except ValidationError as error:
        wrong += explain(error)
    if problems := document.problems(wrong):
        raise InvalidProfileError(problems)
    return profile


def _misfits(profile: Profile) -> Iterator[Conflict]:
    """What is wrong with a profile that describes a guest, in what is done with it."""
    for key, module in _ASKED_ABOVE.items():
        if getattr(profile, key) is not None:
            yield from import_module(module).misfits(profile)
