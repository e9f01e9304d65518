# SPDX-License-Identifier: GPL-2.0-or-later
"""What a program is told of a run."""

from pathlib import Path
from typing import Any

import lab
from lab.face.outcome import RunOutcome

RULES = {"COMPLETE": {"verdict": "violated", "evidence": "2 sectors are not"}}


def outcome(*cases: dict[str, Any], status: int = 1) -> lab.RunOutcome:
    document = {"run": "20261129-183552-83b7", "cases": list(cases)}
    return RunOutcome.of("copy-faults", document, Path("/runs"), status)


def test_it_says_which_cases_did_not_pass_and_why() -> None:
    found = outcome(
        {"name": "rehearsal", "verdict": "holds"},
        {"name": "write:1 eio", "verdict": "violated", "rules": RULES},
        {"name": "write:2", "section": "xfs", "status": "hung", "reason": "no end"},
    )
    assert not found.holds
    assert str(found).splitlines() == [
        "copy-faults: 1 of 3 cases passed",
        "write:1 eio: fail: COMPLETE: 2 sectors are not",
        "xfs:write:2: hung: no end",
    ]


def test_it_holds_where_a_command_would_end_with_0() -> None:
    assert outcome({"name": "a", "status": "fail", "known": "since ever"}, status=0).holds
    assert str(outcome({"name": "a", "status": "pass"}, status=0)) == (
        "copy-faults: 1 of 1 cases passed"
    )
