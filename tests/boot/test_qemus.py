# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU of another suite, from its packages: copies fail in it as they do in the host's."""

import json

import pytest

from tests.boot.conftest import Lab

# Debian 13's backports: their Release file outlives sid's, and the setting copes with both.
PACKAGE = "qemu-system-x86/trixie-backports"
DEADLINE = 900.0
"""Seconds; 60 MB are fetched where the cache has not got them."""

POINTS, ACTIONS = ("write:1", "written:1", "write:2"), ("resume", "eio", "torn")


@pytest.fixture(scope="module")
def lab11(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The lab with a QEMU called `q11`, of a mirror that may lag behind."""
    config = tmp_path_factory.mktemp("config")
    (config / "lab").mkdir()
    (config / "lab/config.yaml").write_text("debian:\n  accept_expired: true\n")
    other = Lab(lab.state, lab.env | {"XDG_CONFIG_HOME": str(config)})
    said = other("qemu", "add", "q11", "--package", PACKAGE, deadline=DEADLINE).stdout
    assert said.startswith(f"q11: {PACKAGE}, QEMU ")
    return other


def test_a_qemu_from_packages_is_listed_with_its_version(lab11: Lab) -> None:
    (found,) = (
        one for one in json.loads(lab11("qemu", "list", "--json").stdout) if one["name"] == "q11"
    )
    assert found["source"] == PACKAGE
    assert int(found["version"].partition(".")[0]) >= 11
    assert found["built"][0]["size"] > 50e6


def test_copies_are_interrupted_in_qemu_11_and_its_trace_stands_on_the_timeline(
    lab11: Lab,
) -> None:
    done = lab11(
        "run", "nvme-copy", "copy-faults", "--qemu", "q11", "--json", "--",
        "--points", ",".join(POINTS), "--actions", ",".join(ACTIONS),
    )  # fmt: skip
    document = json.loads(done.stdout)
    # The rehearsal first; `written` can only be resumed; everything was offloaded, and holds.
    assert document["qemu"].startswith("11.")
    assert len(document["cases"]) == 8
    assert {case["verdict"] for case in document["cases"]} == {"holds"}
    assert all(case["rules"]["OFFLOADED"]["verdict"] == "holds" for case in document["cases"])
    run = lab11.state / "lab/runs" / document["run"]
    events = [json.loads(line) for line in (run / "timeline.jsonl").read_text().splitlines()]
    traced = [event for event in events if event["source"] == "trace"]
    assert sum(event["event"] == "copy" for event in traced) >= len(document["cases"])
    assert {"copy", "copy_source_range", "copy_out"} <= {event["event"] for event in traced}
    # On the clock of the others, whose last is the verdict on the last case.
    others = [event["t"] for event in events if event["source"] != "trace"]
    assert all(min(others) < event["t"] < max(others) for event in traced)

    # The store knows which QEMU that was.
    exported = json.loads(lab11("results", "export", document["run"]).stdout)
    assert {test["environment"]["misc"]["qemu"] for test in exported["tests"]} == {"q11"}
