# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest or a suite said, as a piece of one line of Markdown: it ends no line, no span and no
cell, and makes no heading, no link and no HTML."""

from lab.foreign import harmless


def plain(text: str) -> str:
    """The text, to be read as text."""
    return _line(text).replace("<", "&lt;").replace("[", "\\[")


def cell(text: str) -> str:
    """The same in a cell of a table."""
    return plain(text).replace("|", "\\|")


def code(text: str, longest: int | None = None) -> str:
    """The text as a code span, at most `longest` characters of it; backticks become apostrophes."""
    # In a span nothing else has a meaning (CommonMark, 6.1); one of nothing is none.
    return f"`{_line(text)[:longest].replace('`', chr(39)) or ' '}`"


def _line(text: str) -> str:
    return harmless(" ".join(text.split()))
