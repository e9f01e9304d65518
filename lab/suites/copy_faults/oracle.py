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
        """Tag the window with a new generation, and let everything come to rest; where copies come
        from another disk, that with a generation of its own."""
        source = self._next() if self._instrument.path.source else 0
        tagging = Tagging(layout.window, self._next(), self._run.number, source)
        try:
            self._instrument.prepare(layout.copy, tagging)
        except OSError as error:
            raise not_writable(self._instrument.medium, error) from error
        return tagging

    def _next(self) -> int:
        self._generation += 1
        return self._generation

    def tag_cached(self, layout: Layout) -> Tagging:
        """Tag the window through the page cache with a new generation, and leave it there."""
        tagging = Tagging(layout.window, self._next(), self._run.number)
        self._instrument.cache.write(tagging.window.start, tagging.data())
        return tagging

    def crowd(self, copy: Copy, rivals: Rivals, tagging: Tagging) -> Crowd:
        """A copy with its rivals, on a window that was tagged."""
        written = tuple(taggings(rivals, self._generation + 1, self._run.number))
        self._generation += len(written)
        atom = self._instrument.path.atom // SECTOR
        return Crowd(copy, rivals, tagging, written, atom)

    def look(self, copy: Copy, tagging: Tagging) -> Findings:
        """What became of a copy; see read()."""
        return classify(
            copy, tagging, self.read(tagging, tagging.copied(copy)), self._read_source(tagging)
        )

    def look_at_crowd(self, crowd: Crowd) -> tuple[Findings, ...]:
        """What became of a copy and of its rivals; see read()."""
        return crowd.findings(self.read(crowd.before), self._read_source(crowd.before))

    def _read_source(self, tagging: Tagging) -> bytes | None:
        """The window of the disk that copies come from; None where it is the same."""
        if self._instrument.path.source is None:
            return None
        return self._instrument.ground.source.read(tagging.window)

    def read(self, tagging: Tagging, guess: Guess | None = None) -> bytes:
        """Let the oracle read the ground; what cannot even be opened is lost, sector by sector."""
        try:
            return self._instrument.ground.read(tagging.window, guess)
        except GuestError as error:
            if not self._guest.machine.alive():
                raise
            self._run.emit("lab", "not read", text=str(error))
            return unreadable("what held it is gone") * tagging.window.sectors
