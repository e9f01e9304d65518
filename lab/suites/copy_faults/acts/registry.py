# SPDX-License-Identifier: GPL-2.0-or-later
"""All acts: the lab's own, and behind them those that packages bring.

In this order they are listed, drawn and carried out.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from errno import EIO, ENOSPC
from functools import cache

from lab import plugins
from lab.copy.contract import Aftermath
from lab.errors import UsageError
from lab.faults.actions import ANYWHERE, CACHED_READ, CONCURRENT, HELD, REHEARSAL, SIZE, Action
from lab.faults.model import Stage
from lab.suites.copy_faults import fault
from lab.suites.copy_faults.acts import guest, host, power
from lab.suites.copy_faults.acts.act import Act

_READ, _WRITE, _WRITTEN = Stage.READ, Stage.WRITE, Stage.WRITTEN
_FS, _DM, _BLOCK = "file system", "device mapper", "block layer"

OWN = (
    Act(Action("resume", HELD), swept=True),
    Act(Action("eio", (_READ, _WRITE)), host.inject, errno=EIO, fault=fault.fail, swept=True),
    Act(
        Action("eio-unheld", (_READ, _WRITE), counts=True), errno=EIO, fault=fault.fail_unheld,
    ),
    Act(Action("enospc", (_WRITE,)), host.inject, errno=ENOSPC, fault=fault.fail, swept=True),
    Act(
        Action("torn", (_WRITE,), on_medium=True),
        host.inject, errno=EIO, fault=fault.tear, swept=True,
    ),
    Act(Action("corrupt", HELD, written=True, on_medium=True), host.corrupt, swept=True),
    Act(Action("lost-write", (_WRITTEN,), on_medium=True), host.lose_write),
    Act(Action("stale-read", (_READ,), on_medium=True), host.read_stale),
    Act(Action("throttle", (_WRITE,), throttles=True)),
    Act(Action("delay", HELD), host.delay, swept=True),
    Act(Action("qmp-lost", HELD), host.lose_qmp),
    Act(
        Action("reset", (_WRITE,), throttles=True),
        host.reset, disturbs="the controller was reset", hold=host.RESET_HOLD,
    ),
    Act(
        Action("pause", (_WRITE,), throttles=True),
        host.outlast, disturbs="the guest's driver gave up on the command",
        request={"timeout_ms": host.PATIENCE_MS}, hold=host.PAUSE, provokes="timeout",
    ),
    Act(
        Action("unplug", HELD, removes=True),
        host.unplug, Aftermath.UNPLUGGED, "the controller was removed",
    ),
    Act(Action("kill-copier", HELD), guest.kill_copier, request={"own_process": True},
        in_guest=True),
    Act(
        Action("fs-shutdown", HELD, _FS),
        guest.shut_down, disturbs="the file system below was shut down",
    ),
    Act(
        Action("dm-error", HELD, _DM), guest.swap_table, disturbs="a layer below began to fail"
    ),
    Act(Action("dm-delay", HELD, _DM), guest.swap_table),
    Act(
        Action("dm-drop-writes", HELD, _DM, lies=True),
        guest.swap_table, disturbs="a layer below dropped writes",
    ),
    Act(
        Action("dm-corrupt", HELD, _DM, lies=True),
        guest.swap_table, disturbs="a layer below changed what was written",
    ),
    Act(Action("nfs-stop", HELD, "nfs"), guest.stop_server),
    Act(
        Action("target-removed", HELD, "NVMe target"),
        guest.remove_target, disturbs="the target was taken from its initiator",
    ),
    Act(
        Action("copies-forbidden", HELD, "copy limit"),
        guest.forbid_copies, disturbs="the disk was told to allow no copies",
        need=guest.COPY_LIMIT,
    ),
    Act(CACHED_READ, guest.read_through_cache),
    Act(
        Action("fail-make-request", HELD, _BLOCK),
        guest.fail_request, disturbs="the block layer failed a request",
        need=guest.FAULT_INJECTION,
    ),
    Act(
        Action("blk-error", HELD, _BLOCK),
        guest.fail_bios, disturbs="the block layer failed what it was told to",
        fails_on=True, need=guest.ERROR_INJECTION,
    ),
    Act(
        Action("failslab", beforehand=True),
        disturbs="a slab allocation of the copying task failed", fault=fault.nothing,
        need=guest.FAILSLAB, allocation="failslab", in_guest=True,
    ),
    Act(
        Action("fail-page-alloc", beforehand=True),
        disturbs="a page allocation of the copying task failed", fault=fault.nothing,
        need=guest.FAIL_PAGE_ALLOC, allocation="fail_page_alloc", in_guest=True,
    ),
    Act(
        Action("sysrq-crash", HELD, ends_guest=True),
        guest.crash, Aftermath.CRASHED, in_guest=True,
    ),
    Act(Action("kill", ANYWHERE, ends_guest=True), aftermath=Aftermath.KILLED, swept=True),
    Act(
        Action("power-cut", ANYWHERE, ends_guest=True),
        aftermath=Aftermath.POWER_LOST, survivors=power.durable, swept=True,
    ),
    Act(
        Action("power-cut-kept", ANYWHERE, ends_guest=True),
        aftermath=Aftermath.CACHE_KEPT, survivors=power.all_of,
    ),
    Act(
        Action("power-cut-prefix", ANYWHERE, ends_guest=True),
        aftermath=Aftermath.CACHE_PART, survivors=power.some,
    ),
    Act(REHEARSAL, fault=fault.nothing),
    Act(SIZE, fault=fault.nothing),
    Act(CONCURRENT, fault=fault.nothing),
)  # fmt: skip


@cache
def acts() -> Mapping[str, Act]:
    """All acts by the names of their actions.

    Raises HostError if two have the same name; see lab/plugins.py for those that are broken.
    """
    return plugins.together(plugins.ACTIONS, {act.name: act for act in OWN}, Act)


def find(name: str) -> Act:
    """The act of that name.  Raises UsageError with the list of names."""
    found = acts()
    if name not in found:
        close = get_close_matches(name, found, n=1)
        question = f"did you mean {close[0]}? " if close else ""
        names = ", ".join(found)
        raise UsageError(f"action {name!r}: no such action", hint=f"{question}one of {names}")
    return found[name]


def action_called(name: str) -> Action:
    """The action of that name.  Raises UsageError with the list of names."""
    return find(name).action


def actions() -> tuple[Action, ...]:
    """All actions, with those that are none: without a fault a copy is made in any case."""
    return tuple(act.action for act in acts().values())


def named(text: str) -> tuple[Action, ...]:
    """Actions by their names, separated by commas, each once; `all` stands for all of them, `host`
    for those that are done from the host.

    Raises UsageError for a name that is none.
    """
    groups = {
        "all": tuple(action for action in actions() if not action.undisturbed),
        "host": tuple(act.action for act in acts().values() if act.from_host),
    }
    found = (groups.get(name) or (action_called(name),) for name in text.split(",") if name)
    return tuple(dict.fromkeys(action for actions in found for action in actions))


def swept() -> tuple[Action, ...]:
    """The actions of a sweep that names none."""
    return tuple(act.action for act in acts().values() if act.swept)
