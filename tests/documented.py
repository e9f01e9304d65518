# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands that README and docs tell people to type."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from tests import ROOT

PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != "profile-keys.md"),
)
"""All that are written by hand."""

_FENCE = re.compile(r"```")
_INLINE = re.compile(r"`(lab [^`]+|make [a-z-]+)`")
_COMMAND = re.compile(r"(\$ )?(lab|make|ssh|scp|rsync|[A-Z_]+=\S+ python) (?!.*—)")
_COMMENT = re.compile(r"\s#\s.*")
_ALTERNATIVES = re.compile(r"[a-z]+(\|[a-z]+)+")


@dataclass(frozen=True)
class Command:
    """A command, and where it stands; `inline` where it is a mention within a sentence."""

    page: str
    line: int
    text: str
    inline: bool

    @property
    def mention(self) -> bool:
        """Whether it need not be complete: it stands in a sentence, or for several commands."""
        return self.inline or _ALTERNATIVES.search(self.text) is not None

    def simple(self) -> Iterator[list[str]]:
        """The words of each simple command in it, without redirections; of alternatives (`a|b`)
        each."""
        alternatives = _ALTERNATIVES.search(self.text)
        choices = alternatives[0].split("|") if alternatives else [""]
        for choice in choices:
            text = self.text.replace(alternatives[0], choice) if alternatives else self.text
            lexer = shlex.shlex(text, posix=True, punctuation_chars="&|<>;")
            lexer.whitespace_split, lexer.commenters = True, ""
            yield from _split(list(lexer))


def _split(words: list[str]) -> Iterator[list[str]]:
    found: list[str] = []
    rest = iter(words)
    for word in rest:
        if word in ("&&", "|", ";"):
            yield found
            found = []
        elif word in ("<", ">", ">>"):
            next(rest)
        else:
            found.append(word)
    yield found


def commands() -> list[Command]:
    """All of them, page by page."""
    return [command for path in PAGES for command in _on(path.name, path.read_text())]


def _on(page: str, text: str) -> Iterator[Command]:
    lines = iter(enumerate(text.splitlines(), 1))
    fenced = False
    for number, line in lines:
        if _FENCE.match(line):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            code = line.strip()
            while code.endswith("\\"):
                code = code[:-1] + next(lines)[1].strip()
            if _COMMAND.match(code):
                text = _COMMENT.sub("", code).strip().removeprefix("$ ")
                yield Command(page, number, text, inline=False)
        else:
            for found in _INLINE.finditer(line):
                yield Command(page, number, found[1], inline=True)
