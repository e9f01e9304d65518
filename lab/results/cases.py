# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases as every suite reports them: one record for each, in the run's JSON under `cases`."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from lab.errors import UsageError
from lab.foreign import harmless


class CaseStatus(StrEnum):
    """What came of a case.  A failure of the lab is none of these: it ends the run."""

    PASS = "pass"
    FAIL = "fail"
    NOTRUN = "notrun"
    """The suite declined to run it, and said why."""
    FELL_BACK = "fell back"
    """Its caller was served, but by reads and writes where an offload was asked for."""
    HUNG = "hung"
    """It did not end within its deadline."""
    CRASHED = "crashed"
    """The guest's kernel panicked, oopsed, locked up, or reported a hung task."""


def titled(section: str, name: str) -> str:
    """What listings call a case of a section, which may be ''."""
    return f"{section}:{name}" if section else name


FAILURES = frozenset({CaseStatus.FAIL, CaseStatus.HUNG, CaseStatus.CRASHED})


@dataclass(frozen=True)
class Case:
    """One case, carried out once."""

    name: str
    status: CaseStatus
    seconds: float
    reason: str = ""
    """Why it did not pass, in a line."""
    section: str = ""
    """The configuration it ran with, where a suite has several."""
    attempt: int = 1
    """Which of several repetitions this is, from 1 on."""
    known: str = ""
    """Why it is expected not to pass; empty where it is expected to."""
    files: tuple[str, ...] = ()
    """Evidence, as paths in the run's directory."""
    output: str = field(default="", repr=False)
    """What the suite said of it."""

    def __post_init__(self) -> None:
        # Suites and kernels say what they like; it is shown to people, and kept in databases.
        for name in ("name", "reason", "section", "known", "output"):
            object.__setattr__(self, name, harmless(getattr(self, name)))

    @property
    def title(self) -> str:
        """How people call it: `xfs:generic/001`, or just its name where there are no sections."""
        return titled(self.section, self.name)

    @property
    def unexpected(self) -> bool:
        """Whether it failed, and nobody knew that it would."""
        return self.status in FAILURES and not self.known

    @property
    def repaired(self) -> bool:
        """Whether it passed although it was expected to fail."""
        return self.status is CaseStatus.PASS and bool(self.known)

    def document(self) -> dict[str, Any]:
        """Its JSON."""
        return {**asdict(self), "unexpected": self.unexpected}


_VERDICTS = {
    "holds": CaseStatus.PASS,
    "violated": CaseStatus.FAIL,
    "fell back": CaseStatus.FELL_BACK,
    "not exercised": CaseStatus.NOTRUN,
}
"""Suites that judge by the contract say verdicts."""


def status_of(document: Mapping[str, Any]) -> CaseStatus:
    """What came of the case in a run's JSON.  Raises KeyError or ValueError where that says not."""
    said = document.get("status")
    return CaseStatus(said) if said else _VERDICTS[document["verdict"]]


def read(document: dict[str, Any]) -> Case:
    """The case in a run's JSON, which may hold more.

    Raises KeyError, TypeError or ValueError when it is none.
    """
    return Case(
        str(document["name"]),
        status_of(document),
        float(document.get("seconds", 0.0)),
        str(document.get("reason", "")) or _ruled(document, "violated") or _ruled(document),
        str(document.get("section", "")),
        int(document.get("attempt", 1)),
        str(document.get("known", "")),
        tuple(document.get("files", ())),
        str(document.get("output", "")),
    )


UNREADABLE = (AttributeError, LookupError, OverflowError, TypeError, ValueError)
"""What comes of reading a document that another lab, or another package's suite, wrote."""


def read_all(run: str, document: Mapping[str, Any]) -> list[Case]:
    """The cases in the JSON of a run.  Raises UsageError where this lab knows no such cases."""
    try:
        return [read(case) for case in document["cases"]]
    except UNREADABLE as error:
        raise UsageError(
            f"run {run}: its cases cannot be read: {type(error).__name__} {error}",
            hint="did another version of the lab record it?",
        ) from error


def _ruled(document: dict[str, Any], ruling: str = "fell back") -> str:
    """The rules of a judged case that came to that, with the evidence; '' of any other."""
    rules = document.get("rules") or {}
    return "; ".join(
        f"{rule}: {found['evidence']}"
        for rule, found in rules.items()
        if found["verdict"] == ruling
    )


def counts(cases: Iterable[Case]) -> dict[str, int]:
    """Cases by status, those that occur only, in the order of Status."""
    found = Counter(case.status for case in cases)
    return {status.value: found[status] for status in CaseStatus if found[status]}


def ratios(cases: Iterable[Case]) -> dict[str, tuple[int, int]]:
    """How often each case that was repeated passed, and how often it was carried out."""
    passed: Counter[str] = Counter()
    ran: Counter[str] = Counter()
    for case in cases:
        ran[case.title] += 1
        passed[case.title] += case.status is CaseStatus.PASS
    return {title: (passed[title], number) for title, number in ran.items() if number > 1}
