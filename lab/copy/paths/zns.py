"""The path `zns-copy`: an NVMe Copy within a zone, to its write pointer."""

from collections.abc import Iterator

from lab.copy.ground import GuestGround
from lab.copy.model import SECTOR, Completion, Copy
from lab.copy.oracle import Tagging
from lab.copy.paths.base import CopyPath, Subject
from lab.copy.paths.find import free_namespaces
from lab.copy.paths.nvme import NvmePath
from lab.profile.models import NvmeNamespace, Profile
from lab.vm.graph import Drive


class ZnsCopy(NvmePath):
    """Sources in the written part of a zone, the destination at its write pointer.

    Sectors that the guest has written hold their tags, because it wrote them; beyond the write
    pointer the host puts tags on the medium, so that it shows there what the device writes.
    """

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

    def prepare(self, subject: Subject, copy: Copy, tagging: Tagging) -> None:
        start, end = tagging.window.start, copy.destination
        subject.ask(op="reset-zone", node=self.node, offset=start * SECTOR)
        data, written = tagging.data(), (end - start) * SECTOR
        GuestGround(subject.ask, self.node, self.unit).write(start, data[:written])
        self.ground(subject).write(end, data[written:])

    def check(self, subject: Subject, copy: Copy, completion: Completion | None) -> str:
        """The write pointer, which a write must be possible at, and which a success must have
        moved to the end of the destination."""
        zone = subject.ask(op="zone", node=self.node, offset=copy.destination * SECTOR)
        pointer = zone["pointer"] // SECTOR
        if completion and completion.succeeded and pointer != copy.target.end:
            return (
                f"success, and the write pointer is reported at sector {pointer}, "
                f"not at {copy.target.end}"
            )
        if zone["pointer"] >= zone["start"] + zone["capacity"]:
            return ""
        told = subject.ask(
            op="write-block",
            serial=self.drive.serial,
            nsid=self.drive.nsid,
            lba=pointer // self.unit,
        )
        if told["status"]:
            return (
                f"a write at the reported write pointer, sector {pointer}, fails with "
                f"status {told['status']:#x}"
            )
        return ""
