# SPDX-License-Identifier: GPL-2.0-or-later
"""Operations on one file, and how they are drawn from a seed."""

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

BLOCK = 4096
"""Bytes; what clone, dedupe, collapse and insert are aligned to."""

MAX_SIZE = 256 * 1024
"""Bytes that the file may have, as in fsx."""

MAX_LENGTH = 64 * 1024
"""Bytes that one operation may be about, as in fsx."""

COPIES = ("copy", "clone", "dedupe")
WITHIN = ("punch", "zero", "collapse", "insert")
KINDS = ("write", *COPIES, *WITHIN, "truncate", "fsync")
"""All kinds, in the order in which they are explained (guest-scripts/suites/exerciser)."""

_ALIGNED = ("clone", "dedupe", "collapse", "insert")
_SYNC_EVERY = 12
"""Operations between two fsyncs, on average."""


@dataclass(frozen=True)
class Operation:
    """One operation; what a kind has no use for is 0.  All in bytes, but for `fill`, a seed."""

    kind: str
    at: int = 0
    length: int = 0
    source: int = 0
    fill: int = 0

    def request(self) -> dict[str, Any]:
        """What the exerciser in the guest is told."""
        used = {
            "write": ("at", "length", "fill"),
            "truncate": ("length",),
            "fsync": (),
            **dict.fromkeys(COPIES, ("source", "at", "length")),
            **dict.fromkeys(WITHIN, ("at", "length")),
        }[self.kind]
        return {
            "op": self.kind,
            **{key: value for key, value in asdict(self).items() if key in used},
        }

    @classmethod
    def read(cls, request: dict[str, Any]) -> "Operation":
        """The operation that a request asks for.  Raises KeyError, TypeError or ValueError."""
        how = {key: request[key] for key in ("at", "length", "source", "fill") if key in request}
        if request["op"] not in KINDS:
            raise ValueError(f"no operation {request['op']!r}")
        for key, value in how.items():
            if type(value) is not int or not 0 <= value < 1 << 63:
                raise ValueError(f"{key} is {value!r}")
        return cls(request["op"], **how)

    def __str__(self) -> str:
        where = f" {self.at}+{self.length}" if self.kind not in ("truncate", "fsync") else ""
        if self.kind in COPIES:
            where = f" {self.source}+{self.length} to {self.at}"
        return f"{self.kind}{where}" if self.kind != "truncate" else f"truncate {self.length}"


def draw(numbers: random.Random, size: int, kinds: Sequence[str]) -> Operation:
    """An operation that makes sense on a file of `size` bytes.

    Copies read within the file and do not overlap their source (what that does is not defined);
    nothing grows the file beyond MAX_SIZE.
    """
    changing = [kind for kind in kinds if kind != "fsync"]
    if "fsync" in kinds and numbers.randrange(_SYNC_EVERY) == 0:
        return Operation("fsync")
    kind = numbers.choice(changing)
    if kind == "truncate":
        return Operation(kind, length=numbers.randrange(MAX_SIZE + 1))
    if kind in COPIES:
        return _copy(numbers, kind, size) or _write(numbers)
    if kind in WITHIN:
        return _within(numbers, kind, size) or _write(numbers)
    return _write(numbers)


def _write(numbers: random.Random) -> Operation:
    at = numbers.randrange(MAX_SIZE)
    length = numbers.randint(1, min(MAX_LENGTH, MAX_SIZE - at))
    return Operation("write", at, length, fill=numbers.getrandbits(32))


def _copy(numbers: random.Random, kind: str, size: int) -> Operation | None:
    unit = BLOCK if kind in _ALIGNED else 1
    blocks, room = size // unit, MAX_SIZE // unit
    if not blocks:
        return None
    source = numbers.randrange(blocks)
    # Deduplication is of what is there; the others may write behind the end.
    until = blocks if kind == "dedupe" else room
    at = numbers.randrange(until)
    apart = abs(source - at)
    most = min(blocks - source, until - at, apart, MAX_LENGTH // unit)
    if most < 1:
        return None
    length = numbers.randint(1, most)
    return Operation(kind, at * unit, length * unit, source * unit)


def _within(numbers: random.Random, kind: str, size: int) -> Operation | None:
    unit = BLOCK if kind in _ALIGNED else 1
    # What collapses must end before the end of the file, and what is inserted begin before it
    # (fallocate(2)).
    blocks = (size - 1) // unit if kind in ("collapse", "insert") else MAX_SIZE // unit
    if blocks < 1:
        return None
    at = numbers.randrange(blocks)
    most = blocks - at if kind != "insert" else (MAX_SIZE - size) // unit
    if most < 1:
        return None
    length = numbers.randint(1, min(most, MAX_LENGTH // unit))
    return Operation(kind, at * unit, length * unit)
