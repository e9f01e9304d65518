# SPDX-License-Identifier: GPL-2.0-or-later
"""Nonsense for parsers: what is right, changed at random, and what must come of it.

The random numbers are those of a seed, so that an input is found again by its number.
"""

import contextlib
import copy
import json
import os
import random
import re
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lab.errors import LabError

INPUTS = int(os.environ.get("LAB_FUZZ", "200"))
"""For each parser."""

PART = int(os.environ.get("LAB_FUZZ_PART", "0"))
"""Which inputs those are: each part has others, so that many can be gone through piece by piece."""

SECONDS = 0.3
"""Of processor time, for each input at most."""

MEMORY = 256 << 20
"""Bytes more, for all of them."""

WORDS = (
    b"\0", b"\n", b"\r\n", b"\x1b[2J", b"\x9b31m", b"\xc2\x9b31m", "\u202e".encode(), b"\xff\xfe",
    b"\xed\xa0\x80", b"{", b"[", b"]", b"}", b'"', b"'", b":", b"- ", b"#", b"&a ", b"*a", b"~",
    b"!!int ", b"null", b"true", b"-1", b"0", b"1e999", b".nan", b"9" * 5000, b"1" + b"0" * 400,
    b"18446744073709551616", b"2026-13-45", b"../", b"/", b"%s", b"${x}", b"A" * 1000, b"[" * 500,
    b"{a: " * 200, b"\t",
)  # fmt: skip
"""What has confused parsers before."""

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**700, 0.5, -0.0, float("inf"),
    float("nan"), "", "a", "\x1b[31m", "\u202e", "\0", "../..", "/etc/passwd", "x" * 3000, [], {},
    [[]], {"": None},
)  # fmt: skip

_NUMBER = re.compile(rb"\d+")

# What may stand in front of a person: no control character but tabs and ends of lines, none that is
# taken for one (C1), none that turns the direction of what follows (Unicode TR 36).
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def fit(text: str) -> bool:
    """Whether nothing in a text makes a terminal do anything but show it."""
    return not _UNFIT.search(text)


def drawing(seed: int) -> random.Random:
    """The random numbers of a seed, in this part."""
    return random.Random(seed if PART == 0 else f"{seed} {PART}")


def mutants(seeds: Sequence[bytes], count: int = 0, seed: int = 0) -> Iterator[bytes]:
    """So many changed inputs, made of those that are right."""
    draw = drawing(seed)
    for _ in range(count or INPUTS):
        data = bytearray(draw.choice(seeds))
        for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
            _mutate(draw, data, seeds)
        yield bytes(data)


def _mutate(draw: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    start = draw.randrange(len(data) + 1)
    end = min(len(data), start + draw.choice((0, 1, 1, 2, 8, 40, 400)))
    match draw.randrange(9):
        case 0:
            data[start:end] = draw.randbytes(end - start)
        case 1:
            del data[start:end]
        case 2:
            data[start:start] = data[start:end] * draw.choice((1, 2, 20))
        case 3 | 4:
            data[start:end] = draw.choice(WORDS)
        case 5:
            other = draw.choice(seeds)
            place = draw.randrange(len(other) + 1)
            data[start:end] = other[place : place + draw.choice((4, 40, 400))]
        case 6:
            if found := list(_NUMBER.finditer(data)):
                one = draw.choice(found)
                data[one.start() : one.end()] = draw.choice(
                    (b"0", b"-1", b"4294967296", b"999999999999", b"7" * 5000, b"1.5", b"x")
                )
        case 7:
            lines = data.splitlines(keepends=True)
            if lines:
                line = draw.randrange(len(lines))
                other_line = draw.randrange(len(lines))
                lines[line], lines[other_line] = lines[other_line], lines[line]
                data[:] = b"".join(map(bytes, lines))
        case _:
            del data[start:]


def documents(right: Any, count: int = 0, seed: int = 0) -> Iterator[Any]:
    """So many JSON documents that differ from one that is right in a value or a key, or a few."""
    draw = drawing(seed)
    text = json.dumps(right)
    for _ in range(count or INPUTS):
        document = json.loads(text)
        for _ in range(draw.choice((1, 1, 1, 2, 4))):
            document = _changed(draw, document)
        yield document


def _changed(draw: random.Random, value: Any) -> Any:
    """The value with something else at a place, in it or instead of it."""
    if not value or not isinstance(value, dict | list) or draw.random() < 0.1:
        return copy.deepcopy(draw.choice(VALUES))
    inner: Any = value
    key: Any = draw.choice(list(value)) if isinstance(value, dict) else draw.randrange(len(value))
    match draw.randrange(8):
        case 0:
            del inner[key]
        case 1:
            inner[key] = copy.deepcopy(draw.choice(VALUES))
        case 2 if isinstance(value, list):
            inner.append(inner[key])
        case 2:
            inner[draw.choice(("x", "", "\x1b[0m", "name"))] = copy.deepcopy(draw.choice(VALUES))
        case _:
            inner[key] = _changed(draw, inner[key])
    return value


def endure(
    parse: Callable[[Any], object],
    inputs: Iterator[Any],
    *,
    errors: tuple[type[Exception], ...] = (LabError,),
    speaks: Callable[[LabError], object] = lambda error: error,
) -> tuple[int, int]:
    """Have `parse` take all inputs; how many it took, and how many it refused.

    It may refuse one with an error of `errors`, whose text, if it is the lab's, is fit for a
    terminal and about which `speaks` asserts more; it must not take too long or too much memory.
    """
    taken = refused = 0
    before = _most_memory()
    for number, given in enumerate(inputs):
        started = time.process_time()
        try:
            parse(given)
            taken += 1
        except errors as error:
            refused += 1
            if isinstance(error, LabError):
                assert fit(str(error)), (number, str(error))
                speaks(error)
        except Exception as error:
            raise AssertionError(f"input {number}: {_shown(given)}") from error
        if time.process_time() - started > SECONDS:
            assert min(_again(parse, given, errors) for _ in range(3)) < SECONDS, (
                f"input {number} takes too long: {_shown(given)}"
            )
    assert _most_memory() - before < MEMORY
    return taken, refused


def _again(
    parse: Callable[[Any], object], given: Any, errors: tuple[type[Exception], ...]
) -> float:
    """How long it takes, where nothing else is in the way."""
    started = time.process_time()
    with contextlib.suppress(*errors):
        parse(given)
    return time.process_time() - started


def _most_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _shown(given: Any) -> str:
    text = repr(given)
    return text if len(text) < 6000 else f"{text[:3000]} … {text[-3000:]}"
