# SPDX-License-Identifier: GPL-2.0-or-later
"""The path `nvme-cross-ns`: an NVMe Copy command from one namespace to another."""

from collections.abc import Iterator

from lab.copy.model import Copy
from lab.copy.paths.across import Across
from lab.copy.paths.base import CopyPath
from lab.copy.paths.find import free_namespaces
from lab.copy.paths.nvme import NvmePath
from lab.faults.actions import Action
from lab.profile.models import NvmeNamespace, Profile
from lab.vm.graph import Drive


class NvmeCrossNs(Across, NvmePath):
    """From one namespace to another of the same controller."""

    name = "nvme-cross-ns"
    does = "an NVMe Copy command from another namespace (descriptor format 2)"
    needs = "two emulated NVMe namespaces of one controller without zones, metadata or layers"

    def __init__(self, drive: Drive, namespace: NvmeNamespace, source: Drive) -> None:
        super().__init__(drive, namespace)
        self.reads(source)

    @classmethod
    def candidates(cls, profile: Profile) -> Iterator[CopyPath]:
        plain = [
            each for each in free_namespaces(profile) if not each[1].zoned and not each[1].metadata
        ]
        for drive, namespace in plain:
            for source, _ in plain:
                alike = source.block_size == drive.block_size
                if source.serial == drive.serial and source.nsid != drive.nsid and alike:
                    yield cls(drive, namespace, source)

    def possible(self, action: Action) -> bool:
        # The rate limit of a disk holds a write behind the read before it, and that is another's.
        return super().possible(action) and not action.throttles

    def request(self, copy: Copy) -> dict[str, object]:
        return super().request(copy) | {"source": self.source.nsid}
