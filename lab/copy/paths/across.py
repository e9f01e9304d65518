# SPDX-License-Identifier: GPL-2.0-or-later
"""What paths from one disk to another have in common."""

from collections.abc import Iterator

from lab.copy.model import Copy
from lab.copy.paths.base import CopyPath, Logs, stray, writes
from lab.vm.graph import Drive


class Across(CopyPath):
    """Copies from `source` to `drive`, with the same addresses on both: reads are those of the one,
    writes those of the other, and nothing at all may be written to the first.

    Mixed in before the class that tells how such a copy is asked for.
    """

    source: Drive

    def reads(self, source: Drive) -> None:
        """Take the disk that is read; a copy must fit on both."""
        self.source = source
        self.size = min(source.size, self.size)

    @property
    def others(self) -> tuple[Drive, ...]:
        return (self.source,)

    @property
    def stepped(self) -> tuple[Drive, ...]:
        return (self.drive, self.source)

    def strays(self, logs: Logs, copy: Copy) -> Iterator[str]:
        """All that was written to the source's disk, as well."""
        own = {drive: found for drive, found in logs.items() if drive != self.source}
        yield from super().strays(own, copy)
        of_source = {drive: found for drive, found in logs.items() if drive == self.source}
        for drive, wrote in writes(of_source):
            yield stray(drive, wrote)
