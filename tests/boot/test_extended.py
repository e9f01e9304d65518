# SPDX-License-Identifier: GPL-2.0-or-later
"""What a package adds, at work in guests."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.boot.conftest import Lab
from tests.extended import extended
from tests.unit.test_extended import PROFILE


@pytest.fixture(scope="module")
def plus(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The lab with the package."""
    return replace(lab, program=str(extended(tmp_path_factory.mktemp("extended"))))


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A profile with the package's layer and its path."""
    path: Path = tmp_path_factory.mktemp("profile") / "extended.yaml"
    path.write_text(PROFILE)
    return str(path)


def test_its_suite_runs_in_guests_that_have_its_programs_and_layers(
    plus: Lab, lab: Lab, profile: str
) -> None:
    run = json.loads(plus("run", profile, "queue-limits", "--json", deadline=900).stdout)
    assert [(case["name"], case["status"]) for case in run["cases"]] == [("DISK", "pass")]
    layers = [row for row in run["capabilities"] if row["capability"] == "ram-disk"]
    assert [(row["of"], row["supported"]) for row in layers] == [("ram", True)]
    # The run is one like others, also for a lab that has not what it was made with.
    shown = lab("results", "show", run["run"]).stdout
    assert "queue-limits" in shown
    assert "1 pass" in shown


def test_its_path_copies_while_its_action_is_done(plus: Lab, profile: str) -> None:
    words = ("--actions", "drop-caches", "--ranges", "1", "--blocks", "4")
    done = plus("run", profile, "copy-faults", "--json", "--", *words, deadline=900)
    run = json.loads(done.stdout)
    assert run["path"] == "fs-clone-blocks"
    _rehearsal, *others = run["cases"]
    assert others
    assert {case["action"] for case in others} == {"drop-caches"}
    assert {case["verdict"] for case in run["cases"]} == {"holds"}
