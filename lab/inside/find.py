# SPDX-License-Identifier: GPL-2.0-or-later
"""What a user can name to look into: a dump's file, a run's dump, a guest."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.errors import UsageError
from lab.guest import guests, registry
from lab.host import settings
from lab.host.scratch import scratch
from lab.inside import dump, symbols
from lab.results import dumps, runs
from lab.results.dumps import DumpNote

Progress = Callable[[str], None]


@dataclass(frozen=True)
class KernelCore:
    """A kernel to be looked into: its memory as a core, and where its symbols are."""

    core: Path
    symbols: Path


def dump_named(what: str) -> tuple[Path, DumpNote | None] | None:
    """The dump that a file is, or the last one of RUN or RUN:CASE; None for a guest's name.

    Raises UsageError where there is neither.
    """
    if what.endswith((dumps.SUFFIX, ".elf")) or "/" in what:
        path = Path(what)
        if not path.is_file():
            raise UsageError(f"{what}: no such file")
        return path, dumps.read_note(path)
    run, _, case = what.partition(":")
    if not case and registry.read(registry.directory(run)):
        return None
    run = runs.spelled_out(run)
    place = runs.directory(run)
    found = dumps.of_case(place, *_names(run, case)) if case else dumps.of_run(place)
    kept = [(path, note) for path, note in found if path.is_file()]
    if not kept:
        raise UsageError(
            f"{what}: no dump was kept" + (f", and none is left of {len(found)}" if found else ""),
            hint="its timeline.jsonl says why (`no dump`); dumps are taken of cases that hang or "
            "crash their guest, as `dumps:` in the settings allows",
        )
    return kept[-1]


def _names(run: str, case: str) -> list[str]:
    """All that a case is called in a run."""
    for one in runs.document(run).get("cases", ()):
        if case in (str(one.get("number")), one.get("name")) or case.replace(",", " ") == one.get(
            "name"
        ):
            return [case, str(one.get("number")), str(one.get("name"))]
    return [case]


def symbols_of(note: DumpNote | None, given: Path | None, progress: Progress) -> Path:
    """Where the symbols of a dump's kernel are.  Raises UsageError and HostError."""
    if note is None and given is None:
        raise UsageError(
            "nothing beside the dump says what kernel it is of",
            hint="give the directory that has its symbols with --symbols",
        )
    kernel, release = (note.kernel, note.release) if note else ("", "")
    return symbols.find(kernel, release, progress, given)


@contextmanager
def opened(
    what: str, found: tuple[Path, DumpNote | None] | None, given: Path | None, progress: Progress
) -> Iterator[KernelCore]:
    """The kernel in a dump that dump_named() found, or else in a guest as it is now, in a `with`
    block.  Raises UsageError, HostError."""
    if found:
        path, note = found
        where = symbols_of(note, given, progress)
        progress("unpack the memory")
        if path.suffix == ".elf":
            yield KernelCore(path, where)
            return
        with dump.unpacked(path) as core:
            yield KernelCore(core, where)
        return
    with _taken(what, given, progress) as taken:
        yield taken


@contextmanager
def _taken(name: str, given: Path | None, progress: Progress) -> Iterator[KernelCore]:
    guest = guests.attach(name)
    record = guest.record
    # First what may take minutes: the memory is to be of now.
    where = symbols.find(record.profile.kernel, record.kernel, progress, given)
    with scratch() as place:
        core = place / f"{name}.elf"
        try:
            allowed = settings.load().dumps
            dump.take_plain(guest.machine, record.kernel, core, allowed, progress)
        finally:
            guest.close()
        yield KernelCore(core, where)
