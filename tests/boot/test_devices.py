# SPDX-License-Identifier: GPL-2.0-or-later
"""Every kind of device, and each of their properties, as the guest sees it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.boot.conftest import Lab, booted, capability, verified

DEVICES = """\
description: every property of the devices that QEMU emulates
devices:
- type: nvme
  serial: SHARED
  required: false
  controllers: 2
  mdts: 5
  fdp: {handles: 3, reclaim_groups: 2}
  atomic: {awun: 8, awupf: 4}
  namespaces:
  - {size: 16M, write_cache: false}
  - {size: 16M, nsid: 9, write_cache: false}
- type: nvme
  serial: SUMS
  namespaces:
  - {size: 16M, metadata: 8, pi: 1}
  - {size: 16M, metadata: 16, pi: 2, pi_first: true, guard: 64}
  - {size: 16M, metadata: 8, pi: 3}
  - {size: 16M, metadata: 8, extended: true}
- type: nvme
  serial: ZONES
  namespaces:
  - size: 64M
    block_size: 4096
    copy: {mssrl: 9, mcl: 99, msrc: 5}
    zoned:
      zone_size: 8M
      zone_capacity: 6M
      max_open: 3
      max_active: 5
      zrwa: {size: 64K, flush_granularity: 16K, resources: 4}
- {type: nvme, serial: NONE, namespaces: [{size: 16M, copy: none}, {size: 16M, block_size: 2048}]}
- {type: virtio-blk, serial: BLK, size: 16M, block_size: 4096}
- type: virtio-blk
  serial: BARE
  size: 16M
  discard: false
  write_cache: false
  scheduler: mq-deadline
- {type: virtio-scsi, serial: SSD, size: 16M}
- type: virtio-scsi
  serial: a-serial-of-thirty-six-characters.xx
  size: 16M
  block_size: 4096
  rotational: true
  discard: false
  write_cache: false
"""


@pytest.fixture(scope="module")
def devices(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A guest with DEVICES."""
    yield from booted(lab, tmp_path_factory.mktemp("profile"), "devices", DEVICES)


def test_every_device_can_be_written_read_and_copied(lab: Lab, devices: dict[str, Any]) -> None:
    found = verified(lab, "devices")
    # Linux has no block device for metadata at the end of each block.
    assert found.pop("SUMS:4") == "not verified"
    assert len(found) == 12 and set(found.values()) == {"holds"}


def test_disks_are_as_the_profile_says(lab: Lab, devices: dict[str, Any]) -> None:
    at = {part["name"]: part["devices"][""].removeprefix("/dev/") for part in devices["stack"]}
    for name, queue in (
        ("BLK", "4096 write back"),
        ("BARE", "512 write through"),
        ("SSD", "512 write back 0"),
        ("a-serial-of-thirty-six-characters.xx", "4096 write through 1"),
    ):
        read = f"cd /sys/block/{at[name]}/queue; cat logical_block_size write_cache rotational"
        assert " ".join(lab("ssh", "devices", "--", read).stdout.split()).startswith(queue)
        discards = name in ("BLK", "SSD")
        assert capability(devices, name, "discard")["supported"] is discards


def test_namespaces_are_as_the_profile_says(lab: Lab, devices: dict[str, Any]) -> None:
    limits = capability(devices, "ZONES:1", "NVMe Copy limits")["said"]
    assert limits.endswith("MSSRL 9 and MCL 99 blocks, MSRC 5 ranges")
    zones = capability(devices, "ZONES:1", "zones")["said"]
    assert zones == ("host-managed, 8 zones of 8192 KiB, max_open_zones 3, max_active_zones 5")
    for name, kind in (("1", "T10-DIF-TYPE1-CRC"), ("2", "CRC64"), ("3", "T10-DIF-TYPE3-CRC")):
        assert capability(devices, f"SUMS:{name}", "integrity")["said"].endswith(kind)
        assert capability(devices, f"SUMS:{name}", "NVMe Copy")["supported"] is True
    identified = lab("ssh", "devices", "--", "nvme zns id-ns /dev/lab/ZONES:1 -o json").stdout
    window = json.loads(identified)
    assert (window["numzrwa"], window["zrwafg"], window["zrwasz"]) == (4, 4, 16)
    caches = [
        lab("ssh", "devices", "--", f"nvme get-feature /dev/lab/{name} -f 6").stdout
        for name in ("SHARED:1", "SUMS:1")
    ]
    assert [int(said.rpartition(":")[2], 16) for said in caches] == [0, 1]


def test_a_namespace_that_no_copy_fits_refuses_even_one_block(devices: dict[str, Any]) -> None:
    said = capability(devices, "NONE:1", "NVMe Copy limits")["said"]
    assert said.endswith("MSSRL 0 and MCL 0 blocks, MSRC 1 ranges")
    refused = capability(devices, "NONE:1", "NVMe Copy")
    assert refused["supported"] is False and "status" in refused["said"]
    assert capability(devices, "NONE:2", "NVMe Copy")["supported"] is True


def test_what_was_asked_of_each_device_is_what_the_guest_has(devices: dict[str, Any]) -> None:
    for part in devices["stack"]:
        assert len(part["properties"]) > 3
        assert all(each["made"] == each["asked"] for each in part["properties"]), part


LARGE = """\
description: a disk with blocks that are larger than a page
devices:
- {type: virtio-blk, serial: LARGE, size: 16M, block_size: 16384}
"""


def test_blocks_that_the_kernel_does_not_take_end_the_boot_at_once(
    lab: Lab, tmp_path: Path
) -> None:
    path = tmp_path / "large.yaml"
    path.write_text(LARGE)
    done = lab("up", str(path), status=None)
    if done.returncode == 0:  # a kernel that takes them
        assert verified(lab, "large") == {"LARGE": "holds"}
        lab("down", "large")
        return
    assert done.returncode == 3
    assert "disk LARGE: not supported: virtio-blk disk LARGE: not there" in done.stderr
    assert "block_size of at most 4096" in " ".join(done.stderr.split())
    assert "kernel: virtio_blk virtio" in done.stderr


def test_a_namespace_is_shared_by_both_controllers(lab: Lab, devices: dict[str, Any]) -> None:
    paths = lab(
        "ssh", "devices", "--", "nvme list-subsys $(realpath /dev/lab/SHARED:9) -o json"
    ).stdout
    assert paths.count('"live"') == 2


def test_what_this_qemu_lacks_is_told_and_what_it_has_is_there(
    lab: Lab, devices: dict[str, Any]
) -> None:
    lacks = {
        row["capability"]: row["said"] for row in devices["capabilities"] if row["of"] == "SHARED"
    }
    assert all("has no -device" in said for said in lacks.values())
    identified = lab("ssh", "devices", "--", "nvme id-ctrl /dev/lab/SHARED:1 -o json").stdout
    controller = json.loads(identified)
    assert controller["mdts"] == 5
    atomic = (controller["awun"], controller["awupf"])
    assert atomic == ((0, 0) if "atomic" in lacks else (7, 3))
    # NVMe Base 2.1, Figure 312: CTRATT bit 19
    assert bool(controller["ctratt"] >> 19 & 1) is ("fdp" not in lacks)
