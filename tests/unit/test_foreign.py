# SPDX-License-Identifier: GPL-2.0-or-later
"""Text and JSON from elsewhere: nothing of it reaches a terminal but what can be seen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import GuestError
from lab.foreign import decoded, harmless
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
