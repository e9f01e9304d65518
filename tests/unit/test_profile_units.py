# SPDX-License-Identifier: GPL-2.0-or-later
"""Sizes and durations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.profile.units import (
    MAX_DURATION,
    MAX_SIZE,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64K", 65536),
        ("512M", 536870912),
        ("1G", 1073741824),
        ("4GiB", 4294967296),
        ("2TiB", 2199023255552),
        (1, 1),
        (MAX_SIZE, MAX_SIZE),
    ],
)
def test_size_is_read_in_binary_units(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "M", "512", "512m", "512MB", "512 M", "1.5G", "-1G", "0M", "512M\n", 1.5, True, None, ()],
)
def test_size_of_another_form_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"is not a size; expected a size such as 512M or 4GiB$"):
        parse_size(text)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (0, "less than one byte"),
        (-1, "less than one byte"),
        (MAX_SIZE + 1, f"more than {MAX_SIZE} bytes"),
        ("8388608T", f"more than {MAX_SIZE} bytes"),
    ],
)
def test_size_out_of_range_is_refused(value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=f"{reason}; expected a size such as 512M or 4GiB$"):
        parse_size(value)


@pytest.mark.parametrize(
    ("size", "text"),
    [(1000, "1000 B"), (1024, "1K"), (1536, "1536 B"), (3 * 2**29, "1536M"), (2**40, "1T")],
)
def test_size_is_shown_in_the_largest_exact_unit(size: int, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("text", "seconds"), [("250ms", 0.25), ("30s", 30), ("10m", 600), ("1h", 3600), ("1.5m", 90)]
)
def test_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "30", "s", "30 s", "30S", "-1s", "1e3s", ".5s", "1d", "30s\n", 30, 1.5, True, None]
)
def test_duration_without_a_known_unit_is_refused(text: object) -> None:
    expected = "is not a duration; expected a duration with a unit such as 30s$"
    with pytest.raises(ValueError, match=expected):
        parse_duration(text)


def test_duration_beyond_what_a_float_holds_exactly_is_refused() -> None:
    assert parse_duration(f"{MAX_DURATION // 1000}s") == MAX_DURATION // 1000
    with pytest.raises(ValueError, match=f"more than {MAX_DURATION} s"):
        parse_duration("999999999h")


@given(st.integers(0, MAX_DURATION * 10**6 - 1))
def test_duration_reads_back_what_it_writes(microseconds: int) -> None:
    seconds = microseconds / 10**6
    assert parse_duration(format_duration(seconds)) == seconds
