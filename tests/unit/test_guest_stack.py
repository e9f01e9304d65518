# SPDX-License-Identifier: GPL-2.0-or-later
"""What the host tells the guest about its stack, and what it makes of the answers."""

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.errors import GuestError, GuestSilence, HostError
from lab.guest import stack, steps
from lab.guest.kmsg import oopsed
from lab.guest.oops import Console
from lab.guest.stack import Capability, StackPart
from lab.host.process import me
from lab.profile.models import Profile
from lab.vm.argv import CONSOLE_LOG, LAYERS_LOG
from lab.vm.link import Link


def layered(required: bool = True) -> Profile:
    """A profile with one layer on one disk."""
    return Profile.model_validate(
        {
            "name": "p",
            "description": "one layer",
            "devices": ({"type": "nvme", "serial": "S", "namespaces": ({"size": 1 << 26},)},),
            "layers": ({"name": "fs", "type": "xfs", "over": "S", "required": required},),
        }
    )


UP = {"event": "layer", "name": "fs", "type": "xfs", "status": "up", "mount": "/mnt/fs"}
LACKING = {
    "event": "layer", "name": "fs", "type": "xfs", "status": "not supported",
    "tried": "modprobe xfs", "said": "no such module", "errno": "ENOENT", "kernel": ["xfs: no"],
}  # fmt: skip


class Told:
    """A machine whose guest has written this to its second serial port."""

    process = None

    def __init__(self, directory: Path, text: str, alive: bool = True) -> None:
        self.directory = directory
        self.process = me()
        self._alive = alive
        (directory / LAYERS_LOG).write_text(text)

    def alive(self) -> bool:
        """Whether QEMU runs."""
        return self._alive

    def died(self) -> HostError:
        """Its end."""
        return HostError("QEMU is gone")


OOPS = """\
lab: sshd listens
Please press Enter to activate this console. \
[    7.112233] BUG: kernel NULL pointer dereference, address: 0000000000000008
[    7.112240] Oops: Oops: 0002 [#1] PREEMPT SMP
"""


def test_an_oops_while_layers_come_up_ends_the_wait_and_is_quoted(tmp_path: Path) -> None:
    (tmp_path / CONSOLE_LOG).write_text(OOPS)
    with pytest.raises(GuestError, match="NULL pointer dereference, address: 0") as caught:
        collect(Told(tmp_path, json.dumps(UP) + "\n"))
    assert "Oops: 0002" in str(caught.value.detail)


STALL = """\
[   32.479810] rcu: INFO: rcu_sched detected stalls on CPUs/tasks:
[   32.494620] RIP: 0010:queued_spin_lock_slowpath+0x87/0x290
"""


def test_a_kernel_that_gets_nowhere_is_not_waited_for_as_long_as_a_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "_STALLED", 0.05)
    (tmp_path / CONSOLE_LOG).write_text(STALL)
    with pytest.raises(GuestError, match="hangs while its layers come up: rcu: INFO: ") as caught:
        collect(Told(tmp_path, json.dumps(UP) + "\n"))
    assert "queued_spin_lock_slowpath" in str(caught.value.detail)


def test_a_guest_that_stops_telling_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "_DEADLINE", 0.05)
    (tmp_path / CONSOLE_LOG).write_text("lab: ready\n")
    with pytest.raises(GuestSilence, match="layers up in the guest: nothing within") as caught:
        collect(Told(tmp_path, json.dumps(UP) + "\n"))
    assert caught.value.detail == "lab: ready"


def test_a_kernel_that_goes_on_after_a_stall_is_heard(tmp_path: Path) -> None:
    (tmp_path / CONSOLE_LOG).write_text(STALL)
    (part,) = bring_up(tmp_path, UP)
    assert part.status == "up"


@pytest.mark.parametrize(
    "line",
    [
        "[    7.112233] INFO: task mkfs.xfs:12 blocked for more than 122 seconds.",
        "[    7.112233] BUG: KASAN: slab-use-after-free in f+0x1/0x2",
        "[    7.112233] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [mkfs.xfs:12]",
        "somebody said BUG: kernel NULL pointer dereference",
    ],
)
def test_what_takes_long_or_is_no_oops_is_waited_for(tmp_path: Path, line: str) -> None:
    (tmp_path / CONSOLE_LOG).write_text(f"{line}\n")
    console = Console(tmp_path / CONSOLE_LOG)
    assert not any(map(oopsed, console.news()))
    with (tmp_path / CONSOLE_LOG).open("a") as log:
        log.write(OOPS)
    assert "NULL pointer" in next(filter(oopsed, console.news()))
    assert not any(map(oopsed, console.news()))


def test_a_guest_that_goes_on_and_on_about_its_layers_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "_DEADLINE", 0.3)
    (tmp_path / CONSOLE_LOG).touch()
    machine = Told(tmp_path, "")
    ended = threading.Event()

    def tell() -> None:
        with (tmp_path / LAYERS_LOG).open("a") as log:
            while not ended.wait(0.02):
                log.write('{"event": "starting", "name": "fs"}\n')
                log.flush()

    thread = threading.Thread(target=tell)
    thread.start()
    try:
        with pytest.raises(GuestSilence, match="no end within"):
            collect(machine)
    finally:
        ended.set()
        thread.join()


def collect(machine: Told) -> tuple[StackPart, ...]:
    """What the host makes of that."""
    known = stack.expected(layered())
    wanted = replace(known, parts=known.parts | {"top"})
    return stack.collect(machine, lambda text: None, wanted)  # type: ignore[arg-type]


def bring_up(directory: Path, *steps: dict[str, Any]) -> tuple[StackPart, ...]:
    """What the host makes of a guest's answers."""
    lines = "".join(f"{json.dumps(step)}\r\n" for step in steps)
    return collect(Told(directory, f"{lines}lab: layers up ended\n"))


def test_a_guest_that_dies_or_fails_while_it_makes_layers_is_no_stack(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="QEMU is gone"):
        collect(Told(tmp_path, json.dumps(UP) + '\n{"event": "half', alive=False))
    assert stack.found(tmp_path) == ()
    with pytest.raises(GuestError) as caught:
        collect(Told(tmp_path, "Traceback:\nKeyError\nlab: layers up ended\n"))
    assert caught.value.detail == "Traceback:\nKeyError"
    with pytest.raises(GuestError):
        collect(Told(tmp_path, '{"event": "half\nlab: layers up ended\n'))
    assert stack.found(tmp_path) == ()


def test_the_guest_is_told_disks_layers_and_addresses() -> None:
    told = json.loads(stack.description(layered(), Link("other", 2), probe=True))
    (disk,) = told["disks"]
    asked = disk.pop("asked")
    assert (asked["size"], asked["block_size"], asked["copy.msrc"]) == (1 << 26, 512, 128)
    assert disk == {"ref": "S:1", "alias": "S", "kind": "nvme", "serial": "S", "nsid": 1}
    assert told["layers"][0]["name"] == "fs" and told["layers"][0]["reflink"] is None
    assert told["layers"][0]["over"] == "S"
    assert told["layers"][0]["class"] == "filesystems.Xfs"
    assert (told["address"], told["peer"]) == ("10.99.0.2", "10.99.0.1")


def test_what_was_found_is_remembered_over_a_reboot(tmp_path: Path) -> None:
    probed = UP | {
        "capabilities": [{"capability": "FICLONE", "supported": True, "said": ""}],
        "keep": {"root": "abc"},
    }
    bring_up(tmp_path, probed)
    assert json.loads(stack.kept(tmp_path)) == {"fs": {"root": "abc"}}
    (part,) = bring_up(tmp_path, UP)
    assert part.capabilities == (Capability(capability="FICLONE", supported=True),)
    assert part.keep == {"root": "abc"}
    assert stack.found(tmp_path) == (part,)


def test_what_is_required_and_missing_is_an_error_that_quotes_the_kernel(tmp_path: Path) -> None:
    parts = bring_up(tmp_path, {"event": "starting", "name": "fs"}, LACKING)
    with pytest.raises(GuestError) as caught:
        stack.require(layered(), parts)
    assert caught.value.message == ("xfs fs: not supported: modprobe xfs: no such module")
    assert caught.value.detail == "kernel: xfs: no"
    stack.require(layered(required=False), parts)


def test_what_is_not_as_asked_is_an_error_that_tells_the_cure(tmp_path: Path) -> None:
    different = LACKING | {
        "tried": "not as asked", "said": "reflink: true asked, the kernel made it false (x)",
        "cure": "an empty medium",
    }  # fmt: skip
    with pytest.raises(GuestError) as caught:
        stack.require(layered(), bring_up(tmp_path, different))
    assert caught.value.message == (
        "xfs fs: not supported: not as asked: reflink: true asked, the kernel made it false (x)"
    )
    assert caught.value.hint.startswith("an empty medium; or: `required: false` on the layer")
    disk = different | {"event": "disk", "name": "S:1", "type": "disk"}
    with pytest.raises(GuestError) as caught:
        stack.require(layered(), bring_up(tmp_path, disk))
    assert caught.value.hint == "an empty medium"


def test_what_was_asked_and_made_is_kept_over_a_reboot(tmp_path: Path) -> None:
    made = {"key": "reflink", "asked": True, "made": True, "where": "XFS_IOC_FSGEOMETRY"}
    bring_up(tmp_path, UP | {"properties": [made]})
    (part,) = bring_up(tmp_path, UP)
    assert [each.model_dump() for each in part.properties] == [made]


def test_the_table_has_what_is_missing_too(tmp_path: Path) -> None:
    skipped = {
        "event": "layer", "name": "top", "type": "ext4", "status": "skipped", "said": "on fs",
    }  # fmt: skip
    table = stack.table(bring_up(tmp_path, LACKING, skipped))
    assert [(row["of"], row["supported"], row["said"]) for row in table] == [
        ("fs", False, "modprobe xfs: no such module"),
        ("top", None, "on fs"),
    ]
    assert table[0]["kernel"] == ["xfs: no"] and table[0]["errno"] == "ENOENT"
