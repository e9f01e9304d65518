# SPDX-License-Identifier: GPL-2.0-or-later
"""The contract: what a copy may leave behind, rule by rule (docs/contract.md).

`judge` is a pure function from Facts, everything that was observed of one copy under one fault, to
a verdict with evidence for each rule.  It knows no offload path and no device.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from lab.copy.model import Completion
from lab.copy.oracle import Findings, SectorState

SHOWN = 3
"""Offending sectors quoted in a verdict; the run's directory has them all."""


class Ruling(StrEnum):
    """What a rule came to."""

    HOLDS = "holds"
    VIOLATED = "violated"
    CAUGHT = "caught"
    """It noticed the damage that the lab itself had done, as it must."""
    NOT_APPLICABLE = "n/a"


@dataclass(frozen=True)
class Verdict:
    """A ruling and what it rests on."""

    verdict: Ruling
    evidence: str


class Aftermath(StrEnum):
    """Which medium the oracle read."""

    LIVE = "live"
    """The guest ran on; nothing was lost."""
    KILLED = "killed"
    """QEMU was killed; the medium as it stood, volatile cache included."""
    POWER_LOST = "power lost"
    """QEMU was killed; the medium rebuilt from the write log up to the last flush."""
    CRASHED = "kernel crashed"
    """The guest's kernel crashed, and QEMU was killed; the medium as it stood."""
    CACHE_PART = "power lost, part of the cache kept"
    """As before, plus the first part of what was written after the last flush."""
    CACHE_KEPT = "power lost, all of the cache kept"
    """QEMU was killed; the medium rebuilt from all of the write log."""
    REMOUNTED = "mounted anew"
    """The guest ran on, and the file system was mounted anew, after a check."""
    UNPLUGGED = "controller removed"
    """The guest ran on without the device; nothing was lost."""


_LOSSY = (Aftermath.POWER_LOST, Aftermath.CACHE_PART)
"""What was written and not flushed may be gone."""

_RAN_ON = (Aftermath.LIVE, Aftermath.UNPLUGGED)
"""The guest was there to wait for the copy."""


@dataclass(frozen=True)
class Offload:
    """What shows who moved the data: `proof` that it was not the caller, or what speaks `against`
    that, in words.  Neither where nobody was left to tell."""

    proof: str = ""
    against: str = ""


@dataclass(frozen=True)
class Recovery:
    """The same copy again once the fault was gone, on a freshly tagged destination."""

    completion: Completion | None
    findings: Findings
    problem: str = ""


@dataclass(frozen=True)
class CachedCopy:
    """The same copy once more, of what was written through the page cache before: how it ended,
    what is read through the page cache afterwards, and what is then on the medium, if it ended."""

    completion: Completion | None
    read: Findings | None = None
    medium: Findings | None = None


@dataclass(frozen=True)
class Facts:
    """All that was observed of one case.

    `completion` is None when the guest ended before the caller was told anything, or the caller
    was killed.  `injected`: the error that the medium returned, as text, or empty.  `flushed`: the
    copy's success is durable: it was asked for with FUA or synced, or a flush completed after it
    and before the guest ended.  `waited`: seconds between
    release and completion, None when it never came; `deadline`: how long it was waited for.
    `crash`: how the device under test itself died or hung, or empty.
    `disturbed`: what else was done to the device that may make a copy fail, or empty.
    `redundant`: what may have made that error good from another disk, or empty.
    `corrupted`: destination sectors that the lab damaged on the medium; `lost`: those whose write
    it made undone.  `lied`: how the lab let a layer report writes that it had dropped, or empty.
    `blind`: why the write log, from which the medium was rebuilt, cannot tell what FUA had made
    durable, or empty.
    `complaints`: kernel messages that speak of a hang, a lockup or an oops.  `stray_writes`:
    logged writes outside the destination, as text.  `reached`: the copy came to the point.
    `cached`: the same copy through the page cache, where the path has it and that was tried.
    `size`: how a copy lies to a limit of its device, where that is the question, as text; `excess`:
    it is above one.
    """

    findings: Findings
    aftermath: Aftermath
    completion: Completion | None
    injected: str
    flushed: bool
    waited: float | None
    deadline: float
    crash: str
    complaints: tuple[str, ...]
    stray_writes: tuple[str, ...]
    offload: Offload
    recovery: Recovery
    reached: bool = True
    disturbed: str = ""
    corrupted: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    lied: str = ""
    blind: str = ""
    redundant: str = ""
    cached: CachedCopy | None = None
    size: str = ""
    excess: bool = False


def judge(facts: Facts) -> dict[str, Verdict]:
    """The verdict for each rule of the contract, by rule id."""
    found = {rule: check(facts) for rule, check in RULES.items()}
    if facts.lied:
        for rule in _LIED_TO:
            if found[rule].verdict is Ruling.VIOLATED:
                said = f"{facts.lied}, and it shows: {found[rule].evidence}"
                found[rule] = Verdict(Ruling.CAUGHT, said)
    if facts.blind:
        for rule in _LIED_TO:
            if found[rule].verdict is Ruling.VIOLATED:
                found[rule] = _not_applicable(f"{facts.blind}; seen: {found[rule].evidence}")
    return found


_LIED_TO = ("COMPLETE", "NO-FOREIGN", "SOURCE", "NEIGHBOUR", "DURABLE", "RECOVERS")
"""What no copy can keep when a layer below drops what it was given, or the log from which the
medium is rebuilt misses what was durable."""


def overall(facts: Facts, verdicts: dict[str, Verdict]) -> str:
    """The verdict of a case: `violated`, `not exercised` or `holds`.

    A copy that was not offloaded, or never came to the point, was not exercised: it proves
    nothing, unless it broke another rule on its way.
    """
    broken = {rule for rule, verdict in verdicts.items() if verdict.verdict is Ruling.VIOLATED}
    if broken - {"OFFLOADED"}:
        return "violated"
    return "not exercised" if broken or not facts.reached else "holds"


def _holds(evidence: str) -> Verdict:
    return Verdict(Ruling.HOLDS, evidence)


def _violated(evidence: str) -> Verdict:
    return Verdict(Ruling.VIOLATED, evidence)


def _not_applicable(why: str) -> Verdict:
    return Verdict(Ruling.NOT_APPLICABLE, why)


def _quote(findings: Findings, sectors: list[int]) -> str:
    """The first few offending sectors with what they hold."""
    shown = [f"sector {at}: {findings.notes.get(at, 'old data')}" for at in sectors[:SHOWN]]
    more = len(sectors) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


def _not_new(findings: Findings) -> list[int]:
    """The destination sectors that do not hold the source's data."""
    start = findings.copy.destination
    return [
        start + at for at, state in enumerate(findings.destination) if state is not SectorState.NEW
    ]


def _caught(facts: Facts, damaged: tuple[int, ...], offending: list[int]) -> Verdict | None:
    """The verdict of a rule that must notice what the lab damaged, and nothing but that.

    None if nothing was damaged, or more is wrong than that: then the rule is violated as ever.
    """
    corrupted = set(damaged)
    unseen = sorted(corrupted - set(offending))
    if unseen:
        return _violated(f"sector {unseen[0]} was damaged on the medium, and nothing shows it")
    if not corrupted or corrupted != set(offending):
        return None
    quoted = _quote(facts.findings, offending)
    return Verdict(Ruling.CAUGHT, f"damaged on the medium, and seen: {quoted}")


def _all_new(findings: Findings, when: str) -> Verdict:
    missing = _not_new(findings)
    if missing:
        return _violated(f"{when}, yet {len(missing)} sectors are not: {_quote(findings, missing)}")
    return _holds(f"{when}; all {len(findings.destination)} sectors are")


def complete(facts: Facts) -> Verdict:
    """Success ⇒ every destination sector equals the source as it was before the copy."""
    if facts.completion is None or not facts.completion.succeeded:
        return _not_applicable("the copy did not report success")
    if facts.aftermath in _LOSSY:
        return _not_applicable("power was lost after the success: see DURABLE")
    damaged = (*facts.corrupted, *facts.lost)
    caught = _caught(facts, damaged, _not_new(facts.findings))
    return caught or _all_new(facts.findings, "success: all destination sectors must be new")


def prefix(facts: Facts) -> Verdict:
    """Failure that reports k ranges done ⇒ those are new."""
    completion, findings = facts.completion, facts.findings
    if completion is None or completion.succeeded:
        return _not_applicable("no failure was reported")
    if facts.aftermath in _LOSSY:
        return _not_applicable("power was lost after the failure, and nothing was flushed")
    pieces = findings.copy.pieces()
    if completion.ranges_done >= len(pieces):
        return _violated(
            f"{completion.ranges_done} of {len(pieces)} ranges done, and yet a failure"
        )
    states = findings.piece_states()[: completion.ranges_done]
    if any(state is not SectorState.NEW for piece in states for state in piece):
        end = pieces[completion.ranges_done - 1][1].end
        missing = [at for at in _not_new(findings) if at < end]
        return _violated(f"{completion}, but {_quote(findings, missing)}")
    return _holds(f"{completion}; found: {findings.summary()}")


def no_foreign(facts: Facts) -> Verdict:
    """Every destination sector is old or new, whole."""
    findings = facts.findings
    start = findings.copy.destination
    bad = [
        start + at
        for at, state in enumerate(findings.destination)
        if state in (SectorState.TORN, SectorState.FOREIGN)
    ]
    if caught := _caught(facts, facts.corrupted, bad):
        return caught
    if bad:
        kinds = ", ".join(
            f"{findings.count(state)} {state}"
            for state in (SectorState.TORN, SectorState.FOREIGN)
            if findings.count(state)
        )
        return _violated(f"{kinds}: {_quote(findings, bad)}")
    return _holds(f"all whole: {findings.summary()}")


def source(facts: Facts) -> Verdict:
    """Source sectors outside the destination are unchanged."""
    findings = facts.findings
    if findings.changed_source:
        return _violated(_quote(findings, list(findings.changed_source)))
    return _holds(f"{sum(piece.sectors for piece in findings.copy.sources)} sectors unchanged")


def neighbour(facts: Facts) -> Verdict:
    """Sectors outside the destination are unchanged."""
    findings = facts.findings
    if findings.changed_neighbour:
        return _violated(_quote(findings, list(findings.changed_neighbour)))
    if facts.stray_writes:
        return _violated("write log: " + "; ".join(facts.stray_writes[:SHOWN]))
    return _holds(f"{findings.checked_neighbours} sectors around the copy unchanged")


def signalled(facts: Facts) -> Verdict:
    """An error that the medium returned reaches the caller, or is made good below it: a durable
    success whose data are all there when the guest has ended."""
    if not facts.injected:
        return _not_applicable("the medium returned no error")
    if facts.completion is None:
        return _not_applicable("the caller was told nothing")
    if facts.completion.succeeded:
        ended = facts.flushed and facts.aftermath not in _RAN_ON
        if ended and not _not_new(facts.findings):
            return _holds(f"{facts.injected}; made good: all was there after the guest's end")
        if facts.redundant and not _not_new(facts.findings):
            return _holds(f"{facts.injected}; made good by {facts.redundant}: all is there")
        return _violated(f"{facts.injected}, and the caller was told success")
    return _holds(f"{facts.injected}; the caller was told {facts.completion}")


def error_class(facts: Facts) -> Verdict:
    """The error is one that the reference model gives in the same situation.

    A model is not asked here; but whatever it is, it does not fail where nothing went wrong.
    """
    completion = facts.completion
    if completion is None or completion.succeeded:
        return _not_applicable("no error was reported")
    if not facts.injected and not facts.disturbed and not facts.excess:
        return _violated(f"{completion}, although the medium returned no error")
    return _not_applicable(f"{completion}: to be compared with a reference model")


def durable(facts: Facts) -> Verdict:
    """Success, then a completed flush ⇒ survives power loss."""
    if facts.aftermath in _RAN_ON:
        return _not_applicable("the guest ran on")
    if facts.completion is None or not facts.completion.succeeded:
        return _not_applicable("no success was reported before the end")
    if not facts.flushed:
        return _not_applicable("nothing was flushed before the end")
    if facts.blind:
        return _not_applicable(facts.blind)
    return _all_new(facts.findings, f"durable success, then {facts.aftermath}: all must be new")


def recovers(facts: Facts) -> Verdict:
    """Once the fault is gone the same copy succeeds."""
    again = facts.recovery
    if again.problem:
        return _violated(again.problem)
    if again.completion is None or not again.completion.succeeded:
        return _violated(f"the same copy again: {again.completion or 'never completed'}")
    return _all_new(again.findings, "the same copy again succeeded: all must be new")


def no_hang(facts: Facts) -> Verdict:
    """Completes in bounded time after release; no hung task, no lockup, no oops, no crash."""
    if facts.crash:
        return _violated(facts.crash)
    if facts.complaints:
        return _violated("; ".join(islice(facts.complaints, SHOWN)))
    if facts.waited is None and facts.completion is None:
        if facts.aftermath not in _RAN_ON:
            return _not_applicable("the guest was ended while the copy was held")
        return _violated(f"no completion within {facts.deadline:.1f} s of the release")
    if facts.waited is not None and facts.waited > facts.deadline:
        return _violated(
            f"completed {facts.waited:.1f} s after the release, more than {facts.deadline:.1f} s"
        )
    if facts.waited is None:
        return _holds("completed before it came to the point")
    return _holds(f"completed {facts.waited * 1000:.0f} ms after the release")


def offloaded(facts: Facts) -> Verdict:
    """The copy was made below its caller, as its path promises."""
    seen = facts.offload
    if seen.against:
        return _violated(seen.against)
    if not seen.proof:
        return _not_applicable("the guest ended before it could tell")
    return _holds(seen.proof)


def coherent(facts: Facts) -> Verdict:
    """What was written through the page cache before the copy is what is copied, and what is read
    through it afterwards is the copy."""
    cached = facts.cached
    if cached is None:
        return _not_applicable("nothing of this copy was in the page cache")
    if cached.completion is None or not cached.completion.succeeded:
        return _violated(
            "the same copy of what was written through the page cache: "
            f"{cached.completion or 'never completed'}"
        )
    assert cached.read and cached.medium
    for found, where in (
        (cached.read, "read through the page cache"), (cached.medium, "on the medium"),
    ):  # fmt: skip
        changed = [*found.changed_source, *found.changed_neighbour]
        if changed:
            return _violated(f"{where} beside the copy: {_quote(found, changed)}")
        if missing := _not_new(found):
            return _violated(
                f"{where}: {len(missing)} sectors are not what was written through the page "
                f"cache before: {_quote(found, missing)}"
            )
    return _holds(f"written, copied and read through the page cache: {cached.read.summary()}")


def limits(facts: Facts) -> Verdict:
    """A copy within the device's limits is carried out, one above them refused: neither fails in
    silence, and none is carried out in part and called a success."""
    if not facts.size:
        return _not_applicable("the copy is not one at a limit of its device")
    if facts.completion is None:
        return _not_applicable(f"{facts.size}: the caller was told nothing")
    refused = not facts.completion.succeeded
    said = f"{facts.size}: {facts.completion}"
    return _holds(said) if refused == facts.excess else _violated(said)


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
