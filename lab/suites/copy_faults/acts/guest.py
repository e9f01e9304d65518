# SPDX-License-Identifier: GPL-2.0-or-later
"""What is done in the guest to a copy that is held: scripts that run there, as in host.py."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from lab.copy.model import SECTOR
from lab.errors import GuestError, UsageError
from lab.faults import tables
from lab.suites.copy_faults.acts.act import Need
from lab.suites.copy_faults.acts.scene import Effect, Scene
from lab.suites.copy_faults.failures import DeviceFailure

if TYPE_CHECKING:
    from lab.guest.meanwhile import Meanwhile

_HEAD_START = 0.5
"""Seconds for a script in the guest to get to where it waits for the held request."""

_PANIC_DEADLINE = 30.0

_FAULTS = "/sys/kernel/debug/fail_make_request"
"""Documentation/fault-injection/fault-injection.rst."""

_DISK = 'disk=$(basename "$(readlink -f "$1")")\n'

_RULES = f"{_DISK}file=/sys/kernel/debug/block/$disk/error_injection\n"
"""Documentation/block/error-injection.rst, for the disk that $1 leads to."""


def _allocations(kind: str, option: str) -> Need:
    """What allocations that fail need; guest-scripts/copies/allocations.py has them fail."""
    trial = f"cat /sys/kernel/debug/{kind}/probability /proc/self/make-it-fail"
    return Need(trial, f"{option} and FAULT_INJECTION_DEBUG_FS")


FAULT_INJECTION = Need(f"cat {_FAULTS}/probability", "FAIL_MAKE_REQUEST")
ERROR_INJECTION = Need(f'{_RULES}cat "$file"', "BLK_ERROR_INJECTION, which Linux has from 7.2 on")
FAILSLAB = _allocations("failslab", "FAILSLAB")
FAIL_PAGE_ALLOC = _allocations("fail_page_alloc", "FAIL_PAGE_ALLOC")

_KILL = 'kill -KILL "$(cat /run/lab/copier.pid)"'


def kill_copier(scene: Scene) -> Effect:
    """The process that asked for the copy is killed."""
    scene.bench.sh(_KILL, deadline=scene.hang)
    return Effect()


def crash(scene: Scene) -> Effect:
    """The guest's kernel crashes; what it still says is on the console."""
    bench = scene.bench
    bench.meanwhile("echo c >/proc/sysrq-trigger")
    bench.await_panic(_PANIC_DEADLINE)
    return Effect()


_SHUTDOWN = 'xfs_io -x -c shutdown "$1"'


def shut_down(scene: Scene) -> Effect:
    """The file system below is shut down, as it does by itself when its disk fails."""
    mount = f"/dev/lab/{scene.bench.path.layer('file system')}"
    ended = _ends(scene, scene.bench.meanwhile(_SHUTDOWN, mount), "the shutdown")
    time.sleep(_HEAD_START)
    return Effect(after=ended)


# What is in flight goes on to the table there was; what comes later meets the new one.
_SWAP = """dmsetup suspend --noflush --nolockfs "$1"
echo "$2" | dmsetup load "$1"
dmsetup resume "$1"
"""


def swap_table(scene: Scene) -> Effect:
    """A layer of the device mapper gets another table."""
    bench, name = scene.bench, scene.bench.path.layer("device mapper")
    table = bench.sh('dmsetup table "$1"', name, deadline=scene.hang)
    swapping = bench.meanwhile(_SWAP, name, tables.struck(table, scene.action.name))
    time.sleep(_HEAD_START)

    def after(deadline: float) -> None:
        _ends(scene, swapping, f"the exchange of {name}'s table")(deadline)
        if not lied:
            bench.sh(_SWAP, name, table, deadline=deadline)

    lies = tables.LIES.get(scene.action.name)
    lied = f"{name} {lies} after {scene.point}" if lies else ""
    return Effect(lied=lied, after=after)


_STOP_SERVER = "rpc.nfsd 0"
_START_SERVER = "rpc.nfsd -N 3 4"


def stop_server(scene: Scene) -> Effect:
    """The NFS server stops, and starts again once the copy has ended."""
    bench = scene.bench
    stopping = bench.meanwhile(_STOP_SERVER)
    time.sleep(_HEAD_START)

    def after(deadline: float) -> None:
        _ends(scene, stopping, "stopping the NFS server")(deadline)
        bench.sh(_START_SERVER, deadline=deadline)

    return Effect(after=after)


# The link goes at once; the controllers of those who were connected go when what is in flight has
# ended (drivers/nvme/target/configfs.c, nvmet_port_subsys_drop_link).
_REMOVE_TARGET = r"""rm /sys/kernel/config/nvmet/ports/*/subsystems/*:"$1"
while grep -qs ":$1\$" /sys/class/nvme/nvme*/subsysnqn
do
    sleep 0.1
done
"""


def remove_target(scene: Scene) -> Effect:
    """What the target offers is taken back; the path offers it anew for its next copy."""
    target = scene.bench.path.layer("NVMe target")
    removal = scene.bench.meanwhile(_REMOVE_TARGET, target)
    time.sleep(_HEAD_START)
    return Effect(after=_ends(scene, removal, "the removal of the target"))


# `times` counts down to 0.
_FAIL_REQUEST = f"""cd {_FAULTS}
{_DISK}echo 1 >"/sys/class/block/$disk/make-it-fail"
echo 0 >verbose
echo 1 >interval
echo 1 >times
echo 100 >probability
"""
_FAIL_NO_MORE = f"""echo 0 >{_FAULTS}/probability
{_DISK}echo 0 >"/sys/class/block/$disk/make-it-fail"
"""


def fail_request(scene: Scene) -> Effect:
    """The next request that the guest's block layer gets for the disk below fails there."""
    bench, disk = scene.bench, _disk_below(scene)
    bench.sh(_FAIL_REQUEST, disk, deadline=scene.hang)

    def after(deadline: float) -> None:
        bench.sh(_FAIL_NO_MORE, disk, deadline=deadline)

    return Effect(after=after)


# tee says what the system said; the shell's own echo does not.
_ADD_RULE = f'{_RULES}echo "$2" | tee "$file" >/dev/null\ncat "$file"\n'
_NO_RULES = f'{_RULES}echo removeall | tee "$file" >/dev/null\ncat "$file"\n'


def fail_bios(scene: Scene) -> Effect:
    """What the guest's block layer is given from now on for the disk below fails by a rule."""
    bench, disk, stage = scene.bench, _disk_below(scene), scene.point.stage
    rule = scene.block_error.rule(stage)
    try:
        listed = bench.sh(_ADD_RULE, disk, rule, deadline=scene.hang)
    except GuestError as error:
        said = "\n".join(f"kernel: {line}" for line in bench.taps.kernel_messages()[-3:])
        raise UsageError(
            f"--blk-error {scene.block_error}: the guest's kernel refuses the rule {rule}",
            detail=f"{error.detail}\n{said}",
            hint="op and status are the kernel's REQ_OP_… and BLK_STS_…, without that",
        ) from error
    if scene.block_error.listed(stage) not in listed.splitlines():
        raise GuestError(f"the rule {rule} is not among those that there are", detail=listed)

    def after(deadline: float) -> None:
        if left := bench.sh(_NO_RULES, disk, deadline=deadline):
            raise GuestError("error_injection still has rules", detail=left)

    return Effect(after=after)


# A disk of the lab's own driver has `limits` as well, on every kernel; of a partition the disk has
# them.  While a request is held the kernel may wait with the new ones for its end.
_COPY_LIMIT = """disk=$(readlink -f /sys/class/block/"$(basename "$(readlink -f "$1")")")
test -e "$disk/partition" && disk=$(dirname "$disk")
file=$disk/limits
test -e "$file" || file=$disk/queue/copy_max_bytes
was=$(cat "$file")
"""
_NO_COPIES = f"""{_COPY_LIMIT}echo "$was"
case $file in */limits) echo 0 0 0 ;; *) echo 0 ;; esac >"$file"
"""
_COPIES_AGAIN = f"""{_COPY_LIMIT}echo "$2" | tee "$file" >/dev/null"""

COPY_LIMIT = Need(_COPY_LIMIT, "a limit to copies in sysfs: copyref, or block-layer copies")


def forbid_copies(scene: Scene) -> Effect:
    """The disk is told to allow no copies any more, and afterwards what it allowed before."""
    bench, node = scene.bench, scene.bench.path.node
    telling = bench.meanwhile(_NO_COPIES, node)
    time.sleep(_HEAD_START)

    def after(deadline: float) -> None:
        _ends(scene, telling, f"lowering the limit to copies of {node}")(deadline)
        bench.sh(_COPIES_AGAIN, node, telling.said.strip(), deadline=deadline)

    return Effect(after=after)


_TO_READ = 2.0
"""Seconds for a program to read a few hundred sectors, unless it waits for the copy."""

_READ = """echo reading
exec dd if="$1" of=/dev/null status=none bs=64K iflag=skip_bytes,count_bytes \\
    skip="$2" count="$3"
"""


def read_through_cache(scene: Scene) -> Effect:
    """Somebody reads what is copied, where it goes and what lies around, as programs do.  That may
    wait for the copy, and may find what was there before: but not afterwards."""
    window = scene.tagging.window
    where = (str(window.start * SECTOR), str(window.sectors * SECTOR))
    bench, what = scene.bench, "a program that reads what is copied"
    reading = bench.meanwhile(_READ, bench.path.node, *where)
    done = reading.speaks(bench.patience) and reading.ends(_TO_READ)
    bench.run.emit("guest", "read", text="done" if done else "it waits for the copy")

    def after(deadline: float) -> str:
        problem = _failing(reading, what, deadline)
        return f"{what}: {problem}" if problem else ""

    return Effect(after=after)


def _disk_below(scene: Scene) -> str:
    return f"/dev/lab/{scene.bench.path.layer('block layer')}"


def _ends(scene: Scene, script: "Meanwhile", what: str) -> Callable[[float], None]:
    """What waits for a script: its not ending is the guest's hang, its failing is the lab's."""

    def after(deadline: float) -> None:
        if problem := _failing(script, what, deadline):
            raise GuestError(f"{what} in the guest: {problem}")

    return after


def _failing(script: "Meanwhile", what: str, deadline: float) -> str:
    """How a script has failed, or ''.  Raises DeviceFailure when it does not end."""
    problem = script.ended(deadline)
    if "did not end" in problem:
        raise DeviceFailure(f"{what}: {problem}")
    return problem
