# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite conformance: an NVMe Copy beside the reference model, each in a guest of its own."""

import json
import re
from typing import Any

from lab.copy.contract import RULES
from lab.suites.conformance import quirks
from tests.boot.conftest import Lab


def test_an_nvme_copy_is_compared_with_the_reference(lab: Lab) -> None:
    done = lab(
        "run", "nvme-copy", "conformance", "--json", "--",
        "--actions", "resume,eio,size", "--ranges", "2", status=None, deadline=900,
    )  # fmt: skip
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["error"] is None
    assert [(each["path"], each["profile"], each["on"]) for each in document["paths"]] == [
        ("loop-reflink", "loop-xfs-reflink", "model"), ("nvme-copy", "nvme-copy", "LABNVME0:1"),
    ]  # fmt: skip
    assert all(each["not_supported"] is None for each in document["paths"])
    sizes = {
        case["name"]: case for case in document["cases"] if case["action"] == "size"
    }  # fmt: skip
    assert list(sizes) == [
        "at mssrl", "above mssrl", "at mcl", "above mcl", "at msrc", "above msrc",
    ]  # fmt: skip
    for name, case in sizes.items():
        assert case["situation"] == name
        status = case["outcome"]["completion"]["status"]
        assert status == 0 if name.startswith("at ") else True
        assert (case["rules"]["LIMITS"]["verdict"] == "violated") == (
            (status == 0) != name.startswith("at ")
        )
    cases = {
        (case["path"], case["point"], case["action"]): case
        for case in document["cases"]
        if case["action"] != "size"
    }
    assert {("loop-reflink", "write:1", "eio"), ("nvme-copy", "read:2", "resume")} <= cases.keys()
    assert len([cell for cell in cases if cell[0] == "nvme-copy"]) == 11
    for case in cases.values():
        assert case["rules"].keys() == RULES.keys()
        assert case["situation"] == f"{case['point'].partition(':')[0]} {case['action']}"

    # Some versions of QEMU abort, some call every failure an Internal Error, and those which do not
    # tell media errors from others, which a file system does not (docs/findings.md): there is
    # nothing else in which an NVMe Copy may differ.
    for difference in document["differences"]:
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
    right = {"read eio": 0x281, "write eio": 0x280}
    misnamed = {
        case["situation"]
        for cell, case in cases.items()
        if cell[0] == "nvme-copy" and cell[2] == "eio" and case["outcome"]["completion"]
        if case["outcome"]["completion"]["status"] != right[case["situation"]]
    }
    assert misnamed <= {
        each["situation"] for each in document["differences"] if each["rule"] == "ERROR-CLASS"
    }
    new = len(document["differences"])
    assert done.returncode == (1 if new else 0)
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
