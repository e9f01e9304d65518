# SPDX-License-Identifier: GPL-2.0-or-later
"""What comes from elsewhere, a guest or another person's file, and may be anything."""

import json
import os
import re
from pathlib import Path
from typing import Any

_UNFIT = (
    # Control characters but for tabs and ends of lines, and the C1 set, by which terminals are told
    # what to do (ECMA-48); what turns the direction of text (Unicode TR 36, 3.5); surrogates, which
    # no file takes; and noncharacters, which no XML takes.
    (0x00, 0x08), (0x0B, 0x1F), (0x7F, 0x9F), (0x61C, 0x61C), (0x200E, 0x200F), (0x2028, 0x202E),
    (0x2066, 0x2069), (0xD800, 0xDFFF), (0xFFFE, 0xFFFF),
)  # fmt: skip
# Not a pattern: of millions of escapes a list would be made, at 60 bytes each.
_ESCAPES = {
    code: ascii(chr(code))[1:-1] for first, last in _UNFIT for code in range(first, last + 1)
}


def harmless(text: str) -> str:
    """The text with escapes, as Python writes them, for all that would make a terminal or a page do
    anything but show it."""
    # Nearly all of it is, and asking costs a tenth.
    return text if text.isprintable() else text.translate(_ESCAPES)


VALUES = 1 << 18
"""Values in a JSON text of a guest at most.  Each takes 50 bytes and more, though it may be told in
two."""


class TooManyValues(ValueError):
    """A JSON text has more values than it may."""


_TOKEN = re.compile(
    # Possessive, so that a text without an end of its last string is gone through once.
    rb'"(?:[^"\\]++|\\.)*+"?|[,\[{]',
    re.DOTALL,
)


def decoded(text: str | bytes, *, values: int = 0) -> Any:
    """What a JSON text says.  Raises ValueError for whatever is wrong with it, depth included, and
    TooManyValues for more of them than `values`, keys not counted, unless that is 0."""
    if values and _says_more(text, values):
        raise TooManyValues(f"more than {values} values")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _says_more(text: str | bytes, values: int) -> bool:
    """Whether a JSON text certainly has more values than so many, found without decoding it."""
    data = text.encode(errors="replace") if isinstance(text, str) else text
    # Behind each of these there is one value at most.  Only those in strings are of no account,
    # and where there are few of them anyway, nobody must know which.  A text that is a value, its
    # key and the comma are three tokens.
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) < values:
        return False
    return any(number > 3 * values for number, _ in enumerate(_TOKEN.finditer(data)))


def tamed(value: Any) -> Any:
    """A decoded JSON document with all its text, keys included, harmless."""
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, list):
        return [tamed(inner) for inner in value]
    if isinstance(value, dict):
        return {harmless(key): tamed(inner) for key, inner in value.items()}
    return value


def end_of(path: Path, size: int = 1 << 16) -> str:
    """The last `size` bytes of a text file, of whatever length.  Raises OSError."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - size))
        return file.read(size).decode(errors="replace")
