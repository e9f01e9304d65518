# SPDX-License-Identifier: GPL-2.0-or-later
"""blktests' check, driven: with a small suite of our own that speaks its language, and with a real
tree where LAB_BLKTESTS_TREE names one."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.boot.conftest import Lab, case, kept

FIXTURE = Path(__file__).parents[1] / "fixtures/blktests"
DEADLINE = 900
"""Seconds for a run; a busy host is slow."""


@pytest.fixture(scope="module")
def whole(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run of all tests, in the image that others use: some pass, fail, decline, and one hangs."""
    settings = tmp_path_factory.mktemp("blktests") / "config"
    settings.write_text('ASKED="a setting"\nTEST_DEVS=(/dev/null)\n')
    done = lab(
        "run", "nvme-copy", "blktests", "--tree", str(FIXTURE), "--json", "--",
        "--image", "trixie", "--config", str(settings), "-q", "7", "--deadline", "0.3",
        status=1, deadline=DEADLINE,
    )  # fmt: skip
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_every_test_has_its_result_whatever_the_others_did(whole: dict[str, Any]) -> None:
    assert whole["error"] is None
    assert {case["name"]: case["status"] for case in whole["cases"]} == {
        "block/001": "pass",
        "block/002": "pass",
        "block/003": "fail",
        "block/004": "notrun",
        "block/005": "hung",
        "block/006": "pass",
        "loop/001": "notrun",
        "loop/002": "notrun",
        "zbd/001": "notrun",
    }


def test_a_failing_run_is_named_and_the_evidence_of_all_runs_is_kept(
    lab: Lab, whole: dict[str, Any]
) -> None:
    failed = case(whole, "block/003")
    place = "cases/block-003"
    assert failed["reason"] == "tr=tcp: output mismatch"
    assert "+something else" in failed["output"]
    runs = [f"nodev_tr_{name}.full" for name in ("loop", "rdma", "tcp")]
    assert failed["files"] == sorted(
        f"{place}/{name}" for name in ("dmesg", "output", "nodev_tr_tcp.out.bad", *runs)
    )
    assert kept(lab, whole, f"{place}/nodev_tr_rdma.full") == "all that was done over tr=rdma\n"
    assert "lab fixture: 003 was here" in kept(lab, whole, f"{place}/dmesg")


def test_what_was_not_run_says_why(whole: dict[str, Any]) -> None:
    assert {case["name"]: case["reason"] for case in whole["cases"] if case["reason"]} == {
        "block/003": case(whole, "block/003")["reason"],
        "block/004": "nvme0n1: /dev/nvme0n1 does not support discard; command blkdiscard is not "
        "available",
        "block/005": case(whole, "block/005")["reason"],
        "loop/001": "driver loop is not available",
        "loop/002": "driver loop is not available",
        "zbd/001": "nvme0n1: /dev/nvme0n1 is not a zoned block device",
    }


def test_a_hung_test_is_found_within_its_deadline_and_the_run_goes_on(
    lab: Lab, whole: dict[str, Any]
) -> None:
    hung = case(whole, "block/005")
    assert 0.3 * whole["speed"] <= hung["seconds"] < 0.3 * whole["speed"] + 10
    place = "cases/block-005"
    assert kept(lab, whole, f"{place}/nvme0n1.full") == "it is frozen\n"
    assert kept(lab, whole, f"{place}/nvme0n1.out") == "before it hung\n"
    assert "task:touch" in kept(lab, whole, f"{place}/console").partition("Show State")[0]


NAMES = ("block/002 block/006 block/009 block/011 loop/002 loop/004 md/003 meta/005 meta/014 "
         "meta/017 nvme/003 nvme/005 nvme/010 nvme/039 zbd/002")  # fmt: skip


SECONDS = "2"
"""What a test takes that can be timed."""


def by_hand(lab: Lab, guest: str, names: list[str]) -> dict[str, str]:
    """What ./check comes to in a guest that was kept: of each test the worst of its runs."""
    said = lab(
        "ssh", guest, "--",
        "cd /run/lab/suite/tree && rm -rf /run/lab/suite/results && "
        f"./check -c /run/lab/suite/config -q{SECONDS} {' '.join(names)}",
        status=None, deadline=3600,
    ).stdout.splitlines()  # fmt: skip
    found: dict[str, str] = {}
    for mark, word in (("[not run]", "notrun"), ("[passed]", "pass"), ("[failed]", "fail")):
        found |= {line.split()[0]: word for line in said if line.endswith(mark)}
    return {name: word for name, word in found.items() if name in names}


@pytest.mark.skipif("LAB_BLKTESTS_TREE" not in os.environ, reason="LAB_BLKTESTS_TREE is not set")
def test_a_real_tree_gives_what_check_gives_by_hand(lab: Lab) -> None:
    names = os.environ.get("LAB_BLKTESTS", NAMES).split()
    done = lab(
        "run", "nvme-copy", "blktests", "--tree", os.environ["LAB_BLKTESTS_TREE"], "--json",
        "--set", "machine.memory=2G", "--", "--keep", "-q", SECONDS, *names,
        status=None, deadline=3600,
    )  # fmt: skip
    run = json.loads(done.stdout)
    assert run["error"] is None
    ours = {case["name"]: case["status"] for case in run["cases"]}
    assert sorted(ours) == sorted(names)
    for found in run["cases"]:
        print(f"{found['name']} {found['status']} {found['seconds']:.1f} s {found['reason']}")
    guest = f"run-{run['run']}"
    hand = by_hand(lab, guest, names)
    # What check says nothing of by hand, since there is no device for it, the lab calls not run.
    silent = {name: "notrun" for name in names if name not in hand}
    assert ours == hand | silent
    lab("down", guest)
