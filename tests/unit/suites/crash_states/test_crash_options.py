# SPDX-License-Identifier: GPL-2.0-or-later
"""The arguments of crash-states, and how fast it says that it is."""

import pytest

from lab.errors import ProfileError, UsageError
from lab.profile.load import load
from lab.suites.arguments import Help
from lab.suites.crash_states.fs.kinds import KINDS
from lab.suites.crash_states.fs.run import disks_for
from lab.suites.crash_states.options import parse
from lab.suites.crash_states.pace import StatePace


def test_what_is_asked_for_is_what_is_told() -> None:
    asked = parse(["--seed", "7", "--losses", "3", "--no-tears", "--size", "1M", "--fua"])
    said = asked.document()
    assert (said["seed"], said["losses"], said["tears"], said["size"]) == (7, 3, False, 1 << 20)
    assert asked.fua
    assert asked.copies.seed == asked.plan.seed == 7
    # Drawn, and told, so that it can be repeated.
    assert parse([]).plan.seed != parse([]).plan.seed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--workload", "none"], "no workload none"),
        (["--plant", "none"], "no defect 'none'"),
        (["--losses", "-1"], "--losses must be"),
        (["--size", "much"], "--size"),
    ],
)
def test_what_does_not_exist_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse(words)


def test_a_profile_with_too_few_disks_is_refused() -> None:
    one, pair = load("virtio-scsi"), load("virtio-scsi-pair")
    assert [disk.node for disk in disks_for(pair, KINDS.values())] == [
        "/dev/lab/LABSCSI0", "/dev/lab/LABSCSI1",
    ]  # fmt: skip
    assert len(disks_for(one, [KINDS["btrfs"]])) == 1
    with pytest.raises(ProfileError, match="btrfs-raid1 needs 2 virtio-scsi disks"):
        disks_for(one, [KINDS["btrfs"], KINDS["btrfs-raid1"]])
    with pytest.raises(ProfileError, match="ext4 needs a virtio-scsi disk"):
        disks_for(load("nvme-copy"), [KINDS["ext4"]])
    uneven = load("virtio-scsi-pair", ["devices[0].block_size=4096"])
    with pytest.raises(ProfileError, match="disks of one block_size"):
        disks_for(uneven, [KINDS["btrfs-raid1"]])


def test_a_disk_under_dm_reorder_is_one_for_file_systems_on_one_disk() -> None:
    late = "{name: late, type: dm-reorder, over: LABSCSI0}"
    pair = load("virtio-scsi-pair", [f"layers=[{late}]"])
    assert len(disks_for(pair, [KINDS["ext4"]])) == 2
    with pytest.raises(ProfileError, match="btrfs-raid1 needs 2 virtio-scsi disks"):
        disks_for(pair, [KINDS["btrfs-raid1"]])
    mounted = f"layers=[{late}, {{name: top, type: ext4, over: late}}]"
    with pytest.raises(ProfileError, match="ext4 needs a virtio-scsi disk"):
        disks_for(load("virtio-scsi", [mounted]), [KINDS["ext4"]])


def test_a_file_system_on_dm_reorder_is_made_and_mounted_there() -> None:
    kind, node = KINDS["ext4"], "/dev/lab/LABSCSI0"
    place = kind.place([node], "late")
    assert (place["node"], place["disks"]) == ("/dev/mapper/late", [node])
    assert place["assemble"][-1] == f"0 {64 << 11} reorder {node}"
    assemble, make = kind.made([node], "late")
    assert assemble == place["assemble"]
    assert make[-1] == place["node"]


def test_the_plants_are_listed() -> None:
    with pytest.raises(Help, match=r"drop-flush +DURABLE +flushes do nothing"):
        parse(["--plant", "help"])


def test_pace_is_told_every_two_seconds_with_the_time_left() -> None:
    now = 0.0
    said: list[str] = []
    pace = StatePace(said.append, lambda: now)
    pace.begin("epoch-1", 40_000)
    for number in range(0, 40_001, 1000):
        now = number / 4000
        pace.reach(number)
    assert said[0] == "epoch-1: 8000 of 40000 states, 4000 a second, 8 s left"
    assert len(said) == 5
