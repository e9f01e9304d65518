# SPDX-License-Identifier: GPL-2.0-or-later
"""What a suite is, and which suites there are.

Completion asks for this: nothing heavy is imported here, and a suite's own record names what it
needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lab.errors import UsageError
from lab.suites import OWN

if TYPE_CHECKING:
    from pathlib import Path

    from lab.suites.request import Assignment


@dataclass(frozen=True)
class Late:
    """What stands at `reference`, MODULE:NAME; the module is imported when it is called."""

    reference: str

    def resolve(self) -> Any:
        """What stands there."""
        module, _, name = self.reference.partition(":")
        return getattr(import_module(module), name)

    def __call__(self, *args: Any) -> Any:
        """Call it."""
        return self.resolve()(*args)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A suite: all that the lab must know of one.

    `parse` makes options of the words after `--`; it raises UsageError, or Help where that is
    asked for.  `run` boots, carries out the cases and takes the guests down; it raises UsageError,
    ProfileError and HostError from before the first boot, later errors stand in what it returns.
    """

    name: str
    does: str
    """In a few words."""
    parse: Callable[[Sequence[str]], Any]
    run: Callable[[Assignment[Any], Any], Any]
    tree: bool = False
    """Whether a person can name a built tree of it."""
    reuses: bool = False
    """Whether it can run in a guest that is up."""
    shows: str = "lab.cli.show.cases"
    """The module that prints it, see lab/cli/show."""
    guest_scripts: tuple[Path, ...] = ()
    """Programs that guests are to have beside the lab's own."""


@cache
def suites() -> Mapping[str, Suite]:
    """All suites by name: the lab's own, and those that packages bring.

    Raises HostError if two have the same name; see lab/plugins.py for those that are broken.
    """
    from lab import plugins

    own = {name: Late(reference).resolve() for name, reference in OWN.items()}
    return plugins.together(plugins.SUITES, own, Suite)


def find(name: str) -> Suite:
    """The suite of that name.  Raises UsageError."""
    found = suites()
    if name not in found:
        close = get_close_matches(name, found, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise UsageError(f"no suite {name}", hint=f"{hint}there are: {', '.join(found)}")
    return found[name]


def check(name: str, words: Sequence[str]) -> None:
    """Whether a suite understands its arguments where nobody sits at a terminal.

    Raises UsageError if it does not.
    """
    # Imported late: the command line asks for the names alone.
    from lab.suites.arguments import Help

    if "-" in words:
        raise UsageError(f"{name}: there is no list on stdin", hint="name the cases, or a file")
    try:
        find(name).parse(words)
    except Help:
        raise UsageError(f"{name}: help is for people") from None
