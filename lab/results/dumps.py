# SPDX-License-Identifier: GPL-2.0-or-later
"""The dumps among a run's evidence, and what was found in them.

dumps/NNN.elf.zst     the guest's memory
dumps/NNN.json        what it is of: DumpNote
dumps/NNN.txt         the report, once there were symbols to make it with
dumps/NNN.report.json the same for machines
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from lab.host.dirs import not_writable

DIRECTORY = "dumps"
SUFFIX = ".elf.zst"


class DumpNote(BaseModel):
    """What a dump is of; the JSON file beside it."""

    model_config = ConfigDict(frozen=True)

    guest: str
    kernel: str
    """As its profile names it."""
    release: str
    taken: str
    """UTC, ISO 8601."""
    why: str = ""
    case: str = ""
    """The case that ran, by its number where it has one, else by its title."""
    memory: int = 0
    """Bytes of the guest's RAM."""
    size: int = 0
    """Bytes of the file."""
    seconds: float = 0.0
    """That taking it took."""


def note_beside(dump: Path) -> Path:
    """Where the note of a dump is."""
    return _beside(dump, ".json")


def report_beside(dump: Path) -> Path:
    """Where the report of a dump is, if there is one."""
    return _beside(dump, ".txt")


def document_beside(dump: Path) -> Path:
    """Where the same is for machines."""
    return _beside(dump, ".report.json")


def _beside(dump: Path, suffix: str) -> Path:
    return dump.with_name(dump.name.removesuffix(SUFFIX) + suffix)


def read_note(dump: Path) -> DumpNote | None:
    """What a dump is of; None where nothing says so."""
    try:
        return DumpNote.model_validate_json(note_beside(dump).read_bytes())
    except (OSError, ValidationError):
        return None


def write_note(dump: Path, note: DumpNote) -> None:
    """Write it.  Raises HostError."""
    path = note_beside(dump)
    try:
        path.write_text(note.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise not_writable(path, error) from error


def report_of(dump: Path) -> str:
    """The report of a dump; '' where none was made."""
    try:
        return report_beside(dump).read_text()
    except OSError:
        return ""


def of_run(directory: Path) -> Sequence[tuple[Path, DumpNote]]:
    """The dumps in a run's directory with their notes, as they were taken.  A dump that was removed
    for room has left its note, and its report."""
    places = sorted((directory / DIRECTORY).glob("*.json"))
    dumps = [
        place.with_name(place.stem + SUFFIX) for place in places if ".report" not in place.stem
    ]
    return [(dump, note) for dump in dumps if (note := read_note(dump))]


def of_case(directory: Path, *names: str) -> Sequence[tuple[Path, DumpNote]]:
    """Those of a case, by its number or title."""
    return [(dump, note) for dump, note in of_run(directory) if note.case in names]
