# SPDX-License-Identifier: GPL-2.0-or-later
"""The path `nvme-cross-ns`: an NVMe Copy command from one namespace to another."""

from collections.abc import Iterator
from typing import Any

from lab.copy.ground import Ground, PairedGround
from lab.copy.model import Copy
from lab.copy.paths.base import CopyPath, Logs, all_writes
from lab.copy.paths.find import free_namespaces
from lab.copy.paths.instrument import Instrument, Subject
from lab.copy.paths.nvme import NvmeInstrument, NvmePath
from lab.faults.actions import Action
from lab.profile.models import NvmeNamespace, Profile
from lab.vm.graph import Drive


class NvmeCrossNs(NvmePath):
    """Copies from one namespace to another of the same controller, to which nothing at all may be
    written: reads are those of the one, writes those of the other."""

    name = "nvme-cross-ns"
    does = "an NVMe Copy command from another namespace (descriptor format 2)"
    needs = "two emulated NVMe namespaces of one controller without zones, metadata or layers"

    def __init__(self, drive: Drive, namespace: NvmeNamespace, source: Drive) -> None:
        super().__init__(drive, namespace)
        # Its addresses are the same on both.
        self.size = min(source.size, drive.size)
        self.source = source

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

    @property
    def others(self) -> tuple[Drive, ...]:
        return (self.source,)

    @property
    def stepped(self) -> tuple[Drive, ...]:
        return (self.drive, self.source)

    def possible(self, action: Action) -> bool:
        # The rate limit of a disk holds a write behind the read before it, and that is another's.
        return super().possible(action) and not action.throttles

    def request(self, copy: Copy) -> dict[str, object]:
        return super().request(copy) | {"source": self.source.nsid}

    def strays(self, logs: Logs, copy: Copy) -> Iterator[str]:
        """All that was written to the source's namespace, as well."""
        yield from super().strays(logs, copy)
        yield from all_writes(logs, self.source)

    def on(self, subject: Subject) -> Instrument[Any]:
        return _NamespacePair(self, self.source, subject)


class _NamespacePair(NvmeInstrument):
    """Both namespaces are tagged alike."""

    def __init__(self, path: NvmePath, source: Drive, subject: Subject) -> None:
        super().__init__(path, subject)
        self._source = subject.medium.parent / source.medium

    @property
    def ground(self) -> Ground:
        return PairedGround(self.medium, self._source)
