# SPDX-License-Identifier: GPL-2.0-or-later
"""How a problem of a file that a person wrote is named.

Which file, line and key, what is there, and what should be.
"""

import re
from dataclasses import dataclass

from lab.errors import ProfileError

KeyPath = tuple[str | int, ...]
"""The way to a value from the top of the file: mapping keys and list positions."""

PLAIN_KEY = r"[A-Za-z_][A-Za-z0-9_-]*"
"""Pattern of the keys that dotted() writes as they are."""

_LONGEST = 40


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with such a file, mostly a profile.

    `file` is also `--set PATH=VALUE`, where that is at fault.  `line` counts from 1, and is None
    where there are no lines.
    """

    file: str
    line: int | None
    key: str
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class InvalidProfileError(ProfileError):
    """Everything that is wrong with one file, one line per problem."""

    def __init__(self, problems: tuple[Problem, ...], *, hint: str = "") -> None:
        super().__init__("\n".join(map(str, problems)), hint=hint)
        self.problems = problems


def dotted(path: KeyPath) -> str:
    """`path` as a user writes it: `devices[0].namespaces[0].copy.msrc`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            # Odd keys are quoted, so that a message stays one printable line.
            key = step if re.fullmatch(PLAIN_KEY, step) else shown(step)
            text += f".{key}" if text else key
    return text


def shown(value: object) -> str:
    """A value from a file as a message shows it: short, on one line, in the words of YAML."""
    if value is None:
        return "an empty value"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, tuple | list):
        return "a list"
    # ascii() also keeps control characters and lone surrogates off the terminal.
    text = ascii(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]}...{text[-1]}"
