# SPDX-License-Identifier: GPL-2.0-or-later
"""guest-scripts/agent/arrival.py: which disks are there, in a /sys and a /dev made up for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.agent import load


class Guest:
    """A guest's /sys, /dev and /run, as far as arrival.py looks at them."""

    def __init__(self, root: Path, module: Any) -> None:
        self.root = root
        self.arrival = module
        for name in ("sys", "dev", "udev/data"):
            (root / name).mkdir(parents=True)
        module.BLOCK, module.LINKS = str(root / "sys/class/block"), str(root / "dev/lab")
        module.WANTED = str(root / "disks")
        module.UDEV, module.QUEUE = str(root / "udev/data"), str(root / "udev/queue")
        module.SYS = str(root / "sys")
        (root / "sys/class/block").mkdir(parents=True)

    def wants(self, *rows: str) -> None:
        """The disks of the profile: name, number of controllers, other name."""
        (self.root / "disks").write_text("".join(f"{row}\n" for row in rows))

    def write(self, path: str, text: str) -> None:
        """A file below /sys."""
        file = self.root / "sys" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="latin-1")

    def disk(self, node: str, number: str | None, handled: bool = True, **files: str) -> None:
        """A disk or a partition; without a number of its own it is a hidden path."""
        for name, text in files.items():
            self.write(f"class/block/{node}/{name.replace('__', '/')}", text)
        (self.root / "sys/class/block" / node).mkdir(exist_ok=True)
        if number:
            self.write(f"class/block/{node}/dev", f"{number}\n")
            if handled:
                (self.root / "udev/data" / f"b{number}").touch()

    def nvme(self, node: str, number: str | None, serial: str, nsid: str, **more: bool) -> None:
        """A namespace; the controller pads its serial with blanks."""
        files = {"device__serial": f"{serial:<20}\n", "nsid": f"{nsid}\n"}
        self.disk(node, number, **more, **files)  # type: ignore[arg-type]

    def complete(self) -> bool:
        """Whether every disk is there."""
        return bool(self.arrival._complete(self.arrival._wanted()))

    def links(self) -> dict[str, str]:
        """Where what is in /dev/lab leads."""
        self.arrival.link()
        return {path.name: str(path.readlink()) for path in (self.root / "dev/lab").iterdir()}


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    """One without any disk."""
    return Guest(tmp_path, load("arrival"))


def test_a_profile_without_disks_waits_for_none(guest: Guest) -> None:
    guest.wants()
    assert guest.complete()
    assert guest.links() == {}


def test_disks_of_each_driver_are_called_as_in_the_profile(guest: Guest) -> None:
    guest.wants("N:2 1 LABNVME0-2", "V 1 V", "S 1 S")
    guest.nvme("nvme3n1", "259:1", "N", "2")
    guest.disk("vdb", "254:16", serial="V")
    # SPC-4, 7.8.15: four bytes, then the serial; not UTF-8 all of it.
    guest.disk("sda", "8:0", device__vpd_pg80="\x00\x80\x00\x04S  \n")
    guest.disk("loop0", "7:0")
    assert guest.complete()
    assert guest.links() == {
        "N:2": "/dev/nvme3n1", "LABNVME0-2": "/dev/nvme3n1", "V": "/dev/vdb", "S": "/dev/sda",
    }  # fmt: skip


def test_one_that_is_missing_is_waited_for(guest: Guest) -> None:
    guest.wants("N:1 1 N-1", "N:2 1 N-2")
    guest.nvme("nvme0n1", "259:0", "N", "1")
    assert not guest.complete()
    guest.nvme("nvme0n2", "259:1", "N", "2")
    assert guest.complete()


def test_a_serial_that_begins_like_another_one_is_not_taken_for_it(guest: Guest) -> None:
    guest.wants("AB:1 1 AB-1")
    guest.nvme("nvme0n1", "259:0", "A", "1")
    guest.nvme("nvme1n1", "259:1", "AB", "11")
    assert not guest.complete()


def test_disks_that_udev_has_not_handled_are_waited_for_also_those_of_others(guest: Guest) -> None:
    guest.wants("V 1 V")
    guest.disk("vda", "254:0", serial="V")
    guest.disk("vdb1", "254:17", handled=False)
    assert not guest.complete()
    (guest.root / "udev/data/b254:17").touch()
    assert guest.complete()
    (guest.root / "udev/queue").touch()
    assert not guest.complete()


def test_every_controller_of_a_shared_namespace_is_waited_for(guest: Guest) -> None:
    guest.wants("N:1 2 N-1")
    guest.nvme("nvme0n1", "259:0", "N", "1")
    guest.nvme("nvme0c0n1", None, "N", "1")
    assert not guest.complete()
    guest.nvme("nvme0c1n1", None, "N", "1")
    assert guest.complete()
    assert guest.links()["N:1"] == "/dev/nvme0n1"


def test_without_multipath_each_path_is_a_disk(guest: Guest) -> None:
    guest.wants("N:1 2 N-1")
    guest.nvme("nvme0n1", "259:0", "N", "1")
    assert not guest.complete()
    guest.nvme("nvme1n1", "259:1", "N", "1")
    assert guest.complete()


def test_links_of_a_former_boot_lead_where_the_disk_is_now(guest: Guest) -> None:
    guest.wants("V 1 other")
    guest.disk("vda", "254:0", serial="V")
    links = guest.root / "dev/lab"
    links.mkdir()
    for name in ("V", "other"):
        (links / name).symlink_to("/dev/vdz")
    assert guest.links() == {"V": "/dev/vda", "other": "/dev/vda"}


def test_udevd_is_told_again_of_what_it_has_no_record_of(guest: Guest) -> None:
    guest.disk("vda", "254:0", serial="V")
    guest.disk("vdb", "254:16", handled=False, uevent="")
    guest.disk("vda1", None, uevent="")
    guest.arrival._tell_udevd_again()
    told = [path.parent.name for path in guest.root.glob("sys/class/block/*/uevent")
            if path.read_text() == "add"]  # fmt: skip
    assert told == ["vdb"]


@pytest.mark.parametrize(
    ("files", "refused"),
    [
        ({"bus/virtio/devices/virtio3/device": "0x0002"}, True),
        # Its driver has it, or tries it.
        ({"bus/virtio/devices/virtio3/device": "0x0002",
          "bus/virtio/devices/virtio3/driver/x": ""}, False),
        # A network card.
        ({"bus/virtio/devices/virtio3/device": "0x0001"}, False),
        ({"bus/pci/devices/0000:01:00.0/class": "0x010802\n", "bus/pci/drivers/nvme/x": ""}, True),
        ({"bus/pci/devices/0000:01:00.0/class": "0x010802\n", "bus/pci/drivers/nvme/x": "",
          "bus/pci/devices/0000:01:00.0/driver/x": ""}, False),
        # The driver is not there yet.
        ({"bus/pci/devices/0000:01:00.0/class": "0x010802\n"}, False),
        ({"bus/pci/devices/0000:01:00.0/class": "0x060400\n", "bus/pci/drivers/nvme/x": ""}, False),
    ],
)  # fmt: skip
def test_a_disk_without_a_driver_that_is_there_was_refused(
    guest: Guest, files: dict[str, str], refused: bool
) -> None:
    for path, text in files.items():
        guest.write(path, text)
    assert guest.arrival._a_disk_was_refused() is refused


class Clock:
    """Time that passes when somebody sleeps, and what happens then."""

    def __init__(self, happens: Callable[[float], None] = lambda _: None) -> None:
        self.now = 0.0
        self._happens = happens

    def monotonic(self) -> float:
        """Seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self._happens(self.now)


def test_a_disk_that_was_refused_ends_the_wait_once_that_is_sure(guest: Guest) -> None:
    guest.wants("V 1 V")
    guest.write("bus/virtio/devices/virtio3/device", "0x0002")
    guest.arrival.time = clock = Clock()
    assert guest.arrival.wait() is False
    assert 1.0 < clock.now < 1.1


def test_a_disk_that_never_comes_ends_the_wait_later(guest: Guest) -> None:
    guest.wants("V 1 V", "W 1 W")
    guest.arrival.time = clock = Clock()
    assert guest.arrival.wait() is False
    assert 32.0 < clock.now < 32.1


def test_a_guest_that_is_slow_waits_for_longer(guest: Guest) -> None:
    """Each look takes ten times as long there, and so does whatever brings the disk."""
    guest.wants("V 1 V")
    clock = Clock()

    def come(now: float) -> None:
        clock.now += 0.18
        if now > 200:
            guest.disk("vda", "254:0", serial="V")

    clock._happens = come
    guest.arrival.time = clock
    assert guest.arrival.wait() is True
    assert 200 < clock.now < 201


def test_a_controller_of_a_slow_guest_is_waited_for(guest: Guest) -> None:
    for bus in ("0000:00", "0000:01"):
        guest.write(f"class/pci_bus/{bus}/rescan", "")
    guest.write("bus/pci/devices/0000:01:00.0/class", "0x010802\n")
    clock = Clock()

    def probe(now: float) -> None:
        clock.now += 0.045
        if now > 100:
            (guest.root / "sys/class/nvme/nvme0").mkdir(parents=True, exist_ok=True)

    clock._happens = probe
    guest.arrival.time = clock
    guest.arrival.rescan(1)
    assert 100 < clock.now < 101


def test_a_disk_that_comes_late_is_there(guest: Guest) -> None:
    guest.wants("V 1 V")

    def come(now: float) -> None:
        if now > 25:
            guest.disk("vda", "254:0", serial="V")

    guest.arrival.time = clock = Clock(come)
    assert guest.arrival.wait() is True
    assert 25.0 < clock.now < 25.1


def test_ports_are_looked_behind_in_order_and_one_controller_at_a_time(guest: Guest) -> None:
    for bus in ("0000:02", "0000:01", "0000:03", "0000:04", "0000:00"):
        guest.write(f"class/pci_bus/{bus}/rescan", "")
    for number, kind in (("01", "0x010802"), ("02", "0x010802"), ("03", "0x010000")):
        guest.write(f"bus/pci/devices/0000:{number}:00.0/class", f"{kind}\n")
    rescanned: list[list[str]] = []

    def probe(_: float) -> None:
        """Drivers take their time; then the controllers that were looked for are there."""
        done = [path.parent.name for path in sorted(guest.root.glob("sys/class/pci_bus/*/rescan"))
                if path.read_text() == "1"]  # fmt: skip
        rescanned.append(done)
        for bus in done:
            number = int(bus.partition(":")[2]) - 1
            (guest.root / f"sys/class/nvme/nvme{number}").mkdir(parents=True, exist_ok=True)

    guest.arrival.time = Clock(probe)
    guest.arrival.rescan(3)
    # The second one is looked for once the first has its number, and nobody waits for a disk that
    # is no controller; nothing was plugged into the root bus, and the last port.
    assert rescanned == [["0000:01"], ["0000:01", "0000:02"]]
    done = {path.parent.name: path.read_text() for path in guest.root.glob("sys/class/pci_bus/*/*")}
    assert done == {"0000:00": "", "0000:01": "1", "0000:02": "1", "0000:03": "1", "0000:04": ""}
