# SPDX-License-Identifier: GPL-2.0-or-later
"""The path `zns-copy`: an NVMe Copy within a zone, to its write pointer."""

from collections.abc import Iterator
from typing import Any

from lab.copy.answers import StatusAnswer, ZoneAnswer, checked
from lab.copy.ground import GuestGround
from lab.copy.model import SECTOR, Completion, Copy
from lab.copy.oracle import Tagging
from lab.copy.paths.base import CopyPath
from lab.copy.paths.find import free_namespaces
from lab.copy.paths.instrument import Instrument, Subject
from lab.copy.paths.nvme import NvmeInstrument, NvmePath
from lab.profile.models import NvmeNamespace, Profile
from lab.vm.graph import Drive


class ZnsCopy(NvmePath):
    """Sources in the written part of a zone, the destination at its write pointer."""

    name = "zns-copy"
    does = "an NVMe Copy command within a zone, to its write pointer"
    needs = "an emulated zoned NVMe namespace without layers"
    copies_last = True

    def __init__(self, drive: Drive, namespace: NvmeNamespace) -> None:
        assert namespace.zoned
        super().__init__(drive, namespace, first=namespace.zoned.zone_size // SECTOR)
        # The window lies in the second zone, as far as it can be written.
        self.size = namespace.zoned.zone_size + namespace.zoned.capacity

    @classmethod
    def candidates(cls, profile: Profile) -> Iterator[CopyPath]:
        for drive, namespace in free_namespaces(profile):
            if namespace.zoned and not namespace.metadata and namespace.zones > 1:
                yield cls(drive, namespace)

    def on(self, subject: Subject) -> Instrument[Any]:
        return _Zone(self, subject)


class _Zone(NvmeInstrument):
    """Sectors that the guest has written hold their tags, because it wrote them; beyond the write
    pointer the host puts tags on the medium, so that it shows there what the device writes."""

    def prepare(self, copy: Copy, tagging: Tagging) -> None:
        start, end = tagging.window.start, copy.destination
        self.ask(op="sectors.reset_zone", node=self.path.node, offset=start * SECTOR)
        data, written = tagging.data(), (end - start) * SECTOR
        GuestGround(self.ask, self.path.node, self.path.unit).write(start, data[:written])
        self.ground.write(end, data[written:])

    def check(self, copy: Copy, completion: Completion | None) -> str:
        """The write pointer, which a write must be possible at, and which a success must have
        moved to the end of the destination."""
        at = copy.destination * SECTOR
        zone = checked(ZoneAnswer, self.ask(op="sectors.zone", node=self.path.node, offset=at))
        pointer = zone.pointer // SECTOR
        if completion and completion.succeeded and pointer != copy.target.end:
            return (
                f"success, and the write pointer is reported at sector {pointer}, "
                f"not at {copy.target.end}"
            )
        if zone.pointer >= zone.start + zone.capacity:
            return ""
        told = self.ask(
            op="nvme.write_block",
            serial=self.path.drive.serial,
            nsid=self.path.drive.nsid,
            lba=pointer // self.path.unit,
        )
        if status := checked(StatusAnswer, told).status:
            return (
                f"a write at the reported write pointer, sector {pointer}, fails with "
                f"status {status:#x}"
            )
        return ""
