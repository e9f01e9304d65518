"""Actions that need something of the guest's kernel, tried before they are carried out."""

from collections.abc import Iterable

from lab.errors import GuestError
from lab.faults.actions import Action
from lab.suites.copy_faults.bench import Bench, NotSupported

_DEADLINE = 60.0

FAIL_REQUEST = "/sys/kernel/debug/fail_make_request"
"""Documentation/fault-injection/fault-injection.rst."""

_DISK = 'disk=$(basename "$(readlink -f "$1")")\n'

BLOCK_ERROR = f"{_DISK}file=/sys/kernel/debug/block/$disk/error_injection\n"
"""Documentation/block/error-injection.rst, for the disk that $1 leads to."""

_TRIALS = {
    Action.FAIL_REQUEST: f"cat {FAIL_REQUEST}/probability",
    Action.BLK_ERROR: f'{BLOCK_ERROR}cat "$file"',
}

_CURES = {
    Action.FAIL_REQUEST: "FAIL_MAKE_REQUEST",
    Action.BLK_ERROR: "BLK_ERROR_INJECTION, which Linux has from 7.2 on",
}


def able(bench: Bench, actions: Iterable[Action]) -> tuple[Action, ...]:
    """Those of the actions that this guest's kernel has what they need for; what it said of the
    others is left in `bench.lacking`.

    Raises NotSupported when none of any is left.
    """
    wanted = tuple(dict.fromkeys(actions))
    for action in wanted:
        if said := lacking(bench, action):
            bench.lacking[action] = said
            bench.run.emit("guest", "not supported", action=str(action), said=said)
    found = tuple(action for action in wanted if action not in bench.lacking)
    if wanted and not found:
        raise NotSupported("\n".join(f"{action}: {bench.lacking[action]}" for action in wanted))
    return found


def require(bench: Bench, action: Action) -> None:
    """Raise NotSupported, with what the system said, when the kernel lacks what an action needs."""
    if said := lacking(bench, action):
        raise NotSupported(f"{action}: {said}")


def lacking(bench: Bench, action: Action) -> str:
    """What the system said when what an action needs was tried; '' if it is there."""
    if action not in _TRIALS:
        return ""
    try:
        bench.sh(_TRIALS[action], f"/dev/lab/{bench.path.layer(action.layer)}", deadline=_DEADLINE)
    except GuestError as error:
        cure = f"the kernel needs {_CURES[action]}, see docs/kernels.md"
        return f"{error.detail or error.message} ({cure})"
    return ""
