# SPDX-License-Identifier: GPL-2.0-or-later
"""Crash states of copies that a guest makes: none is wrong, and where FUA is ignored it is seen."""

import json

from tests.boot.conftest import Lab


def test_copies_leave_nothing_that_the_contract_forbids(lab: Lab) -> None:
    done = lab("run", "nvme-copy", "crash-states", "--json", "--", "--seed", "1", "--size", "1M")
    run = json.loads(done.stdout)
    assert {case["status"] for case in run["cases"]} == {"pass"}
    assert run["states"]["judged"] > 500
    assert run["states"]["checked"] >= len(run["cases"])
    # A copy is as many writes as it has ranges; the flushes between are in the log.
    operations = json.loads((lab.state / "lab/runs" / run["run"] / "operations.json").read_text())
    ranges = sum(len(each["sources"]) for each in operations["operations"])
    assert sum(row["volatile"] for row in run["coverage"]) == ranges
    assert len(run["coverage"]) == 1 + sum(each["flushed"] for each in operations["operations"])
    # The same log as a device would have made it whose flushes do nothing; no guest is booted.
    again = lab(
        "run", "nvme-copy", "crash-states", "--json", "--",
        "--seed", "1", "--recording", run["run"], "--plant", "drop-flush", status=1,
    )  # fmt: skip
    planted = json.loads(again.stdout)
    assert planted["boot"] is None
    (failure,) = planted["failures"]
    assert failure["rules"] == ["DURABLE"]
    assert len(failure["operations"]) == 1
    replayed = lab("replay", planted["run"], "--times", "3")
    assert "3 of 3 came to the same" in replayed.stdout
