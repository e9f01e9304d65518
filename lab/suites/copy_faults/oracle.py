# SPDX-License-Identifier: GPL-2.0-or-later
"""The oracle on a bench: it tags the ground before each copy, and says what became of it."""

from lab.copy.concurrent import Crowd, Rivals
from lab.copy.ground import Guess
from lab.copy.model import SECTOR, Copy, Layout
from lab.copy.oracle import Findings, Tagging, classify
from lab.copy.paths.base import CopyPath
from lab.copy.paths.instrument import Instrument
from lab.copy.tags import unreadable
from lab.errors import GuestError
from lab.guest.guest import Guest
from lab.host.dirs import not_writable
from lab.results.run import Run
from lab.suites.copy_faults.crowd import taggings


class Oracle:
    """That of a run, over the reboots of its guest; no two tags of it are of one generation."""

    def __init__(self, run: Run, guest: Guest, instrument: Instrument[CopyPath]) -> None:
        self._run = run
        self._guest = guest
        self._instrument = instrument
        self._generation = 0

    def tag(self, layout: Layout) -> Tagging:
        """Tag the window with a new generation, and let everything come to rest."""
        self._generation += 1
        tagging = Tagging(layout.window, self._generation, self._run.number)
        try:
            self._instrument.prepare(layout.copy, tagging)
        except OSError as error:
            raise not_writable(self._instrument.medium, error) from error
        return tagging

    def tag_cached(self, layout: Layout) -> Tagging:
        """Tag the window through the page cache with a new generation, and leave it there."""
        self._generation += 1
        tagging = Tagging(layout.window, self._generation, self._run.number)
        self._instrument.cache.write(tagging.window.start, tagging.data())
        return tagging

    def crowd(self, copy: Copy, rivals: Rivals, tagging: Tagging) -> Crowd:
        """A copy with its rivals, on a window that was tagged."""
        written = tuple(taggings(rivals, self._generation + 1, self._run.number))
        self._generation += len(written)
        block = self._instrument.path.drive.block_size // SECTOR
        return Crowd(copy, rivals, tagging, written, block)

    def look(self, copy: Copy, tagging: Tagging) -> Findings:
        """What became of a copy; see read()."""
        return classify(copy, tagging, self.read(tagging, tagging.copied(copy)))

    def read(self, tagging: Tagging, guess: Guess | None = None) -> bytes:
        """Let the oracle read the ground; what cannot even be opened is lost, sector by sector."""
        try:
            return self._instrument.ground.read(tagging.window, guess)
        except GuestError as error:
            if not self._guest.machine.alive():
                raise
            self._run.emit("lab", "not read", text=str(error))
            return unreadable("what held it is gone") * tagging.window.sectors
