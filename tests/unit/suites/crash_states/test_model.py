# SPDX-License-Identifier: GPL-2.0-or-later
"""Sequences without a crash: drawn, carried out by the guest's program here, and compared."""

from pathlib import Path

from lab.suites.crash_states.fs.ace import SETUP
from lab.suites.crash_states.fs.model import drawn, unlike
from tests.unit.suites.crash_states.test_crashfs import CrashFs


def test_sequences_here_are_what_the_model_says_and_a_wrong_one_is_not(tmp_path: Path) -> None:
    place = tmp_path / "mount"
    place.mkdir()
    crashfs = CrashFs(place)
    sequences = [drawn(7, number) for number in range(40)]
    assert sequences == [drawn(7, number) for number in range(40)]
    asked = [[dict(step) for step in (*SETUP, *steps)] for steps in sequences]
    answers = crashfs.module["tried"](asked)["tried"]
    found = [unlike(steps, one) for steps, one in zip(sequences, answers, strict=True)]
    assert all(said in ([], None) for said in found)
    assert sum(said == [] for said in found) > 12
    # Each has had a place of its own, which is gone.
    assert list(place.iterdir()) == []
    wrong = {**answers[0], "names": {}}
    assert unlike((), {"errnos": [0] * len(SETUP), "names": wrong["names"]})
