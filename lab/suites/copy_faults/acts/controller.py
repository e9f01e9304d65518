# SPDX-License-Identifier: GPL-2.0-or-later
"""What is done to the controller under a held copy: it is reset, or removed."""

import time
from functools import partial
from typing import TYPE_CHECKING

from lab.errors import GuestError
from lab.host.patience import Patience
from lab.suites.copy_faults.failures import DeviceFailure
from lab.vm.graph import Drive

if TYPE_CHECKING:
    from lab.suites.copy_faults.bench import Bench

_TELLING = 2.0
"""Seconds that QEMU may take to tell that a device is gone."""

# The serial in sysfs is padded with blanks; the write returns when the reset is complete.
_RESET = """found=
for controller in /sys/class/nvme/nvme*
do
    grep -q "^$1 *$" "$controller/serial" || continue
    echo 1 >"$controller/reset_controller" || exit
    found=yes
done
[ "$found" ] || { echo "no controller has the serial $1" >&2; exit 1; }"""


def reset(bench: "Bench", deadline: float) -> None:
    """Have the guest reset the controller, and wait for the end of that.

    Raises DeviceFailure when it does not end well in `deadline` seconds.
    """
    try:
        bench.sh(_RESET, bench.drive.serial, deadline=deadline)
    except GuestError as error:
        if bench.guest.machine.crash():
            raise
        why = error.detail or f"not within {deadline:.0f} s"
        raise DeviceFailure(f"the reset of the controller did not end well: {why}") from error


def unplug(bench: "Bench") -> None:
    """Ask the guest to let the controller go; QEMU removes it when the guest has."""
    bench.guest.machine.execute("device_del", {"id": _id(bench.drive)})


def await_unplugged(bench: "Bench", deadline: float) -> None:
    """Wait until the controller is gone.  Raises DeviceFailure if that takes longer."""
    controller = _id(bench.drive)
    patience = Patience(bench.guest.machine.process, deadline)
    while any(child["name"] == controller for child in _devices(bench)):
        if patience.over():
            raise DeviceFailure(f"the controller was not gone {patience} after its unplug")
        time.sleep(0.02)
    # QEMU tells of it a moment after it is gone from the list, to whoever still listens.
    end = time.monotonic() + _TELLING
    told = partial(bench.run.qemu_said, "DEVICE_DELETED", device=controller)
    while time.monotonic() < end and not told():
        time.sleep(0.02)


def _id(drive: Drive) -> str:
    """The id of the controller that has the drive (lab/vm/devices.py)."""
    return drive.id.partition("n")[0]


def _devices(bench: "Bench") -> list[dict[str, str]]:
    found: list[dict[str, str]] = bench.guest.machine.execute(
        "qom-list", {"path": "/machine/peripheral"}
    )
    return found
