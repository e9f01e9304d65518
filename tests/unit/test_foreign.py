# SPDX-License-Identifier: GPL-2.0-or-later
"""Text and JSON from elsewhere: nothing of it reaches a terminal but what can be seen."""

import json
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import GuestError
from lab.foreign import TooManyValues, decoded, harmless
from tests.fuzz import fit


@given(st.text(alphabet=st.characters()))
def test_no_text_makes_a_terminal_do_anything(text: str) -> None:
    shown = harmless(text)
    assert fit(shown)
    shown.encode()
    assert harmless(shown) == shown


def test_what_can_be_seen_is_left_as_it_is() -> None:
    text = "naïve “quotes” — 漢字\n\tin lines\n"
    assert harmless(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202eb", "a\\u202eb"),
        ("a\rb", "a\\rb"),
        ("\ud800\uffff", "\\ud800\\uffff"),
    ],
)
def test_what_a_terminal_would_do_is_told_instead(text: str, shown: str) -> None:
    assert harmless(text) == shown
    error = GuestError(text, detail=text, hint=text)
    assert error.message == error.detail == error.hint == shown
    assert fit(str(error))


@pytest.mark.parametrize("text", ["[" * 10_000, "{" + '"a":{' * 10_000, "9" * 10**6, "", "\xff"])
def test_json_of_any_kind_is_refused_alike(text: str) -> None:
    with pytest.raises(ValueError):
        decoded(text)


@pytest.mark.parametrize(
    "text",
    [
        b"[" + b"[]," * 1_000_000 + b"[]]", b"[" + b"{}," * 1_000_000 + b"{}]",
        b"[" + b'"",' * 1_000_000 + b"0]", b"[" + b"0," * 1_000_000 + b"0]",
    ],
    ids=lambda text: text[:4].decode(),
)  # fmt: skip
def test_values_are_counted_before_they_take_memory(text: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(TooManyValues):
            decoded(text, values=1000)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "right",
    [
        {"a": ",[{" * 5000}, ['\\",', '"' * 2000, "," * 2000], [[0] * 400, {"a": [1] * 400}],
        {str(key): ",," for key in range(900)},
    ],
    ids=lambda right: json.dumps(right)[:8],
)  # fmt: skip
def test_what_stands_in_texts_is_no_value(right: Any) -> None:
    for text in (json.dumps(right), json.dumps(right).encode()):
        assert decoded(text, values=1000) == right


def test_a_text_of_escapes_without_an_end_is_gone_through_once() -> None:
    started = time.process_time()
    with pytest.raises(ValueError, match="Unterminated"):
        decoded(b"[" + b"0," * 1500 + b'"' + b'\\"' * 500_000, values=1000)
    assert time.process_time() - started < 2


def test_millions_of_escapes_take_memory_in_proportion() -> None:
    tracemalloc.start()
    try:
        assert len(harmless("\x9b" * 1_000_000)) == 4_000_000
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()
