# SPDX-License-Identifier: GPL-2.0-or-later
"""Acts that need something of the guest's kernel: tried before they are carried out."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lab.errors import GuestError
from lab.faults.actions import Action
from lab.suites.copy_faults.acts import registry
from lab.suites.copy_faults.acts.act import Act
from lab.suites.copy_faults.failures import NotSupported

if TYPE_CHECKING:
    from lab.suites.copy_faults.bench import Bench

_DEADLINE = 60.0


def able(bench: "Bench", actions: Iterable[Action]) -> tuple[Action, ...]:
    """Those of the actions that this guest's kernel has what they need for; what it said of the
    others is left in `bench.lacking`.

    Raises NotSupported when none of any is left.
    """
    wanted = tuple(dict.fromkeys(actions))
    for action in wanted:
        if said := lacking(bench, registry.find(action.name)):
            bench.lacking[action] = said
            bench.run.emit("guest", "not supported", action=str(action), said=said)
    found = tuple(action for action in wanted if action not in bench.lacking)
    if wanted and not found:
        raise NotSupported("\n".join(f"{action}: {bench.lacking[action]}" for action in wanted))
    return found


def require(bench: "Bench", act: Act) -> None:
    """Raise NotSupported, with what the system said, when the kernel lacks what an act needs."""
    if said := lacking(bench, act):
        raise NotSupported(f"{act.name}: {said}")


def lacking(bench: "Bench", act: Act) -> str:
    """What the system said when what an act needs was tried; '' if it is there."""
    if act.need is None:
        return ""
    node = f"/dev/lab/{bench.path.layer(act.action.layer)}"
    try:
        bench.sh(act.need.trial, node, deadline=_DEADLINE)
    except GuestError as error:
        cure = f"the kernel needs {act.need.cure}, see docs/kernels.md"
        return f"{error.detail or error.message} ({cure})"
    return ""
