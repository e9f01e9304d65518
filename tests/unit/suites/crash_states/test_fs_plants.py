# SPDX-License-Identifier: GPL-2.0-or-later
"""Defects planted below and in a file system: what each makes of a log, and of a step."""

from collections.abc import Iterable

import pytest

from lab.crash.writelog import Flag, LogEntry
from lab.suites.crash_states.fs import ace
from lab.suites.crash_states.fs.history import Step
from lab.suites.crash_states.fs.plants import FS_PLANTS, GOOD, PlantedStep
from lab.suites.crash_states.recording import Logged

REGION = 1 << 20


def logged(text: str) -> list[Logged]:
    """Entries: letters are a write of so many sectors, F a flush, f one of the second disk."""
    found = []
    for at, word in enumerate(text.split()):
        if word in "Ff":
            offset = REGION if word == "f" else 0
            found.append((LogEntry(at, offset, 0, Flag.FLUSH, 0, 0), b""))
        else:
            data = word.encode() * 512
            found.append((LogEntry(at, at * 4096, len(data), Flag(0), 0, 0), data))
    return found


def told(entries: Iterable[Logged]) -> str:
    """The same as text; - is what does nothing any more."""
    words = []
    for entry, data in entries:
        assert entry.length == len(data) or not entry.length
        if entry.flags & Flag.MARK:
            words.append("-")
        elif entry.is_flush:
            words.append("f" if entry.offset else "F")
        else:
            words.append(data[: len(data) // 512].decode())
    return " ".join(words)


@pytest.mark.parametrize(
    ("plant", "before", "after"),
    [
        ("drop-flush", "a F b F", "a - b -"),
        ("late-write", "a b F c F", "a F b F c"),
        ("early-write", "a F b c F d", "a b F c d F"),
        ("early-write", "a F F b F", "a F b F F"),
        ("lost-write", "a b F F c", "a - F F c"),
        ("drop-fua", "a b F c F d e F", "a b F c - d e F"),
        ("drop-fua", "a F", "a F"),
        ("one-flush", "a F f b f", "a F - b -"),
        ("torn-write", "a bbbb cc F ddd F ee", "a bb cc F d F ee"),
        ("torn-write", "F a F", "F a F"),
    ],
)
def test_what_a_device_with_a_defect_would_have_had(plant: str, before: str, after: str) -> None:
    make = FS_PLANTS[plant].log
    assert make
    made = list(make(logged(before)))
    assert told(made) == after
    # Marks stay where they are.
    assert len(made) == len(before.split())


FSYNC: Step = {"do": "fsync", "path": "foo"}
OF_DIRECTORY: Step = {"do": "fsync", "path": "A"}
OF_TOP: Step = {"do": "fsync", "path": ""}
OVER: Step = {"do": "rename", "path": "foo", "to": "bar"}
RENAME: Step = {"do": "rename", "path": "foo", "to": "A/new"}
LINK: Step = {"do": "link", "path": "foo", "to": "A/new"}
GONE: Step = {"do": "unlink", "path": "foo"}
CLONE: Step = {"do": "clone", "source": "bar", "path": "A/bar", "start": 0, "at": 4096,
               "length": 4096}  # fmt: skip
SHORTER: Step = {"do": "truncate", "path": "A/bar", "length": 4096}
COPY: Step = {"do": "copy", "source": "bar", "path": "foo", "start": 0, "at": 0, "length": 8192}
HALVES: list[Step] = [{**COPY, "length": 4096}, {**COPY, "start": 4096, "at": 4096, "length": 4096}]


@pytest.mark.parametrize(
    ("plant", "step", "now", "late"),
    [
        ("no-fsync", FSYNC, [], []),
        ("no-fsync", RENAME, [RENAME], []),
        ("no-sync", {"do": "sync"}, [], []),
        ("no-directory-fsync", OF_DIRECTORY, [], []),
        ("no-directory-fsync", OF_TOP, [], []),
        ("no-directory-fsync", FSYNC, [FSYNC], []),
        ("half-rename", RENAME, [LINK], [GONE]),
        ("half-rename", OVER, [OVER], []),
        ("clone-size", CLONE, [CLONE, SHORTER], [CLONE]),
        ("copy-end", COPY, HALVES[:1], HALVES[1:]),
        ("drop-flush", COPY, [COPY], []),
    ],
)
def test_what_a_file_system_with_a_defect_would_do(
    plant: str, step: Step, now: list[Step], late: list[Step]
) -> None:
    made = FS_PLANTS[plant].asked(step, ace.base())
    assert made == PlantedStep(tuple(now), tuple(late))
    # What is late brings about all the same what the step was to.
    tree = ace.base()
    for each in (*now, *late):
        tree = tree.after(each)
    assert tree.names == ace.base().after(step).names


def test_nothing_is_planted_where_nothing_is_wanted() -> None:
    assert GOOD.asked(RENAME, ace.base()) == PlantedStep((RENAME,))
    assert not GOOD.log
    assert not GOOD.options
