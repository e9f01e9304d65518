# SPDX-License-Identifier: GPL-2.0-or-later
"""The arrival of the profile's disks: waited for until udev has handled each, and linked."""

import os
import time

SECONDS_TO_WAIT = 30
SECONDS_TO_CONFIRM = 1
"""that a driver does not want a disk"""
TURN = 0.02
"""Seconds between two looks.  These are what is counted, and not the clock: each takes as much
longer as this guest is slower, and whatever is waited for does too."""
TURNS_TO_TELL_AGAIN = 100
SHORT_TURN = 0.005
"""The same, where nothing else can be done meanwhile."""

PCI_NVME = "0x010802"
VIRTIO_BLOCK = "0x0002"
"""Virtual I/O Device 1.2, 5: device types."""

WANTED, LINKS = "/run/lab/disks", "/dev/lab"
SYS, BLOCK = "/sys", "/sys/class/block"
UDEV, QUEUE = "/run/udev/data", "/run/udev/queue"


def rescan(ports):
    """Have the kernel look behind the first root ports, one after the other, for what was plugged
    there; NVMe controllers, which drivers probe beside each other, are then numbered in that
    order."""
    for bus in sorted(os.listdir(f"{SYS}/class/pci_bus"))[1 : ports + 1]:
        path = f"{SYS}/class/pci_bus/{bus}"
        before = len(_nvme_controllers())
        _write(f"{path}/rescan", "1")
        devices = [f"{SYS}/bus/pci/devices/{bus}:00.0"]
        if any(_read(f"{device}/class") == PCI_NVME for device in devices):
            for _ in range(round(SECONDS_TO_WAIT / SHORT_TURN)):
                if len(_nvme_controllers()) != before or _refused_pci():
                    break
                time.sleep(SHORT_TURN)


def wait():
    """Wait until every disk of the profile is there, or some never will be; whether all are."""
    wanted = _wanted()
    # A second more for each disk: udev goes through hundreds.
    at_most = (SECONDS_TO_WAIT + len(wanted)) / TURN + 1
    refusals = turns = 0
    while not _complete(wanted):
        turns += 1
        idle = not os.path.exists(QUEUE)
        if idle and turns % TURNS_TO_TELL_AGAIN == 0:
            _tell_udevd_again()
        refusals = refusals + 1 if idle and _a_disk_was_refused() else 0
        if refusals * TURN > SECONDS_TO_CONFIRM or turns > at_most:
            return False
        time.sleep(TURN)
    return True


def link():
    """Let /dev/lab/NAME lead to each disk that is there, by both of its names.  Where layers are
    brought up, that is done there."""
    os.makedirs(LINKS, exist_ok=True)
    nodes = {name: node for name, node in _look()[0] if node}
    for name, _, alias in _wanted():
        if name in nodes:
            for path in {f"{LINKS}/{name}", f"{LINKS}/{alias}"}:
                if os.path.islink(path):
                    os.unlink(path)
                os.symlink(nodes[name], path)


def _wanted():
    """The disks of the profile: name, number of controllers, other name."""
    with open(WANTED) as file:
        rows = [line.split() for line in file]
    return [(name, int(controllers), alias) for name, controllers, alias in rows]


def _complete(wanted):
    """Whether every disk is there, through every controller it has, and udevd has handled every
    disk.

    udevd's file `queue` is there for as long as it has work; that alone would look empty before it
    has read its first event, so its record of each disk is looked for.
    """
    if os.path.exists(QUEUE):
        return False
    seen, handled = _look()
    disks = [name for name, node in seen if node]
    paths = [name for name, node in seen if not node]
    return handled and all(
        # Without multipath each path is a disk of its own.
        _count(name, disks) and max(_count(name, paths), _count(name, disks)) >= controllers
        for name, controllers, _ in wanted
    )


def _count(wanted, names):
    """How many are the disk of that name, or namespaces of a device with that serial."""
    return sum(name == wanted or name.startswith(f"{wanted}:") for name in names)


def _look():
    """All disks as the profile has them, SERIAL or SERIAL:NSID, with their nodes; None for a hidden
    disk that is one path to a multipath namespace.  And whether udevd has handled each disk and
    partition."""
    seen, handled = [], True
    for disk in os.listdir(BLOCK):
        number = _read(f"{BLOCK}/{disk}/dev")
        if number and not os.path.exists(f"{UDEV}/b{number}"):
            handled = False
        seen.append((_name(disk), f"/dev/{disk}" if number else None))
    return seen, handled


def _name(disk):
    """What a profile calls a disk; '' for what is none."""
    path = f"{BLOCK}/{disk}"
    if disk.startswith("nvme"):
        serial, nsid = _read(f"{path}/device/serial"), _read(f"{path}/nsid")
        return f"{serial}:{nsid}" if nsid else serial
    if disk.startswith("vd"):
        return _read(f"{path}/serial")
    if disk.startswith("sd"):
        # Vital Product Data page 80h: four bytes, then the serial (SPC-4, 7.8.15).
        return _read(f"{path}/device/vpd_pg80", "latin-1")[4:].strip()
    return ""


def _tell_udevd_again():
    """udevd is told again of each disk that it has no record of: with systemd 262 the events of
    disks that appear while it starts were lost."""
    for disk in os.listdir(BLOCK):
        number = _read(f"{BLOCK}/{disk}/dev")
        if number and not os.path.exists(f"{UDEV}/b{number}"):
            _write(f"{BLOCK}/{disk}/uevent", "add")


def _a_disk_was_refused():
    """Whether a disk has no driver although the driver is there.  While a driver tries a device,
    that has it as its own; so what has none, for SECONDS_TO_CONFIRM, was refused: one with blocks
    that it cannot take for instance."""
    virtio = f"{SYS}/bus/virtio/devices"
    for device in os.listdir(virtio) if os.path.isdir(virtio) else ():
        path = f"{virtio}/{device}"
        if _read(f"{path}/device") == VIRTIO_BLOCK and not os.path.exists(f"{path}/driver"):
            return True
    return _refused_pci()


def _refused_pci():
    if not os.path.isdir(f"{SYS}/bus/pci/drivers/nvme"):
        return False
    devices = [f"{SYS}/bus/pci/devices/{name}" for name in os.listdir(f"{SYS}/bus/pci/devices")]
    return any(
        _read(f"{path}/class") == PCI_NVME and not os.path.exists(f"{path}/driver")
        for path in devices
    )


def _nvme_controllers():
    path = f"{SYS}/class/nvme"
    return os.listdir(path) if os.path.isdir(path) else []


def _read(path, encoding="utf-8"):
    """The content of a file, without blanks at its end; '' if it cannot be read."""
    try:
        with open(path, encoding=encoding, errors="replace") as file:
            return file.read().rstrip()
    except OSError:
        return ""


def _write(path, text):
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError:
        return
