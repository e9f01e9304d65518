# SPDX-License-Identifier: GPL-2.0-or-later
"""A report in text, of 80 columns where it has a say in that."""

from collections.abc import Iterator

from lab.inside.report.model import KernelReport, PendingBio, PendingRequest, QueueState


def lines(told: KernelReport) -> Iterator[str]:
    """The report, line by line."""
    yield f"kernel {told.release}"
    yield from _tasks(told)
    busy = [each for each in told.queues if each.requests or each.frozen or each.quiesced]
    yield ""
    yield "requests in flight:" if busy else "no request is in flight"
    for each in busy:
        yield from _queue(each)
    if idle := [each.name for each in told.queues if each not in busy]:
        yield f"  idle: {', '.join(idle)}"
    for controller in told.controllers:
        yield f"controller {controller.name}: {controller.state}; {controller.model}"
        for rq in controller.requests:
            yield from _request(rq, "admin ")
    for md in told.mapped:
        states = f"; {', '.join(md.states)}" if md.states else ""
        yield f"device mapper {md.name} ({md.disk}): {md.pending} bios pending{states}"
        for target in md.targets:
            yield f"  {target}"
        for bio in md.deferred:
            yield f"  held back: {_bio(bio)}"
    for loop in told.loops:
        more = f", {loop.flags}" if loop.flags else ""
        yield f"loop device {loop.disk}: {loop.state}, {loop.file}{more}; {loop.waiting} waiting"
    for part, why in told.lacking.items():
        yield f"{part} cannot be read of this kernel: {why}"


def _tasks(told: KernelReport) -> Iterator[str]:
    if not told.tasks:
        yield "no task is blocked (state D)"
    for task in told.tasks:
        yield ""
        yield f"{task.name} ({task.pid}) waits in {task.waits or '?'}"
        for what in task.on:
            yield f"  for {what}"
        for held in task.locks:
            yield f"  holds {held}"
        for frame in task.stack:
            yield f"    {frame}"


def _queue(it: QueueState) -> Iterator[str]:
    words = [
        f"{len(it.requests)} in flight", f"{it.queues} queues of {it.depth} tags",
        f"scheduler {it.scheduler}",
    ]  # fmt: skip
    if it.frozen:
        words.append(f"frozen {it.frozen} times")
    if it.quiesced:
        words.append(f"quiesced {it.quiesced} times")
    yield f"  {it.name}: {', '.join(words)}"
    for rq in it.requests:
        yield from _request(rq)


def _request(rq: PendingRequest, kind: str = "") -> Iterator[str]:
    where = "" if rq.sector is None else f" at sector {rq.sector}"
    age = "" if rq.age is None else f", for {rq.age:.1f} s"
    ends = f", then {rq.ends}" if rq.ends else ""
    yield f"    {kind}tag {rq.tag}: {rq.operation}{where}, {rq.size} bytes: {rq.state}{age}{ends}"
    for bio in rq.bios:
        yield f"      {_bio(bio)}"


def _bio(bio: PendingBio) -> str:
    return f"bio at sector {bio.sector}, {bio.size} bytes, then {bio.ends or 'nobody'}"
