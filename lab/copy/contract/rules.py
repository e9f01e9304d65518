# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules of the contract, each a function from what was observed to its verdict."""

from collections.abc import Callable
from itertools import islice

from lab.copy.contract.evidence import SHOWN, all_new, caught_damage, not_new, quote
from lab.copy.contract.facts import LOSSY, RAN_ON, Facts
from lab.copy.contract.verdict import Verdict, fell_back, holds, not_applicable, violated
from lab.copy.oracle import Findings, SectorState


def complete(facts: Facts) -> Verdict:
    """Success ⇒ every destination sector equals the source as it was before the copy."""
    if facts.completion is None or not facts.completion.succeeded:
        return not_applicable("the copy did not report success")
    if facts.aftermath in LOSSY:
        return not_applicable("power was lost after the success: see DURABLE")
    damaged = (*facts.corrupted, *facts.lost)
    caught = caught_damage(facts, damaged, not_new(facts.findings))
    if caught or not facts.others:
        return caught or all_new(facts.findings, "success: all destination sectors must be new")
    when = (
        "success: all of each destination must be as some order of the copies and writes leaves it"
    )
    wrong = [found for found in (facts.findings, *facts.others) if not_new(found)]
    return all_new(wrong[0] if wrong else facts.findings, when)


def prefix(facts: Facts) -> Verdict:
    """Failure that reports k ranges done ⇒ those are new."""
    completion, findings = facts.completion, facts.findings
    if completion is None or completion.succeeded:
        return not_applicable("no failure was reported")
    if facts.aftermath in LOSSY:
        return not_applicable("power was lost after the failure, and nothing was flushed")
    pieces = findings.copy.pieces()
    if completion.ranges_done >= len(pieces):
        return violated(f"{completion.ranges_done} of {len(pieces)} ranges done, and yet a failure")
    states = findings.piece_states()[: completion.ranges_done]
    if any(state is not SectorState.NEW for piece in states for state in piece):
        end = pieces[completion.ranges_done - 1][1].end
        missing = [at for at in not_new(findings) if at < end]
        return violated(f"{completion}, but {quote(findings, missing)}")
    return holds(f"{completion}; found: {findings.summary()}")


def no_foreign(facts: Facts) -> Verdict:
    """Every destination sector is old or new, whole."""
    findings, bad = facts.findings, _not_whole(facts.findings)
    if caught := caught_damage(facts, facts.corrupted, bad):
        return caught
    if not bad:
        findings = next(filter(_not_whole, facts.others), findings)
    if bad := _not_whole(findings):
        kinds = ", ".join(
            f"{findings.count(state)} {state}"
            for state in (SectorState.TORN, SectorState.FOREIGN)
            if findings.count(state)
        )
        return violated(f"{kinds}: {quote(findings, bad)}")
    return holds(f"all whole: {findings.summary()}")


def _not_whole(findings: Findings) -> list[int]:
    """The destination sectors that are neither old nor new."""
    start = findings.copy.destination
    return [
        start + at
        for at, state in enumerate(findings.destination)
        if state in (SectorState.TORN, SectorState.FOREIGN)
    ]


def source(facts: Facts) -> Verdict:
    """Source sectors outside the destination are unchanged."""
    findings = facts.findings
    if findings.changed_source:
        return violated(quote(findings, list(findings.changed_source)))
    return holds(f"{sum(piece.sectors for piece in findings.copy.sources)} sectors unchanged")


def neighbour(facts: Facts) -> Verdict:
    """Sectors outside the destination are unchanged."""
    findings = facts.findings
    if findings.changed_neighbour:
        return violated(quote(findings, list(findings.changed_neighbour)))
    if facts.stray_writes:
        return violated("write log: " + "; ".join(facts.stray_writes[:SHOWN]))
    return holds(f"{findings.checked_neighbours} sectors around the copy unchanged")


def signalled(facts: Facts) -> Verdict:
    """An error that the medium returned reaches the caller, or is made good below it: a durable
    success whose data are all there when the guest has ended.  A caller that was served by reads
    and writes instead has its data, and fell back."""
    if not facts.injected:
        return not_applicable("the medium returned no error")
    if facts.completion is None:
        return not_applicable("the caller was told nothing")
    if facts.completion.succeeded:
        if facts.offload.fallback and not not_new(facts.findings):
            return fell_back(f"{facts.injected}; {facts.offload.fallback}, and all is there")
        ended = facts.flushed and facts.aftermath not in RAN_ON
        if ended and not not_new(facts.findings):
            return holds(f"{facts.injected}; made good: all was there after the guest's end")
        if facts.redundant and not not_new(facts.findings):
            return holds(f"{facts.injected}; made good by {facts.redundant}: all is there")
        return violated(f"{facts.injected}, and the caller was told success")
    return holds(f"{facts.injected}; the caller was told {facts.completion}")


def error_class(facts: Facts) -> Verdict:
    """The error is one that the reference model gives in the same situation.

    A model is not asked here; but whatever it is, it does not fail where nothing went wrong.
    """
    completion = facts.completion
    if completion is None or completion.succeeded:
        return not_applicable("no error was reported")
    if not facts.injected and not facts.disturbed and not facts.excess:
        return violated(f"{completion}, although the medium returned no error")
    return not_applicable(f"{completion}: to be compared with a reference model")


def durable(facts: Facts) -> Verdict:
    """Success, then a completed flush ⇒ survives power loss."""
    if facts.aftermath in RAN_ON:
        return not_applicable("the guest ran on")
    if facts.completion is None or not facts.completion.succeeded:
        return not_applicable("no success was reported before the end")
    if not facts.flushed:
        return not_applicable("nothing was flushed before the end")
    if facts.blind:
        return not_applicable(facts.blind)
    return all_new(facts.findings, f"durable success, then {facts.aftermath}: all must be new")


def recovers(facts: Facts) -> Verdict:
    """Once the fault is gone the same copy succeeds."""
    again = facts.recovery
    if again.problem:
        return violated(again.problem)
    if again.completion is None or not again.completion.succeeded:
        return violated(f"the same copy again: {again.completion or 'never completed'}")
    return all_new(again.findings, "the same copy again succeeded: all must be new")


def no_hang(facts: Facts) -> Verdict:
    """Completes in bounded time after release; no hung task, no lockup, no oops, no crash."""
    if facts.crash:
        return violated(facts.crash)
    if facts.complaints:
        return violated("; ".join(islice(facts.complaints, SHOWN)))
    if facts.waited is None and facts.completion is None:
        if facts.aftermath not in RAN_ON:
            return not_applicable("the guest was ended while the copy was held")
        return violated(f"no completion within {facts.deadline:.1f} s of the release")
    if facts.waited is not None and facts.waited > facts.deadline:
        return violated(
            f"completed {facts.waited:.1f} s after the release, more than {facts.deadline:.1f} s"
        )
    if facts.waited is None:
        return holds("completed before it came to the point")
    return holds(f"completed {facts.waited * 1000:.0f} ms after the release")


def offloaded(facts: Facts) -> Verdict:
    """The copy was made below its caller, as its path promises; or the caller was served, but by
    reads and writes.  Of a copy that cannot tell, what is known is how the same copy again was
    made."""
    seen = facts.offload
    if seen.fallback and facts.completion and facts.completion.succeeded:
        return fell_back(seen.fallback)
    if seen.against:
        return violated(seen.against)
    if not seen.proof:
        again = facts.recovery.offload
        how = again.proof or again.against
        return not_applicable(f"{seen.untold}; the same copy again: {how}" if how else seen.untold)
    return holds(seen.proof)


def coherent(facts: Facts) -> Verdict:
    """What was written through the page cache before the copy is what is copied, and what is read
    through it afterwards is the copy, also where somebody has read it meanwhile."""
    cached = facts.cached
    if cached is None:
        return not_applicable("nothing of this copy was in the page cache")
    if cached.completion is None or not cached.completion.succeeded:
        return violated(
            "the same copy of what was written through the page cache: "
            f"{cached.completion or 'never completed'}"
        )
    if cached.meanwhile:
        return violated(cached.meanwhile)
    assert cached.read and cached.medium
    for found, where in (
        (cached.mapped, "read by mapped memory"), (cached.read, "read through the page cache"),
        (cached.medium, "on the medium"),
    ):  # fmt: skip
        if found is None:
            continue
        changed = [*found.changed_source, *found.changed_neighbour]
        if changed:
            return violated(f"{where} beside the copy: {quote(found, changed)}")
        if missing := not_new(found):
            return violated(
                f"{where}: {len(missing)} sectors are not what the copy makes them: "
                f"{quote(found, missing)}"
            )
    return holds(f"read through the page cache after the copy: {cached.read.summary()}")


def limits(facts: Facts) -> Verdict:
    """A copy within the device's limits is carried out, one above them refused: neither fails in
    silence, and none is carried out in part and called a success."""
    if not facts.size:
        return not_applicable("the copy is not one at a limit of its device")
    if facts.completion is None:
        return not_applicable(f"{facts.size}: the caller was told nothing")
    refused = not facts.completion.succeeded
    said = f"{facts.size}: {facts.completion}"
    return holds(said) if refused == facts.excess else violated(said)


RULES: dict[str, Callable[[Facts], Verdict]] = {
    "COMPLETE": complete,
    "PREFIX": prefix,
    "NO-FOREIGN": no_foreign,
    "SOURCE": source,
    "NEIGHBOUR": neighbour,
    "SIGNALLED": signalled,
    "ERROR-CLASS": error_class,
    "DURABLE": durable,
    "RECOVERS": recovers,
    "NO-HANG": no_hang,
    "OFFLOADED": offloaded,
    "COHERENT": coherent,
    "LIMITS": limits,
}
"""Every rule by its id, in the order in which verdicts are shown."""
