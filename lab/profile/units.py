# SPDX-License-Identifier: GPL-2.0-or-later
"""Sizes and durations: written with a unit, kept as bytes and seconds."""

import re
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from lab.problem import shown

_FACTORS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

SIZE_PATTERN = r"([1-9][0-9]{0,18})([KMGT])(iB)?"
DURATION_PATTERN = r"([0-9]{1,9}(\.[0-9]{1,6})?)(ms|s|m|h)"

MAX_SIZE = 2**63 - 1
"""The largest file offset, in bytes."""

MAX_DURATION = 10**9
"""Seconds.  With microseconds below, it is what a float holds without rounding."""


def parse_size(value: object) -> int:
    """Bytes of a size: `512M`, `4GiB` (binary units) or a whole number of bytes.

    Raises ValueError unless it is 1 to MAX_SIZE bytes.
    """
    expected = "expected a size such as 512M or 4GiB"
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (match := re.fullmatch(SIZE_PATTERN, value)):
        size = int(match[1]) * _FACTORS[match[2]]
    else:
        raise ValueError(f"{shown(value)} is not a size; {expected}")
    if size < 1:
        raise ValueError(f"{shown(value)} is less than one byte; {expected}")
    if size > MAX_SIZE:
        raise ValueError(f"{shown(value)} is more than {MAX_SIZE} bytes; {expected}")
    return size


def parse_offset(value: object) -> int:
    """Bytes of an offset: like a size, or 0.  Raises ValueError for anything else."""
    return 0 if value == 0 and isinstance(value, int) and value is not False else parse_size(value)


def format_size(size: int) -> str:
    """`size` bytes in the largest binary unit that divides it: `256M`, `1000 B`."""
    for unit, factor in reversed(_FACTORS.items()):
        if size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size} B"


def parse_duration(value: object) -> float:
    """Seconds of a duration such as `250ms`, `30s`, `1.5m` or `1h`, to the microsecond.

    Raises ValueError for anything else: a bare number does not say its unit.
    """
    expected = "expected a duration with a unit such as 30s"
    match = re.fullmatch(DURATION_PATTERN, value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{shown(value)} is not a duration; {expected}")
    seconds = round(float(match[1]) * _SECONDS[match[3]], 6)
    if seconds > MAX_DURATION:
        raise ValueError(f"{shown(value)} is more than {MAX_DURATION} s; {expected}")
    return seconds


def format_duration(seconds: float) -> str:
    """`seconds` as parse_duration reads it back: `3600s`, `0.25s`."""
    return f"{seconds:.6f}".rstrip("0").rstrip(".") + "s"


def _in_bytes(least: int) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": least, "maximum": MAX_SIZE},
                {"type": "string", "pattern": f"^{SIZE_PATTERN}$"},
            ]
        }
    )


Size = Annotated[int, BeforeValidator(parse_size), _in_bytes(1)]
"""Bytes, at least one."""

Offset = Annotated[int, BeforeValidator(parse_offset), _in_bytes(0)]
"""Bytes, or 0."""

Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": f"^{DURATION_PATTERN}$"}),
]
"""Seconds; a string with its unit in JSON, as in YAML."""
