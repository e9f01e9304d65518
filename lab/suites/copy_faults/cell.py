# SPDX-License-Identifier: GPL-2.0-or-later
"""What a case is made of, apart from the guest: enough to carry it out once more."""

from dataclasses import dataclass
from typing import Any

from lab.copy.model import Copy, Extent, Layout
from lab.faults.actions import Action, named
from lab.faults.blkerror import ALIKE, BlockError
from lab.faults.model import Point
from lab.suites.copy_faults.acts import registry


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

    @property
    def name(self) -> str:
        """How people call it: `write:2 eio`, `rehearsal` or `above mcl`."""
        return self.size or named(self.point, self.action)

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
        }

    @classmethod
    def read(cls, document: dict[str, Any]) -> "Setup":
        """The setup in a case's JSON, which may hold more.

        Raises KeyError, TypeError or ValueError when it is none, UsageError when it names a
        point or an action that does not exist.
        """
        copy = document["copy"]
        sources = tuple(Extent(start, sectors) for start, sectors in copy["sources"])
        start, sectors = document["window"]
        layout = Layout(Copy(sources, copy["destination"], copy["unit"]), Extent(start, sectors))
        return cls(
            layout, Point.parse(document["point"]), registry.action_called(document["action"]),
            document["path"], document["on"], document["cut"], document["fua"],
            BlockError.parse(document.get("blk_error", "")),
            # Bundles of before have none.
            document.get("size") or "",
        )  # fmt: skip
