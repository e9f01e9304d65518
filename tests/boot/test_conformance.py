# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite conformance: an NVMe Copy beside the reference model, each in a guest of its own."""

import json
import re
from dataclasses import dataclass
from typing import Any

import pytest

from lab.copy.contract import RULES
from lab.suites.conformance import quirks
from tests.boot.conftest import Lab

Cell = tuple[str, str, str]
"""Path, point, action."""


@dataclass(frozen=True)
class Compared:
    """A run of the suite: its exit status and its JSON."""

    status: int
    document: dict[str, Any]

    @property
    def sizes(self) -> dict[str, dict[str, Any]]:
        """The cases of sizes at and above a limit, by name."""
        return {
            case["name"]: case for case in self.document["cases"] if case["action"] == "size"
        }  # fmt: skip

    @property
    def cells(self) -> dict[Cell, dict[str, Any]]:
        """The other cases."""
        return {
            (case["path"], case["point"], case["action"]): case
            for case in self.document["cases"]
            if case["action"] != "size"
        }

    def differences(self, rule: str) -> list[dict[str, Any]]:
        """What the path does otherwise than the reference, by that rule."""
        return [each for each in self.document["differences"] if each["rule"] == rule]


@pytest.fixture(scope="module")
def compared(lab: Lab) -> Compared:
    done = lab(
        "run", "nvme-copy", "conformance", "--json", "--",
        "--actions", "resume,eio,size", "--ranges", "2", status=None, deadline=900,
    )  # fmt: skip
    return Compared(done.returncode, json.loads(done.stdout))


def test_both_paths_are_tried(compared: Compared) -> None:
    paths = compared.document["paths"]
    assert compared.document["error"] is None
    assert [(each["path"], each["profile"], each["on"]) for each in paths] == [
        ("loop-reflink", "loop-xfs-reflink", "model"), ("nvme-copy", "nvme-copy", "LABNVME0:1"),
    ]  # fmt: skip
    assert all(each["not_supported"] is None for each in paths)
    cells = compared.cells
    assert {("loop-reflink", "write:1", "eio"), ("nvme-copy", "read:2", "resume")} <= cells.keys()
    assert len([cell for cell in cells if cell[0] == "nvme-copy"]) == 11
    for case in cells.values():
        assert case["rules"].keys() == RULES.keys()
        assert case["situation"] == f"{case['point'].partition(':')[0]} {case['action']}"


def test_sizes_at_each_limit_pass_and_above_it_are_refused_or_told(compared: Compared) -> None:
    assert list(compared.sizes) == [
        "at mssrl", "above mssrl", "at mcl", "above mcl", "at msrc", "above msrc",
    ]  # fmt: skip
    for name, case in compared.sizes.items():
        assert case["situation"] == name
        passed = case["outcome"]["completion"]["status"] == 0
        within = name.startswith("at ")
        assert passed or not within
        assert (case["rules"]["LIMITS"]["verdict"] == "violated") == (passed != within)


def test_an_nvme_copy_differs_in_nothing_else(compared: Compared) -> None:
    # Some versions of QEMU abort, some call every failure an Internal Error, and those which do not
    # tell media errors from others, which a file system does not (docs/findings.md): there is
    # nothing else in which an NVMe Copy may differ.
    for difference in compared.document["differences"]:
        assert difference["path"] == "nvme-copy"
        if difference["rule"] == "LIMITS":  # older ones know no MCL
            assert difference["situation"] == "above mcl"
            continue
        assert (difference["rule"], re.split("[:,]", difference["here"]["evidence"])[0]) in {
            ("NO-HANG", "QEMU was killed by signal 6"),
            ("ERROR-CLASS", "the caller is told ENODATA"),
            ("ERROR-CLASS", "the caller is told status 0x6"),
        }
        assert difference["known"] is None


def test_every_misnamed_error_is_a_difference(compared: Compared) -> None:
    right = {"read eio": 0x281, "write eio": 0x280}
    misnamed = {
        case["situation"]
        for cell, case in compared.cells.items()
        if cell[0] == "nvme-copy" and cell[2] == "eio" and case["outcome"]["completion"]
        if case["outcome"]["completion"]["status"] != right[case["situation"]]
    }
    assert misnamed <= {each["situation"] for each in compared.differences("ERROR-CLASS")}


def test_differences_are_told_proposed_as_quirks_and_kept(lab: Lab, compared: Compared) -> None:
    document = compared.document
    new = len(document["differences"])
    assert compared.status == (1 if new else 0)
    directory = lab.state / "lab/runs" / document["run"]
    proposed = quirks.load(directory / "quirks.yaml")
    assert len(proposed) == new
    assert all(quirk.device == document["device"] for quirk in proposed)
    # Each path is a run of its own, whose cases can be looked up and replayed.
    for column in document["paths"]:
        run = json.loads((lab.state / "lab/runs" / column["run"] / "run.json").read_text())
        assert run["path"] == column["path"]
        assert sum(column["verdicts"].values()) == len(run["cases"])
    assert json.loads((directory / "run.json").read_text()) == document


def test_conformance_takes_no_running_guest(lab: Lab) -> None:
    done = lab("run", "nvme-copy", "conformance", "--on", "any", status=2)
    assert "boots guests of its own" in done.stderr
