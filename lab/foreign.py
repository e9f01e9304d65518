# SPDX-License-Identifier: GPL-2.0-or-later
"""What comes from elsewhere, a guest or another person's file, and may be anything."""

import json
import os
import re
from pathlib import Path
from typing import Any

_UNFIT = re.compile(
    # Control characters but for tabs and ends of lines, and the C1 set, by which terminals are told
    # what to do (ECMA-48); what turns the direction of text (Unicode TR 36, 3.5); surrogates, which
    # no file takes; and noncharacters, which no XML takes.
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def harmless(text: str) -> str:
    """The text with escapes, as Python writes them, for all that would make a terminal or a page do
    anything but show it."""
    # Nearly all of it is, and asking costs a tenth.
    return text if text.isprintable() else _UNFIT.sub(lambda found: ascii(found[0])[1:-1], text)


def decoded(text: str | bytes) -> Any:
    """What a JSON text says.  Raises ValueError for whatever is wrong with it, depth included."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


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
