# SPDX-License-Identifier: GPL-2.0-or-later
"""Checkpoints of a machine: its state written to a file, read back by another QEMU, and devices
plugged into that before it runs.

QEMU's migration, on one host and through files: the state of the devices goes into one, the memory
is another, which QEMU maps, or goes into the first as well.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.errors import HostError
from lab.vm.machine import PLUGGED, Machine
from lab.vm.qmp import QmpTimeout

_MAPPED = "x-ignore-shared"
"""The migration capability that leaves memory out which is a shared file (qapi/migration.json)."""
_FILE = "checkpoint"
"""The name under which QEMU knows the state's file."""
WAYS = ("fd", "file")
"""How QEMU is told of it."""
_SILENT = "/machine"
"""A handler that does nothing when a device is plugged into a bus: the guest is not told."""


def can_map(machine: Machine) -> bool:
    """Whether this QEMU can leave a memory that is a file out of the state; tried."""
    try:
        _capability(machine)
    except HostError:
        return False
    return True


def save(machine: Machine, state: Path, *, mapped: bool, deadline: float) -> str:
    """Stop the machine and write its state to a file; `mapped`: without its memory.  Returns by
    which of WAYS.

    Raises HostError with QEMU's words, and OSError where there is no room.
    """
    machine.execute("stop")
    if mapped:
        _capability(machine)
    # As fast as it goes: there is no network that others need.
    machine.execute("migrate-set-parameters", {"max-bandwidth": 1 << 40})
    with state.open("wb") as file:
        way = _begin(machine, file.fileno())
        _await(machine, deadline)
    return way


def _begin(machine: Machine, fd: int) -> str:
    """Have the state written to an open file, by the first of WAYS that QEMU takes: of 11.1, `fd:`
    takes no files, and of 7.2, nothing else does in the sandbox."""
    said = []
    for way in WAYS:
        try:
            machine.execute("migrate", {"uri": _uri(machine, way, fd)})
            return way
        except HostError as error:
            said.append(error.message)
    raise HostError(f"QEMU writes its state to no file: {'; '.join(said)}")


def _uri(machine: Machine, way: str, fd: int) -> str:
    """Give QEMU an open file; how migration calls it."""
    if way == "fd":
        machine.qmp.give(fd, "getfd", {"fdname": _FILE})
        return f"fd:{_FILE}"
    number = machine.qmp.give(fd, "add-fd")["fdset-id"]
    return f"file:/dev/fdset/{number}"


def load(machine: Machine, state: Path, way: str, *, mapped: bool, deadline: float) -> None:
    """Read the state back in a machine that was started for that (argv.restoring), in the way in
    which it was written; it stays stopped.  Raises HostError with QEMU's words."""
    if mapped:
        _capability(machine)
    # It has not moved on a network: nobody needs to be told where it is now.
    machine.execute("migrate-set-parameters", {"announce-rounds": 0})
    with state.open("rb") as file:
        machine.execute("migrate-incoming", {"uri": _uri(machine, way, file.fileno())})
        _await(machine, deadline)


def plug(machine: Machine, nodes: Sequence[dict[str, Any]], devices: Sequence[str]) -> None:
    """Add block nodes, and plug devices, each as -device takes it.

    The guest learns of them when it looks at its buses: were it told of each, several would be
    probed beside each other, and numbered as it comes.  What was plugged is written down beside the
    command line, which has none of it.  Raises HostError with QEMU's words.
    """
    given = {"blockdev-add": list(nodes), "device_add": list(devices)}
    (machine.directory / PLUGGED).write_text(json.dumps(given, indent=1))
    for node in nodes:
        machine.execute("blockdev-add", node)
    for device in devices:
        words = dict(word.partition("=")[::2] for word in device.split(",")[1:])
        with _silently(machine, words.get("bus", "")):
            # It takes the words of -device as they are, which QMP's does not.
            machine.order(f"device_add {device}")


@contextmanager
def _silently(machine: Machine, bus: str) -> Iterator[None]:
    """Have nobody told of what is plugged into a bus.

    For a namespace it is the only way: the bus of an NVMe controller takes none while QEMU runs
    ("does not support hotplugging"), unless it has a handler, which need not do anything.  A SCSI
    bus needs its own.
    """
    if not bus or bus.endswith(".0"):
        yield
        return
    where = {"path": f"/machine/peripheral/{bus}/{bus}", "property": "hotplug-handler"}
    before = machine.execute("qom-get", where)
    machine.execute("qom-set", {**where, "value": _SILENT})
    yield
    machine.execute("qom-set", {**where, "value": before})


def _capability(machine: Machine) -> None:
    wanted = {"capability": _MAPPED, "state": True}
    machine.execute("migrate-set-capabilities", {"capabilities": [wanted]})
    found = machine.execute("query-migrate-capabilities")
    if wanted not in found:
        raise HostError(f"QEMU did not set {_MAPPED}: {found}")


def _await(machine: Machine, deadline: float) -> None:
    end = time.monotonic() + deadline
    while True:
        answer = machine.execute("query-migrate")
        match answer.get("status"):
            case "completed":
                return
            case "failed" | "cancelled":
                why = answer.get("error-desc", "it does not say why")
                raise HostError(
                    f"QEMU's migration {answer['status']}: {why}", detail=machine.said()
                )
        if time.monotonic() > end:
            raise QmpTimeout(f"QEMU's migration did not end within {deadline:.0f} s: {answer}")
        time.sleep(0.002)
