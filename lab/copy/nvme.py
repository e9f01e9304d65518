"""The offload path `nvme-copy`: one NVMe Copy command by passthrough, and its proof."""

import re
from dataclasses import dataclass
from typing import Any

from lab.copy.contract import Offload
from lab.copy.model import SECTOR, Completion, Copy, Extent
from lab.errors import UsageError
from lab.profile.models import CopyLimits
from lab.vm.graph import Drive

TRACE_EVENTS = ("pci_nvme_copy*", "pci_nvme_read", "pci_nvme_write")
"""QEMU trace events (hw/nvme/trace-events) that tell what the device was asked to do."""

_LINE = re.compile(
    r"\d+@(?P<time>\d+\.\d+):(?P<event>pci_nvme_(?:copy|copy_source_range|read|write)) (?P<rest>.*)"
)
_LBA = re.compile(r"\blba 0x([0-9a-f]+)")
_NSID = re.compile(r"\bnsid (\d+)")
_BLOCKS = re.compile(r"\bnlb (\d+)")


@dataclass(frozen=True)
class TraceLine:
    """One trace event: wall-clock seconds, its name without prefix, and its arguments."""

    time: float
    event: str
    arguments: str


def request(copy: Copy, drive: Drive) -> dict[str, object]:
    """The executor's request for a copy on a drive; addresses in its logical blocks."""
    unit = drive.block_size // SECTOR
    return {
        "op": "copy",
        "serial": drive.serial,
        "nsid": drive.nsid,
        "ranges": [[source.start // unit, source.sectors // unit] for source in copy.sources],
        "sdlba": copy.destination // unit,
    }


def completion(answer: dict[str, Any]) -> Completion:
    """What the executor reported, as the end of a copy."""
    return Completion(answer["status"], answer["dw0"], answer["seconds"])


def check_limits(copy: Copy, limits: CopyLimits) -> None:
    """Raise UsageError when the device would refuse the copy for its size alone."""
    longest = max(source.sectors for source in copy.sources) // copy.unit
    total = copy.target.sectors // copy.unit
    for what, value, name, limit in (
        ("source ranges", len(copy.sources), "msrc", limits.msrc),
        ("blocks in a range", longest, "mssrl", limits.mssrl),
        ("blocks in all", total, "mcl", limits.mcl),
    ):
        if value > limit:
            raise UsageError(
                f"{value} {what}: the profile's device allows {limit} ({name})",
                hint="ask for less, or raise the limit in the profile",
            )


def parse_trace(text: str) -> list[TraceLine]:
    """The lines of a QEMU trace log (log backend with timestamps) that concern copies and I/O."""
    return [
        TraceLine(float(m["time"]), m["event"].removeprefix("pci_nvme_"), m["rest"])
        for m in map(_LINE.match, text.splitlines())
        if m
    ]


def offload(lines: list[TraceLine], copy: Copy, nsid: int, expected_ranges: int) -> Offload:
    """What the device did on namespace `nsid`, as evidence for OFFLOADED."""
    return Offload(
        copies=sum(line.event == "copy" and _of(line, nsid) for line in lines),
        ranges=sum(line.event == "copy_source_range" for line in lines),
        expected_ranges=expected_ranges,
        other_io=tuple(
            f"{line.event} {line.arguments}"
            for line in lines
            if _of(line, nsid) and _touches(line, copy)
        ),
    )


def _of(line: TraceLine, nsid: int) -> bool:
    found = _NSID.search(line.arguments)
    return found is not None and int(found[1]) == nsid


def _touches(line: TraceLine, copy: Copy) -> bool:
    """Whether an ordinary read or write overlaps a sector of the copy."""
    if line.event not in ("read", "write"):
        return False
    lba, blocks = _LBA.search(line.arguments), _BLOCKS.search(line.arguments)
    if not lba or not blocks:
        return False
    touched = Extent(int(lba[1], 16) * copy.unit, int(blocks[1]) * copy.unit)
    return any(
        touched.start < extent.end and extent.start < touched.end
        for extent in (*copy.sources, copy.target)
    )
