# SPDX-License-Identifier: GPL-2.0-or-later
"""cryptsetup's own test scripts, where LAB_CRYPTSETUP_TREE names a built tree."""

import json
import os

import pytest

from tests.boot.conftest import Lab

NAMES = "00modules-test verity-compat-test integrity-compat-test compat-test-opal"


@pytest.mark.skipif(
    "LAB_CRYPTSETUP_TREE" not in os.environ, reason="LAB_CRYPTSETUP_TREE is not set"
)
def test_a_real_tree_gives_what_its_scripts_give_by_hand(lab: Lab) -> None:
    names = os.environ.get("LAB_CRYPTSETUP", NAMES).split()
    done = lab(
        "run", "nvme-copy", "cryptsetup", "--tree", os.environ["LAB_CRYPTSETUP_TREE"], "--json",
        "--set", "machine.memory=2G", "--", "--keep", *names,
        status=None, deadline=7200,
    )  # fmt: skip
    run = json.loads(done.stdout)
    assert run["error"] is None
    for found in run["cases"]:
        print(f"{found['name']} {found['status']} {found['seconds']:.1f} s {found['reason']}")
    ours = {case["name"]: case["status"] for case in run["cases"]}
    guest = f"run-{run['run']}"
    words = {0: "pass", 77: "notrun"}
    for name in names:
        script = f"cd /run/lab/suite/tree/tests && LD_LIBRARY_PATH=$PWD/../.libs ./{name}"
        hand = lab("ssh", guest, "--", script, status=None, deadline=3600).returncode
        assert ours[name] == words.get(hand, "fail"), name
    lab("down", guest)
