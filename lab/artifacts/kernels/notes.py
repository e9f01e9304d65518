# SPDX-License-Identifier: GPL-2.0-or-later
"""What is kept of a kernel that counts what it executes, so that its counts can be read when the
tree has gone on to another kernel, and on other hosts.

coverage/places         the directories and files of sources that count, a line each
coverage/origin         where it was compiled: the build directory, and the sources
coverage/notes/…        .gcno of each object (gcc: what lines its counters are of), as in the build
coverage/sources/…      the files that were compiled, and the headers beside them
coverage/series.diff    what the series changes, if there is one
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.artifacts.kernels import gcov
from lab.artifacts.kernels.git import git
from lab.errors import BuildError, HostError, UsageError

DIRECTORY = "coverage"
"""In the artifact of a kernel."""

_PLACES, _ORIGIN = "places", "origin"
_NOTES, _SOURCES, _SERIES = "notes", "sources", "series.diff"


@dataclass(frozen=True)
class KernelNotes:
    """The notes of a kernel, in their directory."""

    directory: Path

    @property
    def places(self) -> tuple[str, ...]:
        """The directories and files of sources that count."""
        return tuple((self.directory / _PLACES).read_text().splitlines())

    @property
    def origin(self) -> tuple[str, str]:
        """Where it was compiled: the build directory and that of the sources, as they were called
        on that host."""
        out, sources = (self.directory / _ORIGIN).read_text().splitlines()
        return out, sources

    @property
    def notes(self) -> Path:
        """The directory with the .gcno files, laid out as the build directory."""
        return self.directory / _NOTES

    @property
    def sources(self) -> Path:
        """The directory with the sources, as far as they are kept."""
        return self.directory / _SOURCES

    @property
    def series(self) -> str:
        """What the series changes, as git tells it; '' without one."""
        path = self.directory / _SERIES
        return path.read_text(errors="surrogateescape") if path.is_file() else ""


def of_kernel(artifact: Path) -> KernelNotes:
    """The notes in the directory of a kernel's artifact.  Raises HostError where there are none."""
    found = KernelNotes(artifact / DIRECTORY)
    if not (found.directory / _PLACES).is_file():
        raise HostError(f"{artifact}: nothing is kept there to read the kernel's counts with")
    return found


def check(out: Path, places: Sequence[str]) -> None:
    """Raise UsageError where no object of some place counts, in what was built in `out`."""
    counting = [gcov.source_of(note) for note in gcov.notes(out)]
    idle = [one for one in places if not any(gcov.within(file, [one]) for file in counting)]
    if idle:
        known = sorted({str(Path(file).parent) for file in counting})
        raise UsageError(
            f"coverage: no object of {', '.join(idle)} in {out} counts what it executes",
            hint=f"those that do are in {', '.join(known)}" if known else "see docs/coverage.md",
        )


def keep(out: Path, sources: Path, places: Sequence[str], artifact: Path) -> None:
    """Keep in a kernel's artifact what `out` has of these places, whose sources are in `sources`.

    Raises UsageError where no object of some place counts.
    """
    check(out, places)
    target = artifact / DIRECTORY
    for note in gcov.notes(out):
        if gcov.within(gcov.source_of(note), places):
            _copy(out, note, target / _NOTES)
            for file in _compiled(sources, Path(gcov.source_of(note))):
                _copy(sources, file, target / _SOURCES)
    (target / _PLACES).write_text("".join(f"{place}\n" for place in places))
    (target / _ORIGIN).write_text(f"{out.resolve()}\n{sources.resolve()}\n")


def keep_series(tree: Path, base: str, artifact: Path) -> None:
    """Keep what is in a checkout beyond the commit `base`, and the files that it touches.

    Raises BuildError.
    """
    target = artifact / DIRECTORY
    changed = git(tree, "diff", "--name-only", "--diff-filter=d", f"{base}..HEAD", lines=1 << 20)
    diff = git(tree, "diff", "--no-color", "--no-ext-diff", f"{base}..HEAD", lines=1 << 20)
    try:
        (target / _SERIES).write_text(diff + "\n", errors="surrogateescape")
    except OSError as error:
        raise BuildError(f"{target}: {error.strerror}") from error
    for name in changed.splitlines():
        _copy(tree, Path(name), target / _SOURCES)


def _compiled(sources: Path, file: Path) -> Iterator[Path]:
    """A source file and the headers beside it, as far as they are there."""
    found = [sources / file, *sorted((sources / file.parent).glob("*.h"))]
    yield from (path.relative_to(sources) for path in found if path.is_file())


def _copy(place: Path, name: Path, target: Path) -> None:
    if not (place / name).is_file() or (target / name).exists():
        return
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(place / name, target / name)
