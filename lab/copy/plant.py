# SPDX-License-Identifier: GPL-2.0-or-later
"""Defects planted on purpose: an oracle that cannot fail proves nothing.

Each kind damages one thing, at the place where a real defect of that kind would sit, in every
case where it can; the rule it names must then come to the ruling it names.
"""

from collections.abc import Sequence
from dataclasses import replace
from textwrap import fill

from lab.copy.contract import Ruling
from lab.copy.ground import Ground
from lab.copy.model import SECTOR, Completion, Copy
from lab.copy.oracle import Tagging, flip_bit
from lab.copy.sizes import SIZE_LIMIT_EXCEEDED
from lab.crash.writelog import LogEntry
from lab.errors import UsageError
from lab.vm.graph import Rule


class Plant:
    """No defect: every hook passes on what it was given.  Kinds override one each."""

    kind = ""
    rule = ""
    """The rule that must come to `ruling`."""
    ruling = Ruling.VIOLATED
    does = ""

    def rules(self, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        """The rules of the fault layer."""
        return rules

    def request(self, request: dict[str, object]) -> dict[str, object]:
        """The request that the executor in the guest receives."""
        return request

    def delay(self, deadline: float) -> float:
        """Seconds by which the release comes too late."""
        return 0.0

    def kernel_message(self) -> str:
        """A message that the guest's kernel logs during the copy."""
        return ""

    def completion(self, completion: Completion, copy: Copy) -> Completion:
        """What the caller is told."""
        return completion

    def survivors(self, entries: Sequence[LogEntry]) -> Sequence[LogEntry]:
        """The logged writes that survive the power cut."""
        return entries

    def cached(self, data: bytes, copy: Copy, tagging: Tagging) -> bytes:
        """The bytes of the window as they are read through the page cache after the copy."""
        return data

    def medium(self, ground: Ground, copy: Copy, tagging: Tagging, succeeded: bool) -> None:
        """The ground after the copy, before the oracle reads it."""


class FlipBit(Plant):
    kind, rule = "flip-bit", "NO-FOREIGN"
    does = "one bit of the destination is flipped on the medium"

    def medium(self, ground: Ground, copy: Copy, tagging: Tagging, succeeded: bool) -> None:
        flip_bit(ground, copy.destination)


class HideCorruption(Plant):
    kind, rule = "hide-corruption", "NO-FOREIGN"
    does = "what was corrupted on the medium is made whole before the oracle looks"

    def medium(self, ground: Ground, copy: Copy, tagging: Tagging, succeeded: bool) -> None:
        if succeeded:
            whole = b"".join(map(tagging.source.sector, copy.origins().values()))
            ground.write(copy.destination, whole)


class WrongRange(Plant):
    kind, rule = "wrong-range", "NO-FOREIGN"
    does = "the first destination sector gets the data of the last range"

    def medium(self, ground: Ground, copy: Copy, tagging: Tagging, succeeded: bool) -> None:
        ground.write(copy.destination, tagging.source.sector(copy.sources[-1].end - 1))


class TornBlock(Plant):
    kind, rule = "torn-block", "NO-FOREIGN"
    does = "the first destination block holds half new, half old data"

    def medium(self, ground: Ground, copy: Copy, tagging: Tagging, succeeded: bool) -> None:
        new = tagging.source.sector(copy.sources[0].start)
        old = tagging.sector(copy.destination)
        ground.write(copy.destination, new[: SECTOR // 2] + old[SECTOR // 2 :])


class TouchNeighbour(Plant):
    kind, rule = "touch-neighbour", "NEIGHBOUR"
    does = "the sector behind the destination gets source data"

    def medium(self, ground: Ground, copy: Copy, tagging: Tagging, succeeded: bool) -> None:
        ground.write(copy.target.end, tagging.source.sector(copy.sources[0].start))


class ChangeSource(Plant):
    kind, rule = "change-source", "SOURCE"
    does = "the first source sector is overwritten with zeroes"

    def medium(self, ground: Ground, copy: Copy, tagging: Tagging, succeeded: bool) -> None:
        ground.source.write(copy.sources[0].start, bytes(SECTOR))


class DropLastRange(Plant):
    kind, rule = "drop-last-range", "COMPLETE"
    does = "the last range is not written, and success is reported"

    def medium(self, ground: Ground, copy: Copy, tagging: Tagging, succeeded: bool) -> None:
        last = copy.pieces()[-1][1]
        if succeeded:
            ground.write(last.start, b"".join(map(tagging.sector, last)))


class DropFlushedWrite(Plant):
    kind, rule = "drop-flushed-write", "DURABLE"
    does = "a power cut loses a write that was flushed"

    def survivors(self, entries: Sequence[LogEntry]) -> Sequence[LogEntry]:
        writes = [entry for entry in entries if entry.length]
        return [entry for entry in entries if entry is not writes[-1]] if writes else entries


class TearCachedBlock(Plant):
    kind, rule = "tear-cached-block", "NO-FOREIGN"
    does = "a power cut leaves the first half of a sector that was being written back"

    def survivors(self, entries: Sequence[LogEntry]) -> Sequence[LogEntry]:
        writes = [at for at, entry in enumerate(entries) if entry.length]
        if not writes:
            return entries
        last = entries[writes[-1]]
        return [*entries[: writes[-1]], replace(last, length=SECTOR // 2)]


class SwallowError(Plant):
    kind, rule = "swallow-error", "SIGNALLED"
    does = "an error of the medium is reported as success"

    def completion(self, completion: Completion, copy: Copy) -> Completion:
        return replace(completion, status=0, ranges_done=0, error="")


class Overstate(Plant):
    kind, rule = "overstate-progress", "PREFIX"
    does = "a failed copy reports one range more than is done"

    def completion(self, completion: Completion, copy: Copy) -> Completion:
        if completion.succeeded:
            return completion
        return replace(completion, ranges_done=completion.ranges_done + 1)


class SpuriousError(Plant):
    kind, rule = "spurious-error", "ERROR-CLASS"
    does = "a copy that went well is reported as failed"

    def completion(self, completion: Completion, copy: Copy) -> Completion:
        if not completion.succeeded:
            return completion
        return replace(completion, status=0x06, error="EIO")


class FaultStays(Plant):
    kind, rule = "fault-stays", "RECOVERS"
    does = "the medium goes on failing after the fault should be gone"

    def rules(self, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        return tuple(replace(rule, once=False) for rule in rules)


class LateRelease(Plant):
    kind, rule = "late-release", "NO-HANG"
    does = "the held copy ends only after the deadline"

    def delay(self, deadline: float) -> float:
        return deadline + 0.5


class KernelBug(Plant):
    kind, rule = "kernel-bug", "NO-HANG"
    does = "the guest's kernel logs a hung task during the copy"

    def kernel_message(self) -> str:
        return "INFO: task nvme-copy:1 blocked for more than 120 seconds."


class NotOffloaded(Plant):
    kind, rule, ruling = "not-offloaded", "OFFLOADED", Ruling.FELL_BACK
    does = "the guest reads and writes instead of sending a Copy command"

    def request(self, request: dict[str, object]) -> dict[str, object]:
        return {**request, "emulate": True}


class FallBack(Plant):
    kind, rule, ruling = "fall-back", "SIGNALLED", Ruling.FELL_BACK
    does = "a copy that failed is made again by reading and writing, which is reported"

    def request(self, request: dict[str, object]) -> dict[str, object]:
        return {**request, "fall_back": True}


class NoCopy(Plant):
    kind, rule = "no-copy", "COMPLETE"
    does = "the kernel moves nothing, and reports success"

    def request(self, request: dict[str, object]) -> dict[str, object]:
        return {**request, "pretend": True}


class NoLimits(Plant):
    kind, rule = "no-limits", "LIMITS"
    does = "a copy that the device refused for its size is reported as success"

    def completion(self, completion: Completion, copy: Copy) -> Completion:
        refused = completion.status == SIZE_LIMIT_EXCEEDED
        return replace(completion, status=0, error="") if refused else completion


class StaleCache(Plant):
    kind, rule = "stale-cache", "COHERENT"
    does = "the page cache has the destination as it was before the copy"

    def cached(self, data: bytes, copy: Copy, tagging: Tagging) -> bytes:
        window, target = tagging.window, copy.target
        start, end = ((at - window.start) * SECTOR for at in (target.start, target.end))
        return data[:start] + b"".join(map(tagging.sector, target)) + data[end:]


KINDS: dict[str, type[Plant]] = {plant.kind: plant for plant in Plant.__subclasses__()}
"""Every kind by its name."""


def find(kind: str) -> Plant:
    """The plant of a kind; the one that plants nothing for ''.  Raises UsageError."""
    if not kind:
        return Plant()
    try:
        return KINDS[kind]()
    except KeyError:
        raise UsageError(f"no defect {kind!r} to plant", hint="--plant help lists them") from None


def listing() -> str:
    """The kinds with the rule that must catch each, in lines of 80 columns."""
    return "\n".join(
        fill(f"{kind:<18} {plant.rule:<11} {plant.does}", 80, subsequent_indent=" " * 31)
        for kind, plant in KINDS.items()
    )
