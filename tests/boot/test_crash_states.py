# SPDX-License-Identifier: GPL-2.0-or-later
"""Crash states of copies and of file systems in a guest: what is good passes, defects are found.

LAB_CRASH_STATES=1 plants each defect, and one below all file systems, those over two disks too.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lab.suites.crash_states.fs.kinds import KINDS, SINGLE
from lab.suites.crash_states.fs.plants import FS_PLANTS
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


def ace(lab: Lab, *words: str, status: int, changes: tuple[str, ...] = ()) -> dict[str, Any]:
    """The JSON of a run on file systems, with changes to the profile."""
    changed = [word for change in changes for word in ("--set", change)]
    asked = ["--workload", "ace", "--seed", "1", *words]
    done = lab(
        "run", "virtio-scsi", "crash-states", *changed, "--json", "--", *asked, status=status,
        deadline=1800,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_an_fsync_that_does_nothing_is_found(lab: Lab) -> None:
    wanted = ("--fs", "ext4", "--losses", "0", "--plant", "no-fsync")
    run = ace(lab, *wanted, "--only", "creat-new/fsync,creat-new/nothing", status=1)
    assert [(case["name"], case["status"]) for case in run["cases"]] == [
        ("creat-new/fsync", "fail"), ("creat-new/nothing", "pass"),
    ]  # fmt: skip
    (failure,) = run["failures"]
    assert failure["rules"] == ["SYNCED"]
    assert "after fsync new: new: missing" in failure["evidence"][0]
    assert failure["loss"]["lost"] == []
    # A guest that does not come up is no state that has changed.
    kept = lab.state / "lab/runs" / run["run"] / "profile.json"
    profile = json.loads(kept.read_text())
    profile["guest"] |= {"boot": "cold", "boot_deadline": "1s"}
    kept.write_text(json.dumps(profile))
    assert "not ready within" in lab("replay", run["run"], status=3).stderr


MINE = """
workloads:
  - name: rename-over
    setup: [{creat: foo}, {write: {path: foo, length: 8K}}]
    steps:
      - creat: new
      - write: {path: new, length: 4K, fill: x}
      - mkdir: aside
      - fsync: new
      - rename: {path: new, to: foo}
      - fsync: .
  - name: command
    steps: [{run: "mkdir a && echo x >a/b && mv a c && sync"}]
"""


def test_two_guests_judge_workloads_of_a_file_and_a_run_is_gone_on_with(
    lab: Lab, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text(MINE)
    wanted = ["--workload", str(tmp_path / "mine.yaml"), "--fs", "ext4", "--losses", "0"]
    done = lab("run", "virtio-scsi", "crash-states", "--json", "--", *wanted, "--shards", "2")
    run = json.loads(done.stdout)
    assert {case["name"]: case["status"] for case in run["cases"]} == {
        "rename-over": "pass", "command": "pass",
    }  # fmt: skip
    states = run["states"]
    assert states["enumerated"] > states["judged"] > 5
    assert states["distinct"] > states["judged"]
    # As if it had been killed while it judged the last one.
    kept = lab.state / "lab/runs" / run["run"] / "judged.jsonl"
    lines = kept.read_text().splitlines(keepends=True)
    kept.write_text("".join(lines[:2]) + lines[2][:40])
    again = lab("run", "virtio-scsi", "crash-states", "--json", "--", "--resume", run["run"])
    resumed = json.loads(again.stdout)
    assert {case["name"] for case in resumed["cases"]} == {"rename-over", "command"}
    first = json.loads(lines[1])["case"]
    assert resumed["cases"][0]["seconds"] == first["seconds"]


def test_a_failing_sequence_loses_the_steps_that_do_not_matter(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(MINE)
    done = lab(
        "run", "virtio-scsi", "crash-states", "--json", "--", "--workload",
        str(tmp_path / "mine.yaml"), "--only", "rename-over", "--fs", "ext4", "--losses", "0",
        "--plant", "no-fsync", status=1, deadline=1800,
    )  # fmt: skip
    run = json.loads(done.stdout)
    failure = run["failures"][0]
    assert failure["rules"] == ["SYNCED"]
    # Without the directory that has nothing to do with it.
    assert 3 not in failure["operations"]
    assert failure["log"]["entries"]
    said = lab("replay", f"{run['run']}:{failure['number']}", "--times", "3", deadline=900).stdout
    assert "3 of 3 came to the same" in said


def test_file_systems_do_what_the_model_says(lab: Lab) -> None:
    done = lab(
        "run", "virtio-scsi", "crash-states", "--json", "--", "--workload", "model",
        "--sequences", "50", "--fs", "ext4,btrfs", "--seed", "3", deadline=900,
    )  # fmt: skip
    run = json.loads(done.stdout)
    assert [(case["section"], case["status"]) for case in run["cases"]] == [
        ("ext4", "pass"), ("btrfs", "pass"),
    ]  # fmt: skip


PAIR = """
workloads:
  - name: append
    setup: [{creat: foo}, {write: {path: foo, length: 8K, fill: a}}]
    steps: [{write: {path: foo, at: 8K, length: 8K, fill: b}}, {fsync: foo}]
"""


def over_two_disks(lab: Lab, place: Path, kind: str, *words: str, status: int) -> dict[str, Any]:
    """The JSON of a run on a file system over two disks."""
    (place / "pair.yaml").write_text(PAIR)
    wanted = ("--workload", str(place / "pair.yaml"), "--fs", kind, "--losses", "0", *words)
    done = lab(
        "run", "virtio-scsi-pair", "crash-states", "--json", "--", *wanted, status=status,
        deadline=1800,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_flush_that_covers_one_disk_of_two_is_found(lab: Lab, tmp_path: Path) -> None:
    good = over_two_disks(lab, tmp_path, "btrfs-raid0", status=0)
    assert good["states"]["distinct"] > good["states"]["judged"] > 5
    bad = over_two_disks(lab, tmp_path, "btrfs-raid0", "--plant", "one-flush", status=1)
    failure = bad["failures"][0]
    assert len(failure["operations"]) <= 2
    assert len(failure["loss"]["lost"]) == 1
    said = lab("replay", f"{bad['run']}:{failure['number']}", "--times", "3", deadline=900).stdout
    assert "3 of 3 came to the same" in said


LONG = pytest.mark.skipif(
    not os.environ.get("LAB_CRASH_STATES"), reason="LAB_CRASH_STATES is not set"
)


# On raid0 of md ext4 is hit by a defect of the kernel: docs/findings.md.
@LONG
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - set(SINGLE) - {"ext4-md-raid0"}))
def test_file_systems_over_two_disks_pass(lab: Lab, tmp_path: Path, kind: str) -> None:
    good = over_two_disks(lab, tmp_path, kind, status=0)
    assert [case["status"] for case in good["cases"]] == ["pass"]
    assert good["states"]["judged"] > 10


PLANTED = {
    "drop-flush": ("ext4", "creat-new/fsync"),
    "drop-fua": ("ext4", "creat-new/fsync"),
    "late-write": ("ext4", "creat-new/fsync"),
    "early-write": ("ext4", "creat-new/fsync", "--tears"),
    "lost-write": ("ext4", "creat-new/fsync"),
    "torn-write": ("ext4", "creat-new/fsync"),
    "write-through": ("xfs", "creat-new/fsync"),
    "nobarrier": ("ext4", "creat-new/fsync"),
    "no-fsync": ("ext4", "creat-new/fsync"),
    "no-directory-fsync": ("ext4", "rename-foo-new/fsync-directory"),
    "no-sync": ("ext4", "rename-foo-new/sync"),
    "half-rename": ("btrfs", "rename-foo-A_new/fsync"),
    "clone-size": ("xfs", "clone-append/fsync"),
    "copy-end": ("ext4", "copy-append/fsync"),
}
"""Where each defect is planted; `one-flush` takes two disks."""


@LONG
@pytest.mark.parametrize("plant", sorted(FS_PLANTS.keys() - {"one-flush"}))
def test_each_planted_defect_is_found_made_small_and_replayed(lab: Lab, plant: str) -> None:
    kind, only, *more = PLANTED[plant]
    bad = ace(lab, "--fs", kind, "--only", only, "--plant", plant, *more, status=1)
    failure = bad["failures"][0]
    assert len(failure["operations"]) <= 2
    assert len(failure["loss"]["lost"] + failure["loss"]["torn"]) <= 1
    number = failure["number"]
    said = lab("replay", f"{bad['run']}:{number}", "--times", "20", deadline=900).stdout
    assert "20 of 20 came to the same" in said


REORDER = "layers=[{name: late, type: dm-reorder, over: LABSCSI0}]"


@LONG
@pytest.mark.parametrize(
    ("kind", "rule"),
    [("ext4", "SYNCED"), ("xfs", "SYNCED"), ("btrfs", "MOUNTS"), ("f2fs", "SYNCED")],
)
def test_a_disk_that_writes_behind_its_flushes_is_found(lab: Lab, kind: str, rule: str) -> None:
    bad = ace(
        lab, "--fs", kind, "--losses", "0", "--only", "creat-new/fsync", status=1,
        changes=(REORDER,),
    )  # fmt: skip
    failure = bad["failures"][0]
    assert failure["rules"] == [rule]
    assert len(failure["operations"]) <= 2
    assert failure["loss"]["lost"] == []
    number = failure["number"]
    said = lab("replay", f"{bad['run']}:{number}", "--times", "20", deadline=900).stdout
    assert "20 of 20 came to the same" in said


@LONG
@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "f2fs"])
def test_good_file_systems_pass_and_flushes_that_do_nothing_are_found(lab: Lab, kind: str) -> None:
    wanted = ("--fs", kind, "--only", "write-append/fsync,rename-foo-bar/sync")
    good = ace(lab, *wanted, status=0)
    assert {case["status"] for case in good["cases"]} == {"pass"}
    assert good["states"]["judged"] > 10
    bad = ace(lab, *wanted, "--plant", "drop-flush", status=1)
    assert {rule for failure in bad["failures"] for rule in failure["rules"]} & {
        "SYNCED", "MOUNTS", "CHECKS", "WHOLE", "USABLE", "READS",
    }  # fmt: skip
    number = bad["failures"][0]["number"]
    said = lab("replay", f"{bad['run']}:{number}", "--times", "20", deadline=900).stdout
    assert "20 of 20 came to the same" in said
