# SPDX-License-Identifier: GPL-2.0-or-later
"""What comes after a copy with a fault: the guest brought back, and the same copy again."""

from lab.copy.contract import Offload, Recovery
from lab.copy.model import Completion, Layout
from lab.copy.oracle import Tagging
from lab.copy.paths.base import Logs, Observation
from lab.errors import GuestError
from lab.suites.copy_faults.bench import Bench
from lab.suites.copy_faults.failures import DeviceFailure

_AGAIN = "in the same copy again"


def observed(bench: Bench, logs: Logs, tagging: Tagging, begun: int) -> Observation:
    """What the taps saw of a copy that must have come to so many ranges, and of what reached the
    write logs."""
    own, *others = logs.values()
    carried = bench.taps.carrying(own, others, tagging.source.mark)
    return Observation(bench.taps.trace(), carried, bench.answered, begun)


def revive(bench: Bench) -> str:
    """Boot the guest again; what is wrong with the ground then, or ''."""
    bench.end()
    try:
        bench.reboot()
    except GuestError as error:
        if not bench.guest.machine.alive():
            raise
        # It came up, and a layer did not.
        return str(error)
    return bench.mend(rebooted=True)


def copied_again(
    bench: Bench, request: dict[str, object], hang: float, when: str, *, afresh: bool = False
) -> tuple[Completion | None, str]:
    """The end of a copy with nothing in its way, and how QEMU or the guest's kernel came to theirs
    in it, if they did.  `when`: what of it is told, of the kernel's complaints too (overhear);
    `afresh`: what was observed before is past."""
    completion = None
    try:
        with bench.inquest.device_may_fail():
            if afresh:
                bench.taps.forget()
            bench.start(request)
            completion = bench.completed(hang)
            # One that is still at it answers nobody.
            if completion:
                bench.overhear(when)
    except DeviceFailure as failure:
        bench.overheard.append(f"{when}: {failure}")
        return completion, str(failure)
    return completion, ""


def recovered(bench: Bench, layout: Layout, hang: float, problem: str) -> Recovery:
    """A copy on fresh tags with nothing in its way, which may take `hang` seconds.

    `problem` is what is known to be wrong already.
    """
    copy, tagging = layout.copy, bench.oracle.tag(layout)
    offload = Offload()
    request = bench.path.request(copy)
    completion, failure = copied_again(bench, request, hang, _AGAIN, afresh=True)
    problem = problem or failure
    if completion is None and not failure:
        bench.dump(f"the same copy again: no completion within {hang:.1f} s")
    if completion is None or failure:
        if bench.path.on_medium:
            findings = bench.oracle.look(copy, tagging)
            revive(bench)
            return Recovery(completion, findings, problem)
        # Whatever was wrong before, there may be no guest left.
        lost = revive(bench)
        problem = problem or lost
    else:
        offload = _offload(bench, layout, tagging, completion)
        problem = problem or bench.instrument.check(copy, completion)
    return Recovery(completion, bench.oracle.look(copy, tagging), problem, offload)


def _offload(bench: Bench, layout: Layout, tagging: Tagging, completion: Completion) -> Offload:
    """Who moved the data, before anybody looks at them."""
    begun = len(layout.copy.sources) if completion.succeeded else 0
    seen = observed(bench, bench.logs(), tagging, begun)
    return bench.path.offload(seen, layout.copy)
