# SPDX-License-Identifier: GPL-2.0-or-later
"""A series of patches: a mailbox, a directory of patches, or a message-id that b4 fetches."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from lab.artifacts.kernels import mails, quilt
from lab.artifacts.kernels.mails import Mail
from lab.errors import HostError, UsageError
from lab.host.command import run

_SUFFIXES = (".patch", ".diff", ".mbox", ".mbx", ".eml")
_PACKED = (".gz", ".bz2", ".xz")
_CHOOSE = "name what shall be applied, a line each, in a file `series` in its directory"


@dataclass(frozen=True)
class Series:
    """What stands in one place."""

    path: Path
    patches: tuple[Mail, ...]
    """In the order in which they are applied."""
    left: tuple[Mail, ...]
    """What is no patch of it: covers, replies, what robots say."""
    chosen: bool
    """Whether somebody said what belongs to it (quilt), so that nothing can be missing."""
    base: str
    """The commit it is for, by its own words; '' without any."""

    @property
    def summary(self) -> str:
        """What it has, in a line."""
        count = len(self.patches)
        text = f"{self.path.name}: {count} patch{'' if count == 1 else 'es'}"
        if not all(mail.total for mail in self.patches):
            # Nobody said how many there are: these may be two proposals of a thread.
            text += " (" + ", ".join(f'"{mail.title}"' for mail in self.patches) + ")"
        if not self.left:
            return text
        replies = sum(mail.is_reply for mail in self.left)
        others = [f'"{mail.subject}"' for mail in self.left if not mail.is_reply]
        told = [*others, *([f"{replies} repl{'y' if replies == 1 else 'ies'}"] if replies else [])]
        return f"{text}; left out: {', '.join(told)}"


def read(path: Path) -> Series:
    """The patches in a place, in their order.  Raises UsageError when there are none or when they
    are of several versions or series."""
    listed = quilt.listed(path)
    entries = (
        quilt.entries(listed) if listed else [quilt.QuiltEntry(one, 1) for one in _files(path)]
    )
    taken, left = list[Mail](), list[Mail]()
    for entry in entries:
        found = mails.read(entry.file, entry.strip)
        taken += (ours := _patches(found))
        left += [mail for mail in found if mail not in ours]
    if not taken:
        raise UsageError(
            f"{path}: no patches",
            hint=f"a mailbox, or a directory of {', '.join(_SUFFIXES)} files",
        )
    if not listed:
        taken = _in_order(_once(taken))
        _check_one(path, taken)
    bases = [mail.base for mail in (*taken, *left, *_cover(path)) if mail.base]
    return Series(path, tuple(taken), tuple(left), bool(listed), next(iter(bases), ""))


def read_all(paths: Sequence[Path]) -> list[Series]:
    """Several series, one on top of the other.

    Raises UsageError when one is incomplete; its patches may come in files of their own, though.
    """
    found = [read(path) for path in paths]
    parts = [one for one in found if not one.chosen and _missing(one.patches)]
    for part in parts:
        kind = _kind(part.patches)
        together = [mail for one in parts if _kind(one.patches) == kind for mail in one.patches]
        missing, twice = _missing(together), _twice(together)
        if missing or twice:
            numbers = ", ".join(missing or _missing(part.patches))
            raise UsageError(
                f"{part.path}: the series is incomplete, {numbers} is missing",
                hint=f"get the rest; if it is meant so, {_CHOOSE}",
            )
    return found


def patches(found: Sequence[Series]) -> list[Mail]:
    """The patches of several series, one after the other."""
    return [mail for one in found for mail in one.patches]


def digest(paths: Sequence[Path]) -> str:
    """A hash of what several series change, for the key of a kernel."""
    whole = hashlib.sha256()
    for mail in patches(read_all(paths)):
        whole.update(f"{mail.strip} {mail.title}\0".encode(errors="replace") + mail.diff + b"\0")
    return whole.hexdigest()


def fetch(message_id: str, directory: Path) -> Path:
    """Fetch a series from its list's archive with b4; the mailbox.  Raises HostError."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    run(["b4", "am", "--outdir", directory, message_id], deadline=120)
    found = sorted(directory.glob("*.mbx"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise HostError(f"b4 am {message_id}: no mailbox came of it")
    return found[-1]


def _files(path: Path) -> list[Path]:
    """The files of a series in the order of their names; of a Maildir, all mails."""
    if path.is_file():
        return [path]
    try:
        if (path / "cur").is_dir():
            return sorted(one for part in ("cur", "new") for one in (path / part).iterdir())
        return sorted(one for one in path.iterdir() if _is_patch_file(one))
    except OSError as error:
        raise UsageError(f"series {path}: {error.strerror}") from error


def _is_patch_file(path: Path) -> bool:
    name = path.with_suffix("") if path.suffix in _PACKED else path
    return name.suffix in _SUFFIXES and path.is_file()


def _cover(path: Path) -> list[Mail]:
    """The cover letter that b4 puts beside its mailbox."""
    cover = path.with_suffix(".cover")
    return mails.read(cover) if path.suffix == ".mbx" and cover.is_file() else []


def _patches(found: Sequence[Mail]) -> list[Mail]:
    """The patches of a file; in a thread with numbered ones, only what is marked as a patch.

    What robots answer (\"has been added to the 6.6-stable tree\") has the whole diff in it.
    """
    patches = [mail for mail in found if mail.is_patch]
    if any(mail.total for mail in patches):
        return [mail for mail in patches if mail.total or "PATCH" in mail.tag.upper()]
    return patches


def _once(patches: Sequence[Mail]) -> list[Mail]:
    """Without what came twice: over two lists, each with its footer, or from two files."""
    seen, found = set[object](), list[Mail]()
    for mail in patches:
        marks = {mail.ident or mail, (mail.subject, mail.diff.strip())}
        if not marks & seen:
            found.append(mail)
        seen |= marks
    return found


def _in_order(patches: Sequence[Mail]) -> list[Mail]:
    """By their numbers; what has none keeps its place."""
    numbered = iter(sorted((mail for mail in patches if mail.total), key=lambda one: one.number))
    return [next(numbered) if mail.total else mail for mail in patches]


def _check_one(path: Path, patches: Sequence[Mail]) -> None:
    """Raise UsageError when these are several versions, or several series."""
    titles = dict[str, set[str]]()
    for mail in patches:
        titles.setdefault(mail.title.casefold(), set()).add(mail.version)
    versions = {mail.version for mail in patches if mail.total}
    versions |= {one for several in titles.values() if len(several) > 1 for one in several}
    if len(versions) > 1:
        raise UsageError(
            f"{path}: several versions of a series: {_by_version(patches, versions)}",
            hint=f"leave one there, or {_CHOOSE}",
        )
    totals = sorted({mail.total for mail in patches if mail.total})
    if len(totals) > 1:
        raise UsageError(
            f"{path}: patches of several series, of {' and of '.join(map(str, totals))} patches",
            hint=f"give each with a --series of its own, or {_CHOOSE}",
        )
    if twice := _twice(patches):
        raise UsageError(
            f"{path}: two different patches are called {twice[0]}",
            hint=f"leave one there, or {_CHOOSE}",
        )


def _by_version(patches: Sequence[Mail], versions: set[str]) -> str:
    told = []
    for version in sorted(versions):
        names = [mail.file.name for mail in patches if mail.version == version]
        files = ", ".join(dict.fromkeys(names)) if len(set(names)) < 4 else f"{names[0]}, …"
        told.append(f"v{version} ({len(names)} in {files})")
    return " and ".join(told)


def _kind(patches: Sequence[Mail]) -> tuple[str, int]:
    """Version and length of the series that patches say they are of."""
    return next(((mail.version, mail.total) for mail in patches if mail.total), ("1", 0))


def _missing(patches: Sequence[Mail]) -> list[str]:
    """The numbers that are not there, such as 2/3, or 4 to 7/9."""
    total = _kind(patches)[1]
    there = {mail.number for mail in patches if mail.total}
    absent = [number for number in range(1, total + 1) if number not in there]
    # What comes one after the other differs from its index by the same.
    runs = groupby(enumerate(absent), key=lambda pair: pair[1] - pair[0])
    found = [[number for _at, number in run] for _start, run in runs]
    return [f"{'' if len(run) == 1 else f'{run[0]} to '}{run[-1]}/{total}" for run in found]


def _twice(patches: Sequence[Mail]) -> list[str]:
    counts = Counter((mail.number, mail.total) for mail in patches if mail.total)
    return [f"{number}/{total}" for (number, total), count in counts.items() if count > 1]
