# SPDX-License-Identifier: GPL-2.0-or-later
"""What moved through a block device of the guest during a copy, as its executor tells it.

Pure.  The executor has it from the kernel's block tracepoints (guest-scripts/layers/meter.py), and
they tell the operation: a copy that is offloaded is neither a read nor a write.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lab.copy.contract import Offload
from lab.copy.model import Copy, Extent

SHOWN = 3
"""Requests quoted."""


class BioKind(StrEnum):
    """What a bio asks for, as far as that matters here."""

    READ = "read"
    WRITE = "write"
    OTHER = "other"


@dataclass(frozen=True)
class Bio:
    """A request to a block device; addresses in its sectors.  `who`: the process that made it."""

    kind: BioKind
    extent: Extent
    who: str

    def __str__(self) -> str:
        return f"{self.kind} {self.extent} by {self.who}"

    @classmethod
    def read(cls, told: list[Any]) -> "Bio":
        """One as the executor tells it: operation, sector, sectors, who."""
        rwbs, sector, sectors, who = told
        return cls(operation(rwbs), Extent(sector, sectors), who)


def operation(rwbs: str) -> BioKind:
    """The operation in the letters of a trace event (Linux kernel/trace/blktrace.c, blk_fill_rwbs).

    F before another operation is a flush that goes before it; a flag behind it means nothing here.
    WZ are zeroes, of which the device is sent none.
    """
    letters = rwbs[1:] if rwbs[:1] == "F" and rwbs[1:2] in ("R", "W") else rwbs
    if letters.startswith("WZ"):
        return BioKind.OTHER
    # ZA appends to a zone.
    known = {"R": BioKind.READ, "W": BioKind.WRITE, "ZA": BioKind.WRITE}
    return next((known[key] for key in known if letters.startswith(key)), BioKind.OTHER)


def touched(bios: Iterable[Bio], copy: Copy) -> list[Bio]:
    """The reads and writes among them that touch the copy's sectors."""
    extents = (*copy.sources, copy.target)
    return [
        bio
        for bio in bios
        if bio.kind is not BioKind.OTHER and any(map(bio.extent.overlaps, extents))
    ]


def by_absence(answer: dict[str, Any] | None, seen: str) -> Offload:
    """What it means that no read or write of a copy was there, which `seen` says: proof, where its
    caller was told success.  A copy that failed or was ended may have come to none of them."""
    if answer is None:
        return Offload()
    if "killed" in answer:
        return Offload(untold=f"{seen}, but who asked for the copy was killed")
    if answer.get("errno") or answer.get("status"):
        return Offload(untold=f"{seen}, but the copy failed")
    return Offload(seen)


def moved_through(answer: dict[str, Any] | None, what: str, copy: Copy | None = None) -> Offload:
    """The proof of paths that end in a block device: its user moved nothing through it.

    `copy` says which sectors of the device are the copy's; None: all are.
    """
    moved = answer and answer.get("moved")
    if not moved:
        return Offload(untold=f"nobody told what moved through {what}") if answer else Offload()
    if "unknown" in moved:
        return Offload(against=f"who moved the data cannot be told: {moved['unknown']}")
    if moved["lost"]:
        return Offload(against=f"{moved['lost']} requests to {what} went by unseen")
    bios = [bio for bio in map(Bio.read, moved["bios"]) if bio.kind is not BioKind.OTHER]
    found = touched(bios, copy) if copy else bios
    if not found:
        return by_absence(answer, f"nothing of the copy was read or written through {what}")
    said = f"through {what}: {'; '.join(map(str, found[:SHOWN]))}"
    more = len(found) - SHOWN
    return served(found, copy, said + (f"; and {more} more" if more > 0 else ""))


def served(found: Iterable[Bio], copy: Copy | None, said: str) -> Offload:
    """What reads and writes of a copy's sectors mean: where one wrote to the destination, that is
    how its caller was served; reads alone bring no data anywhere."""
    wrote = any(
        bio.kind is BioKind.WRITE and (copy is None or bio.extent.overlaps(copy.target))
        for bio in found
    )
    return Offload.fell_back(said) if wrote else Offload(against=said)
