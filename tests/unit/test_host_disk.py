# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices of the host: given away only if they are the right ones and free."""

import json
from pathlib import Path

import pytest

from lab.errors import HostError
from lab.profile.hostdev import HostBlock, HostNvme
from lab.vm.given import pci
from lab.vm.given.disk import check_block, refusals
from lab.vm.given.pci import check_nvme

DISK = HostBlock(type="host-block", serial="S1", overwrite="S1", path="/dev/disk/by-id/x")
ADDRESS = "0000:01:00.0"
NVME = HostNvme(type="host-nvme", serial="N1", overwrite="N1", address=ADDRESS)


def put(path: Path, text: str = "") -> None:
    """A file with what is above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """The root of a host with one free disk, sdx (8:16) with partition sdx1 (8:17)."""
    disk = tmp_path / "sys/devices/pci/block/sdx"
    for name, text in (
        ("dev", "8:16\n"), ("ro", "0\n"), ("queue/logical_block_size", "512\n"),
        ("device/serial", "S1   \n"), ("sdx1/partition", "1\n"), ("sdx1/dev", "8:17\n"),
    ):  # fmt: skip
        put(disk / name, text)
    numbers = tmp_path / "sys/dev/block"
    numbers.mkdir(parents=True)
    (numbers / "8:16").symlink_to(disk)
    (numbers / "8:17").symlink_to(disk / "sdx1")
    put(tmp_path / "proc/self/mountinfo", "20 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n")
    put(tmp_path / "proc/swaps", "Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n")
    return tmp_path


def sdx(host: Path) -> Path:
    return host / "sys/devices/pci/block/sdx"


def reasons(host: Path, number: str = "8:16") -> list[str]:
    return [*refusals(DISK, number, host)]


def test_a_free_disk_with_the_right_serial_is_given(host: Path) -> None:
    assert reasons(host) == []


def test_udev_may_know_the_serial_where_the_driver_does_not(host: Path) -> None:
    (sdx(host) / "device/serial").unlink()
    assert reasons(host) == ["the profile says serial S1, the host says none"]
    put(
        host / "run/udev/data/b8:16", "S:disk/by-id/x\nE:ID_SERIAL=Maker_S1\nE:ID_SERIAL_SHORT=S1\n"
    )
    assert reasons(host) == []


def test_another_disk_at_that_path_is_refused(host: Path) -> None:
    put(sdx(host) / "device/serial", "S10\n")
    assert reasons(host) == ["the profile says serial S1, the host says S10"]


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("proc/self/mountinfo", "9 1 8:16 / /a rw - xfs /dev/sdx rw", "/dev/sdx is mounted on /a"),
        (
            "proc/1/mountinfo",
            "9 1 8:17 / /a\\040b rw - xfs /dev/q rw",
            "/dev/sdx1 is mounted on /a b",
        ),
        # btrfs has a number of its own
        ("proc/1/mountinfo", "9 1 0:44 / /b rw - btrfs /dev/sdx1 rw", "/dev/sdx1 is mounted on /b"),
        ("proc/swaps", "Filename\n/dev/sdx1 partition 8 0 -2\n", "/dev/sdx1 is swap space"),
        ("sys/devices/pci/block/sdx/ro", "1\n", "it is read-only"),
        (
            "sys/devices/pci/block/sdx/queue/logical_block_size",
            "4096\n",
            "the profile says blocks of 512 bytes, the host 4096",
        ),
        (
            "sys/devices/pci/block/sdx/sdx1/holders/dm-0/dm/name",
            "vg-root\n",
            "/dev/sdx1 is held by dm-0 (vg-root): device mapper, RAID or bcache",
        ),
        (
            "sys/devices/pci/block/sdx/holders/md0/dev",
            "9:0\n",
            "/dev/sdx is held by md0 (md0): device mapper, RAID or bcache",
        ),
    ],
)
def test_a_disk_in_use_is_refused(host: Path, file: str, text: str, said: str) -> None:
    put(host / file, text)
    assert reasons(host) == [said]


def test_a_partition_is_refused(host: Path) -> None:
    assert reasons(host, "8:17") == ["it is a partition; expected the whole disk, sdx"]


@pytest.mark.parametrize("path", ["/dev/null", "/dev/no-such-disk"])
def test_what_is_no_block_device_is_refused(path: str) -> None:
    with pytest.raises(HostError, match=path):
        check_block(DISK.model_copy(update={"path": path}))


@pytest.fixture
def slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a host whose nvme driver has the controller, with one namespace."""
    monkeypatch.setattr(pci, "_memory", lambda: tmp_path / "memory.json")
    device = tmp_path / "sys/bus/pci/devices" / ADDRESS
    put(device / "class", "0x010802\n")
    put(device / "nvme/nvme3/serial", "N1      \n")
    put(tmp_path / "proc/sys/kernel/random/boot_id", "boot-1\n")
    put(tmp_path / "sys/devices/nvme3n1/dev", "259:0\n")
    (tmp_path / "sys/devices/nvme3n1/device").symlink_to(device / "nvme/nvme3")
    blocks = tmp_path / "sys/class/block"
    blocks.mkdir(parents=True)
    (blocks / "nvme3n1").symlink_to(tmp_path / "sys/devices/nvme3n1")
    bind(tmp_path, "nvme")
    return tmp_path


def bind(root: Path, driver: str) -> None:
    """Bind the controller to a driver."""
    path = root / "sys/bus/pci/drivers" / driver
    path.mkdir(parents=True, exist_ok=True)
    link = root / "sys/bus/pci/devices" / ADDRESS / "driver"
    link.unlink(missing_ok=True)
    link.symlink_to(path)


def test_a_controller_is_given_once_it_was_seen_and_then_bound_to_vfio(slot: Path) -> None:
    with pytest.raises(HostError, match="bind it to vfio-pci"):
        check_nvme(NVME, slot)
    bind(slot, "vfio-pci")
    with pytest.raises(HostError, match="IOMMU"):
        check_nvme(NVME, slot)
    put(slot / "sys/bus/pci/devices" / ADDRESS / "iommu_group/type", "DMA\n")
    check_nvme(NVME, slot)
    put(slot / "proc/sys/kernel/random/boot_id", "boot-2\n")
    with pytest.raises(HostError, match="has not seen it"):
        check_nvme(NVME, slot)


def test_a_controller_in_use_or_with_another_serial_is_neither_given_nor_remembered(
    slot: Path,
) -> None:
    put(slot / "proc/self/mountinfo", "9 1 259:0 / /home rw - ext4 /dev/nvme3n1 rw\n")
    with pytest.raises(HostError) as caught:
        check_nvme(NVME.model_copy(update={"serial": "N2"}), slot)
    assert caught.value.detail.splitlines() == [
        "the profile says serial N2, the host says N1",
        "/dev/nvme3n1 is mounted on /home",
    ]
    assert not (slot / "memory.json").exists()


def test_a_controller_seen_with_another_serial_is_refused(slot: Path) -> None:
    kept = {"boot": "boot-1", "serials": {ADDRESS: "OTHER"}}
    (slot / "memory.json").write_text(json.dumps(kept))
    bind(slot, "vfio-pci")
    with pytest.raises(HostError, match="it was OTHER when the lab saw it"):
        check_nvme(NVME, slot)


@pytest.mark.parametrize("driver", ["", "nvme-other"])
def test_a_controller_with_no_known_driver_is_refused(slot: Path, driver: str) -> None:
    bind(slot, driver or "gone")
    if not driver:
        (slot / "sys/bus/pci/devices" / ADDRESS / "driver").unlink()
    with pytest.raises(HostError, match=f"bound to {driver or 'no driver'}"):
        check_nvme(NVME, slot)


def test_what_is_no_nvme_controller_is_refused(slot: Path) -> None:
    put(slot / "sys/bus/pci/devices" / ADDRESS / "class", "0x030000\n")
    with pytest.raises(HostError, match="no NVMe controller"):
        check_nvme(NVME, slot)
