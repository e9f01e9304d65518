# SPDX-License-Identifier: GPL-2.0-or-later
"""What Debian's kernels do not have, on a kernel of the lab's own configuration that LAB_OWN_KERNEL
names: layers, and errors of the guest's block layer.  It takes sources of Linux 7.2 or later."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.boot.conftest import Lab, apart, capability, steps, verified

KERNEL = os.environ.get("LAB_OWN_KERNEL", "")

pytestmark = pytest.mark.skipif(not KERNEL, reason="LAB_OWN_KERNEL names no kernel")

LAYERS = f"""\
description: layers that Debian's kernels do not have
kernel: {KERNEL}
machine: {{memory: 2G}}
guest: {{kernel_args: ["memmap=512M!1G"]}}
devices:
- {{type: nvme, serial: FREE, namespaces: [{{size: 16M}}]}}
- type: nvme
  serial: D
  namespaces:
  - {{size: 400M}}
  - {{size: 64M}}
  - {{size: 16M}}
  - {{size: 16M}}
  - {{size: 16M}}
  - {{size: 16M}}
layers:
- {{name: host, type: xfs, over: "D:1"}}
- name: zones
  type: zloop
  over: host
  size: 24M
  zoned: {{zone_size: 4M, zone_capacity: 3M, conventional: 1, max_open: 3}}
  discard_write_cache: true
- {{name: buffered, type: zloop, over: host, size: 128M, zoned: {{zone_size: 4M}}, buffered: true}}
- {{name: files, type: zonefs, over: buffered}}
- {{name: cached, type: dm-pcache, over: "D:2", data_crc: true}}
- {{name: dusty, type: dm-dust, over: "D:3", bad_blocks: [8, 9]}}
- {{name: cloned, type: dm-clone, over: "D:4", destination: "D:5", metadata: "D:6"}}
"""
WRITE = "dd if=/dev/urandom of=/dev/lab/zones bs=4096 count=1 oflag=direct status=none seek={}{}"
"""One block at a place, in blocks of 4096 bytes."""
SECOND_ZONE = (4 << 20) // 4096


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The profile of LAYERS."""
    path = tmp_path_factory.mktemp("profile") / "own.yaml"
    path.write_text(LAYERS)
    return path


@pytest.fixture(scope="module")
def own(lab: Lab, profile: Path) -> Iterator[dict[str, Any]]:
    """A guest with LAYERS: what `lab up --json` says."""
    before = lab.leftovers()
    yield json.loads(lab("up", str(profile), "--json", deadline=900).stdout)
    lab("down", "own")
    assert lab.leftovers() == before


def test_layers_that_debians_kernels_lack(lab: Lab, own: dict[str, Any]) -> None:
    assert {part["status"] for part in own["stack"]} == {"up"}
    for part in own["stack"]:
        assert all(each["made"] == each["asked"] for each in part["properties"]), part
    assert "cache_mode writeback" in capability(own, "cached", "table")["said"]
    found = verified(lab, "own")
    assert set(found) >= {"zones", "files", "cached", "cloned"}
    assert set(found.values()) == {"holds"}, found


def test_they_go_down_and_come_back(lab: Lab, own: dict[str, Any]) -> None:
    done = lab("ssh", "own", "--", "layers down --json && layers up --json").stdout
    told = [step["status"] for step in steps(done) if step["event"] == "layer"]
    assert sorted(set(told)) == ["down", "up"]
    assert set(verified(lab, "own").values()) == {"holds"}


def test_zloop_loses_what_was_not_flushed_when_it_is_taken_down(
    lab: Lab, own: dict[str, Any]
) -> None:
    def write(block: int, how: str = "") -> None:
        lab("ssh", "own", "--", WRITE.format(SECOND_ZONE + block, how))

    def written() -> int:
        """Blocks up to the write pointer of the second zone."""
        where = SECOND_ZONE * 8
        line = lab("ssh", "own", "--", f"blkzone report -o {where} -c 1 /dev/lab/zones").stdout
        return int(line.split("wptr ")[1].split()[0], 16) // 8

    lab("ssh", "own", "--", f"blkzone reset -o {SECOND_ZONE * 8} -c 1 /dev/lab/zones")
    write(0, " conv=fsync")
    write(1)
    assert written() == 2
    lab("ssh", "own", "--", "layers down && layers up")
    assert written() == 1


def test_zones_in_files_outlast_a_guest_that_was_killed(lab: Lab, profile: Path) -> None:
    args = ["--points", "write:1", "--actions", "kill", "--blocks", "16"]
    run = json.loads(lab("run", str(profile), "copy-faults", "--json", "--", *args).stdout)
    events = steps((lab.state / "lab/runs" / run["run"] / "timeline.jsonl").read_text())
    (reboot,) = (index for index, event in enumerate(events) if event["event"] == "reboot")
    after = {event["name"]: event for event in events[reboot:] if event["event"] == "layer"}
    assert {name: after[name]["status"] for name in ("zones", "files")} == {
        "zones": "up", "files": "up",
    }  # fmt: skip


def test_errors_of_the_guests_own_block_layer(lab: Lab) -> None:
    args = ["--actions", "blk-error", "--points", "read:1,write:1"]
    done = lab("run", "dm-kcopyd", "copy-faults", "--json", "--kernel", KERNEL, "--", *args)
    run = apart(json.loads(done.stdout))
    assert run["lacking"] == {} and run["verdicts"] == {"holds": 2}
    disturbed = {case["outcome"]["disturbed"] for case in run["cases"]}
    assert disturbed == {"the block layer failed what it was told to"}
    timeline = (lab.state / "lab/runs" / run["run"] / "timeline.jsonl").read_text()
    assert "injecting I/O error for" in timeline


def test_each_allocation_of_a_copy_fails_once(lab: Lab) -> None:
    args = ["--actions", "failslab,fail-page-alloc", "--ranges", "1", "--blocks", "8"]
    done = lab("run", "loop-xfs-reflink", "copy-faults", "--json", "--kernel", KERNEL, "--", *args)
    run = json.loads(done.stdout)
    first, *cases = run["cases"]
    assert first["name"] == "rehearsal" and set(run["verdicts"]) == {"holds"}
    # One after the other, and none for which no allocation failed.
    slabs = [case["name"] for case in cases if case["action"] == "failslab"]
    assert len(slabs) >= 3
    assert slabs == [f"failslab {nth}" for nth in range(1, len(slabs) + 1)]
    for case in cases:
        assert "allocation of the copying task failed" in case["outcome"]["disturbed"]
    events = steps((lab.state / "lab/runs" / run["run"] / "timeline.jsonl").read_text())
    struck = [event["struck"] for event in events if "struck" in event]
    # The last of each kind found none any more.
    assert struck.count(True) == len(cases) and struck.count(False) in (1, 2)
    again = lab("replay", f"{run['run']}:failslab 2", "--json", deadline=600)
    assert json.loads(again.stdout)["cases"][0]["name"] == "failslab 2"
