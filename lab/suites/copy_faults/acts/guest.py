"""What is done in the guest to a copy that is held: scripts that run there.

As in acts.py, which has the table of all acts.
"""

import time
from collections.abc import Callable

from lab.errors import GuestError, UsageError
from lab.faults import tables
from lab.faults.actions import Action
from lab.guest.meanwhile import Meanwhile
from lab.suites.copy_faults.acts import ability
from lab.suites.copy_faults.acts.scene import Effect, Scene
from lab.suites.copy_faults.bench import DeviceFailed

_HEAD_START = 0.5
"""Seconds for a script in the guest to get to where it waits for the held request."""

_PANIC_DEADLINE = 30.0

_KILL = 'kill -KILL "$(cat /run/lab/copier.pid)"'


def _kill_copier(scene: Scene) -> Effect:
    scene.bench.sh(_KILL, deadline=scene.hang)
    return Effect()


def _crash(scene: Scene) -> Effect:
    """The guest's kernel crashes; what it still says is on the console."""
    bench = scene.bench
    bench.meanwhile("echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger")
    bench.await_console("Kernel panic", _PANIC_DEADLINE)
    return Effect()


_SHUTDOWN = 'xfs_io -x -c shutdown "$1"'


def _shut_down(scene: Scene) -> Effect:
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
_LIES = {
    Action.DM_DROP_WRITES: "dropped every write",
    Action.DM_CORRUPT: "changed a byte of every write",
}


def _swap_table(action: Action) -> Callable[[Scene], Effect]:
    def swap(scene: Scene) -> Effect:
        bench, name = scene.bench, scene.bench.path.layer("device mapper")
        table = bench.sh('dmsetup table "$1"', name, deadline=scene.hang)
        swapping = bench.meanwhile(_SWAP, name, tables.struck(table, action))
        time.sleep(_HEAD_START)

        def after(deadline: float) -> None:
            _ends(scene, swapping, f"the exchange of {name}'s table")(deadline)
            if not lied:
                bench.sh(_SWAP, name, table, deadline=deadline)

        lied = f"{name} {_LIES[action]} after {scene.point}" if action.lies else ""
        return Effect(lied=lied, after=after)

    return swap


_STOP_SERVER = "rpc.nfsd 0"
_START_SERVER = "rpc.nfsd -N 3 4"


def _stop_server(scene: Scene) -> Effect:
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


def _remove_target(scene: Scene) -> Effect:
    """What the target offers is taken back; the path offers it anew for its next copy."""
    target = scene.bench.path.layer("NVMe target")
    removal = scene.bench.meanwhile(_REMOVE_TARGET, target)
    time.sleep(_HEAD_START)
    return Effect(after=_ends(scene, removal, "the removal of the target"))


# `times` counts down to 0.
_FAIL_REQUEST = f"""cd {ability.FAIL_REQUEST}
disk=$(basename "$(readlink -f "$1")")
echo 1 >"/sys/class/block/$disk/make-it-fail"
echo 0 >verbose
echo 1 >interval
echo 1 >times
echo 100 >probability
"""
_FAIL_NO_MORE = f"""echo 0 >{ability.FAIL_REQUEST}/probability
disk=$(basename "$(readlink -f "$1")")
echo 0 >"/sys/class/block/$disk/make-it-fail"
"""


def _fail_request(scene: Scene) -> Effect:
    """The next request that the guest's block layer gets for the disk below fails there."""
    bench, disk = scene.bench, _disk_below(scene)
    ability.require(bench, Action.FAIL_REQUEST)
    bench.sh(_FAIL_REQUEST, disk, deadline=scene.hang)

    def after(deadline: float) -> None:
        bench.sh(_FAIL_NO_MORE, disk, deadline=deadline)

    return Effect(after=after)


# tee says what the system said; the shell's own echo does not.
_ADD_RULE = f'{ability.BLOCK_ERROR}echo "$2" | tee "$file" >/dev/null\ncat "$file"\n'
_NO_RULES = f'{ability.BLOCK_ERROR}echo removeall | tee "$file" >/dev/null\ncat "$file"\n'


def _fail_bios(scene: Scene) -> Effect:
    """What the guest's block layer is given from now on for the disk below fails by a rule."""
    bench, disk, stage = scene.bench, _disk_below(scene), scene.point.stage
    ability.require(bench, Action.BLK_ERROR)
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


def _disk_below(scene: Scene) -> str:
    return f"/dev/lab/{scene.bench.path.layer('block layer')}"


def _ends(scene: Scene, script: Meanwhile, what: str) -> Callable[[float], None]:
    """What waits for a script: its not ending is the guest's hang, its failing is the lab's."""

    def after(deadline: float) -> None:
        problem = script.ended(deadline)
        if "did not end" in problem:
            raise DeviceFailed(f"{what}: {problem}")
        if problem:
            raise GuestError(f"{what} in the guest: {problem}")

    return after


ACTS: dict[Action, Callable[[Scene], Effect]] = {
    Action.KILL_COPIER: _kill_copier,
    Action.SYSRQ_CRASH: _crash,
    Action.FS_SHUTDOWN: _shut_down,
    Action.NFS_STOP: _stop_server,
    Action.TARGET_REMOVED: _remove_target,
    Action.FAIL_REQUEST: _fail_request,
    Action.BLK_ERROR: _fail_bios,
    **{action: _swap_table(action) for action in tables.ACTIONS},
}
