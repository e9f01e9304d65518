# SPDX-License-Identifier: GPL-2.0-or-later
"""What of a patch does not fit, and what stands in the sources instead."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby

_HEADING = re.compile(r"@@ -(?P<line>\d+)(?:,\d+)? \+\d+(?:,\d+)? @@")

_AROUND = 3
"""Lines beyond a hunk's length in which its own are looked for: some may have come or gone."""


@dataclass(frozen=True)
class Reject:
    """A hunk that does not fit, or a file that nothing of a patch fits."""

    number: int
    """That of the patch in the whole series, from 1."""
    patch: str
    """Its subject."""
    file: str
    hunk: str
    """Its text; '' where the whole file is refused."""
    why: str
    """What stands there instead, or why the file is refused."""
    merge: str
    """What came of a three-way merge."""
    again: bool
    """Whether an earlier patch left a reject in this file, of which it may be a consequence."""

    @property
    def place(self) -> str:
        """File and heading of the hunk, in a line."""
        heading = self.hunk.partition("\n")[0]
        return f"{self.file}, hunk {heading}" if heading else f"{self.file}: {self.why}"

    @property
    def text(self) -> str:
        """All of it but the merge, in several lines."""
        first = f'patch {self.number}, "{self.patch}": {self.place}'
        notes = ["perhaps since an earlier patch was rejected in this file"] if self.again else []
        body = [self.hunk.partition("\n")[2], self.why] if self.hunk else []
        return "\n".join([first, *body, *notes])


def told(found: Sequence[Reject]) -> str:
    """All rejects, and below those of a patch what came of its merge."""
    parts = list[str]()
    for _number, group in groupby(found, key=lambda reject: reject.number):
        rejects = list(group)
        parts += [reject.text for reject in rejects]
        if rejects[0].merge:
            parts[-1] += f"\nthree-way merge: {rejects[0].merge}"
    return "\n\n".join(parts)


def hunks(rejected: str) -> list[str]:
    """The hunks in a file NAME.rej of `git apply --reject`."""
    parts = re.split(r"^(?=@@ )", rejected, flags=re.MULTILINE)[1:]
    return [part.rstrip("\n") for part in parts]


def instead(hunk: str, content: str) -> str:
    """What stands in `content` where the hunk should go, with the lines' numbers.

    A `!` marks what the hunk does not expect.
    """
    heading = _HEADING.match(hunk)
    rows = hunk.splitlines()[1:]
    old = [row[1:] for row in rows if not row.startswith(("+", "\\"))]
    new = [row[1:] for row in rows if not row.startswith(("-", "\\"))]
    there = content.splitlines()
    if (line := _find(new, there)) is not None:
        return f"the change is there already, at line {line + 1}"
    start = _nearest(old, there, int(heading["line"]) - 1 if heading else 0)
    if start is None:
        return "nothing like it stands in this file"
    first, last = _extent(old, there, start)
    found = there[first:last]
    if [_words(row) for row in found] == [_words(row) for row in old]:
        title = f"at line {first + 1} the same stands with other white space:"
    else:
        title = f"what stands there instead, at line {first + 1}:"
    expected = set(old)
    told = [
        f"{number:6} {' ' if row in expected else '!'} {row}"
        for number, row in enumerate(found, first + 1)
    ]
    return "\n".join([title, *told])


def _find(wanted: Sequence[str], there: Sequence[str]) -> int | None:
    """The index at which `wanted` stands as a whole; None if it does not."""
    size = len(wanted)
    places = range(len(there) - size + 1) if size else range(0)
    return next((at for at in places if there[at : at + size] == list(wanted)), None)


def _nearest(old: Sequence[str], there: Sequence[str], expected: int) -> int | None:
    """The index at which most of the lines `old` stand, each in its place relative to the others.

    A line counts more the rarer it is; of several such places the one that is nearest to
    `expected` is taken.  None if no line with a word in it is there.
    """
    lines = dict[str, list[int]]()
    for at, row in enumerate(there):
        lines.setdefault(_words(row), []).append(at)
    votes = defaultdict[int, float](float)
    for offset, row in enumerate(old):
        places = lines.get(_words(row), []) if re.search(r"\w", row) else []
        for at in places:
            # A window may lack a line or two; its neighbours count half.
            for shift, weight in ((0, 1.0), (-1, 0.5), (1, 0.5)):
                votes[at - offset + shift] += weight / len(places)
    if not votes:
        return None
    return max(votes, key=lambda start: (round(votes[start], 6), -abs(start - expected)))


def _extent(old: Sequence[str], there: Sequence[str], start: int) -> tuple[int, int]:
    """From where to where the lines go that stand in place of `old`, near `start`."""
    low = max(0, start - _AROUND)
    region = there[low : max(0, start) + len(old) + _AROUND]
    matcher = SequenceMatcher(None, [*map(_words, old)], [*map(_words, region)], autojunk=False)
    blocks = [block for block in matcher.get_matching_blocks() if block.size]
    if not blocks:
        return max(0, start), min(len(there), max(0, start) + len(old))
    first, last = blocks[0], blocks[-1]
    # As many lines before the first and after the last one that match as the hunk has there.
    begin = max(0, low + first.b - first.a)
    end = low + last.b + last.size + (len(old) - last.a - last.size)
    return begin, min(len(there), end)


def _words(row: str) -> str:
    """A line but for its white space."""
    return " ".join(row.split())
