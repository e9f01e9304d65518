# SPDX-License-Identifier: GPL-2.0-or-later
"""Every profile that ships, on a real guest: it boots, its stack works, and nothing is left.

LAB_PROFILES_KERNEL=KERNEL has them boot on another kernel than Debian 13's, such as
linux-image-amd64/sid.
"""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import ROOT
from tests.boot.conftest import Lab, make_lab, steps, wait_for

SHIPPED = sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml"))

TWO_DISKS = """\
description: one disk to copy on, one with layers
devices:
- {type: nvme, serial: FREE, namespaces: [{size: 16M}]}
- {type: nvme, serial: USED, namespaces: [{size: 320M}]}
layers:
- {name: base, type: xfs, over: USED}
- {name: disk, type: loop, over: base, size: 32M, partitions: [16M]}
- {name: top, type: ext4, over: "disk:1"}
"""

WITH_DUST = """\
description: a layer that Debian's kernel does not have, and one above it
devices: [{type: nvme, serial: D, namespaces: [{size: 64M}]}]
layers:
- {name: dust, type: dm-dust, over: D, required: false}
- {name: fs, type: ext4, over: dust, required: false}
- {name: other, type: null-blk, size: 8M}
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    """Write a profile; returns its path."""

    def write(text: str) -> str:
        path = tmp_path / "stacked.yaml"
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.parametrize("name", SHIPPED)
def test_each_profile_boots_verifies_and_goes_down(lab: Lab, name: str) -> None:
    before = lab.leftovers()
    kernel = os.environ.get("LAB_PROFILES_KERNEL")
    on = ["--kernel", kernel] if kernel else []
    document = json.loads(lab("up", name, "--json", *on).stdout)
    stack = document["stack"] + (document["peer"]["stack"] if document["peer"] else [])
    assert [part for part in stack if part["status"] != "up"] == []
    assert {row["of"] for row in document["capabilities"]} == {
        part["name"] for part in document["stack"]
    }
    assert {setting["status"] for setting in document["settings"]} <= {"holds", "later"}
    # Down twice is down, and what was made is found again.
    said = lab(
        "ssh", name, "--", "layers verify --json && echo --- && layers down --json &&"
        " echo --- && layers down --json && layers up --json"
    ).stdout  # fmt: skip
    verified, down, again = map(steps, said.split("---\n"))
    assert verified and {step["status"] for step in verified} == {"holds"}, verified
    assert {step["status"] for step in down} <= {"down"}, down
    made = {step.get("status", "up") for step in again if step["event"] in ("disk", "layer")}
    assert made <= {"down", "up"}, again
    lab("down", name)
    assert lab.leftovers() == before


def test_layers_come_back_with_their_data_after_the_guest_was_killed(
    lab: Lab, write: Callable[[str], str]
) -> None:
    profile = write(TWO_DISKS)
    args = ["--points", "write:1", "--actions", "kill", "--blocks", "16"]
    done = lab("run", profile, "copy-faults", "--json", "--", *args)
    document = json.loads(done.stdout)
    assert {row["of"] for row in document["capabilities"]} == {
        "FREE:1", "USED:1", "base", "disk", "top",
    }  # fmt: skip
    timeline = lab.state / "lab/runs" / document["run"] / "timeline.jsonl"
    events = steps(timeline.read_text())
    reboots = [index for index, event in enumerate(events) if event["event"] == "reboot"]
    assert reboots
    after = [event for event in events[reboots[0] :] if event["event"] == "layer"]
    assert [(event["name"], event["status"]) for event in after[:3]] == [
        ("base", "up"), ("disk", "up"), ("top", "up"),
    ]  # fmt: skip


def test_copies_leave_disks_with_layers_alone(lab: Lab, write: Callable[[str], str]) -> None:
    profile = write(
        TWO_DISKS.replace("- {type: nvme, serial: FREE, namespaces: [{size: 16M}]}", "")
    )
    for on in ([], ["--layer", "USED"]):
        done = lab("run", profile, "copy-faults", "--", "--path", "nvme-copy", *on, status=2)
        assert "has no offload path nvme-copy" in done.stderr
        assert "without zones or layers" in done.stderr


def test_what_the_kernel_lacks_is_quoted_and_the_rest_goes_on(
    lab: Lab, write: Callable[[str], str]
) -> None:
    document = json.loads(lab("up", write(WITH_DUST), "--name", "dust", "--json").stdout)
    stack = {part["name"]: part for part in document["stack"]}
    assert stack["dust"]["status"] == "not supported"
    assert "dm_dust" in stack["dust"]["tried"] and "not found" in stack["dust"]["said"]
    assert stack["fs"]["status"] == "skipped" and "dust" in stack["fs"]["said"]
    assert stack["other"]["status"] == "up"
    rows = {row["of"]: row for row in document["capabilities"] if row["capability"] == "dm-dust"}
    assert rows["dust"]["supported"] is False
    lab("down", "dust")


def test_a_layer_that_is_required_stops_the_guest(lab: Lab, write: Callable[[str], str]) -> None:
    before = lab.leftovers()
    profile = write(WITH_DUST.replace(", required: false", ""))
    done = lab("up", profile, "--name", "dust", status=3)
    assert "dm-dust dust: not supported" in done.stderr
    assert "Module dm_dust not found" in done.stderr
    assert lab.leftovers() == before


def test_a_lab_killed_while_it_makes_layers_leaves_nothing_that_is_not_swept(lab: Lab) -> None:
    before = lab.leftovers()
    up = lab.start("up", "nvmet-tcp", "--name", "killed")
    assert up.stderr is not None
    for line in up.stderr:
        if "layer" in line:
            break
    up.send_signal(signal.SIGKILL)
    up.communicate()
    assert lab.leftovers() != before
    assert "killed" not in lab.ls()
    wait_for(lambda: lab.leftovers() == before, "the sweep")


def test_both_guests_of_a_pair_go_down_together(tmp_path: Path) -> None:
    lab = make_lab(tmp_path)
    lab("up", "nvmet-tcp", "--name", "pair")
    assert set(lab.ls()) == {"pair", "pair-peer"}
    lab("ssh", "pair", "--", "/run/lab/busybox", "ping", "-c", "1", "-W", "2", "peer")
    lab("ssh", "pair-peer", "--", "/run/lab/busybox", "ping", "-c", "1", "-W", "2", "peer")
    down = lab("down", "--all")
    assert "pair is down" in down.stdout
    assert lab.leftovers() == []
