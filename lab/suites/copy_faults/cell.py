# SPDX-License-Identifier: GPL-2.0-or-later
"""What a case is made of, apart from the guest: enough to carry it out once more."""

from dataclasses import dataclass
from typing import Any

from lab.copy.concurrent import ALONE, Rivals
from lab.copy.model import Copy, Extent, Layout
from lab.faults.actions import Action, named
from lab.faults.blkerror import ALIKE, BlockError
from lab.faults.model import Point
from lab.suites.copy_faults.acts import registry

MAX_ALLOCATIONS = 10_000
"""Allocations of a copy that are tried: more than any makes."""
_LARGEST = 1 << 22
"""Sectors of a window that is tagged and checked, at most; a bundle may say anything."""


@dataclass(frozen=True)
class Setup:
    """A copy, where it is interrupted, and what is done to it there."""

    layout: Layout
    point: Point
    action: Action
    path: str = "nvme-copy"
    """The offload path."""
    ref: str = ""
    """The disk or layer that it copies on."""
    cut: int = 0
    """Blocks of its range that a torn write leaves on the medium; 0: half of them."""
    fua: bool = False
    """The copy itself must be durable."""
    block_error: BlockError = ALIKE
    """What `blk-error` fails."""
    size: str = ""
    """How a copy lies to a limit of its device: `above mcl`; '' where that is not the question."""
    rivals: Rivals = ALONE
    """What copies and writes at the same time."""

    allocation: int = 0
    """Which of the copying task's allocations fails, from 1 on; 0 where none is to."""

    @property
    def name(self) -> str:
        """How people call it: `write:2 eio`, `rehearsal`, `above mcl` or `failslab 3`."""
        called = self.size or named(self.point, self.action)
        return f"{called} {self.allocation}" if self.allocation else called

    def document(self) -> dict[str, Any]:
        """Its JSON; addresses and lengths in sectors, extents as [start, sectors]."""
        copy, window = self.layout.copy, self.layout.window
        return {
            "path": self.path,
            "on": self.ref,
            "point": str(self.point),
            "action": str(self.action),
            "copy": {
                "sources": [[source.start, source.sectors] for source in copy.sources],
                "destination": copy.destination,
                "unit": copy.unit,
            },
            "window": [window.start, window.sectors],
            "cut": self.cut,
            "fua": self.fua,
            "blk_error": str(self.block_error),
            "size": self.size or None,
            "rivals": self.rivals.document() if self.rivals else None,
            "allocation": self.allocation or None,
        }

    @classmethod
    def read(cls, document: dict[str, Any]) -> "Setup":
        """The setup in a case's JSON, which may hold more.

        Raises KeyError, TypeError or ValueError when it is none, UsageError when it names a
        point or an action that does not exist.
        """
        copy = document["copy"]
        sources = tuple(_extent(*each) for each in copy["sources"])
        unit = _number(copy["unit"], 1)
        layout = Layout(
            Copy(sources, _number(copy["destination"]), unit), _extent(*document["window"])
        )
        if not sources or any(each.sectors > _LARGEST for each in (*sources, layout.window)):
            raise ValueError("a copy of no size that there is")
        path, ref, fua = document["path"], document["on"], document["fua"]
        if not (isinstance(path, str) and isinstance(ref, str) and isinstance(fua, bool)):
            raise TypeError("path, on or fua")
        action = registry.action_called(str(document["action"]))
        # Bundles of before have none.
        allocation = _number(document.get("allocation") or 0)
        if bool(allocation) != action.beforehand or allocation > MAX_ALLOCATIONS:
            raise ValueError(f"{action} at allocation {allocation}")
        return cls(
            layout, Point.parse(str(document["point"])),
            action,
            path, ref, _number(document["cut"]), fua,
            BlockError.parse(str(document.get("blk_error", ""))),
            # Bundles of before have none.
            str(document.get("size") or ""),
            _rivals(document.get("rivals"), layout),
            allocation,
        )  # fmt: skip


def _rivals(document: Any, layout: Layout) -> Rivals:
    """Those in a case's JSON, inside of its window.  Raises KeyError, TypeError or ValueError."""
    if document is None:
        return ALONE
    copies = tuple(
        Copy(
            tuple(_extent(*source) for source in each["sources"]),
            _number(each["destination"]), layout.copy.unit,
        )
        for each in document["copies"]
    )  # fmt: skip
    found = Rivals(copies, tuple(_extent(*each) for each in document["writes"]))
    used = [*found.targets(layout.copy), *(source for each in copies for source in each.sources)]
    unit, window = layout.copy.unit, layout.window
    for each in used:
        if each.start < window.start or each.end > window.end or not each.sectors:
            raise ValueError("a copy or write beyond the window")
        if (each.start - window.start) % unit or each.sectors % unit:
            raise ValueError("a copy or write of no whole blocks")
    return found


def _extent(start: Any, sectors: Any) -> Extent:
    return Extent(_number(start), _number(sectors, 1))


def _number(value: Any, least: int = 0) -> int:
    """A number of sectors or blocks.  Raises ValueError if it is none."""
    if type(value) is not int or not least <= value < 1 << 48:
        raise ValueError(f"{value!r} where a number should be")
    return value
