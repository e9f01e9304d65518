# SPDX-License-Identifier: GPL-2.0-or-later
"""Options of a suite's own `check` that the lab does not have, and what it has instead: whoever
types them by habit is told."""

import argparse
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from lab.errors import UsageError
from lab.suites.arguments import Parser


class Habit(NamedTuple):
    """An option: what the lab has for it, and how many values it takes."""

    instead: str
    values: int = 0


def answer(parser: Parser, suite: str, habits: Mapping[str, Habit]) -> None:
    """Have a suite's arguments raise UsageError for these, with the lab's word for each."""
    for option, habit in habits.items():
        parser.add_argument(
            option, action=_Answer, nargs=habit.values, help=argparse.SUPPRESS,
            suite=suite, instead=habit.instead,
        )  # fmt: skip


class _Answer(argparse.Action):
    def __init__(self, suite: str, instead: str, **more: Any) -> None:
        super().__init__(**more)
        self._suite, self._instead = suite, instead

    def __call__(self, *_: object, **__: object) -> NoReturn:
        raise UsageError(
            f"{self._suite}: {self.option_strings[0]} is an option of check, not of the lab",
            hint=self._instead,
        )
