# SPDX-License-Identifier: GPL-2.0-or-later
"""What a check finds, as a record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from lab.errors import LabError, LackError
from lab.host.cures import Cure


class State(StrEnum):
    """How it stands with one thing."""

    OK = "ok"
    DEGRADED = "degraded"
    """The lab works, but slower, without something, or with something in the way."""
    MISSING = "missing"
    """What the lab is for cannot be done."""


@dataclass(frozen=True)
class Finding:
    """The answer of one check."""

    state: State
    said: str
    cure: Cure | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of what was tried, by name."""


def ok(said: str, versions: Mapping[str, str] | None = None) -> Finding:
    """All well."""
    return Finding(State.OK, said, versions=versions or {})


def degraded(said: str, cure: Cure | str, versions: Mapping[str, str] | None = None) -> Finding:
    """The lab works without it."""
    return Finding(State.DEGRADED, said, _cure(cure), versions or {})


def missing(said: str, cure: Cure | str) -> Finding:
    """The lab does not work without it."""
    return Finding(State.MISSING, said, _cure(cure))


def failed(error: LabError, state: State) -> Finding:
    """What an error of the lab means for the host: its last words, and its own cure."""
    cure = error.cure if isinstance(error, LackError) else error.hint
    said = error.detail.splitlines()[-1].strip() if error.detail else error.message
    return Finding(state, said, _cure(cure))


def _cure(cure: Cure | str) -> Cure | None:
    if isinstance(cure, Cure):
        return cure
    return Cure.anywhere(cure) if cure else None
