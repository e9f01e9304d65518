# SPDX-License-Identifier: GPL-2.0-or-later
"""A power cut: the medium of each disk whose reads and writes are the points, rebuilt from what
outlives it of the disk's write log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.crash import writelog
from lab.crash.writelog import LogEntry
from lab.host.clone import clone
from lab.host.dirs import not_writable
from lab.vm.graph import Drive


@dataclass(frozen=True)
class PowerCut:
    """One that is to come: `directory` is the guest's, `bases` copies of the media from before."""

    directory: Path
    bases: Mapping[Drive, Path]

    @classmethod
    def prepared(cls, directory: Path, drives: Sequence[Drive]) -> "PowerCut":
        """Copy the media of these disks as they are now, beside them.  Raises HostError."""
        bases: dict[Drive, Path] = {}
        for drive in drives:
            medium = directory / drive.medium
            base = medium.with_suffix(".base")
            try:
                clone(medium, base)
            except OSError as error:
                for made in (*bases.values(), base):
                    made.unlink(missing_ok=True)
                raise not_writable(base, error) from error
            bases[drive] = base
        return cls(directory, bases)

    def rebuild(self, survivors: Mapping[Drive, Sequence[LogEntry]]) -> None:
        """Leave of each medium what it was before, and these of its logged writes; the guest must
        have ended."""
        for drive, base in self.bases.items():
            writelog.replay(self.directory / drive.write_log, list(survivors[drive]), base)
            base.replace(self.directory / drive.medium)
