# SPDX-License-Identifier: GPL-2.0-or-later
"""The arguments of a suite: what stands after `--` in `lab run PROFILE SUITE -- …`, and the same by
name, as `lab.run()` takes it."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from lab.errors import UsageError


class Help(Exception):
    """What can be asked for was asked for; the message tells."""


class Keywords(list[str]):
    """Arguments by name: whatever Parser reads them makes words of them.

    An option is called as on the command line, with `_` for `-`; words that are no options go by
    what they are called in its usage, as `tests`.  True is an option without a value; a list is
    one value with commas, or the option once for each, as it takes them; a mapping is a list of
    `KEY=VALUE`; None and False are nothing.  A `_` at the end of a name is for those that Python
    or lab.run() has another use for.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__()
        self.given = given


class Parser(argparse.ArgumentParser):
    """Raises UsageError for what it does not understand, and Help for `--help`."""

    def __init__(self, suite: str) -> None:
        self._command = f"lab run PROFILE {suite} --"
        super().__init__(self._command, add_help=False, allow_abbrev=False)
        self._suite = suite
        self.add_argument("-h", "--help", action=_Help, nargs=0, help="tell this")

    def error(self, message: str) -> NoReturn:
        """As argparse does it, without ending the process."""
        raise UsageError(f"{self._suite}: {message}", hint=f"{self._command} --help tells them all")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does it, of Keywords too."""
        return super().parse_args(self._words(args), namespace)

    def parse_intermixed_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does it, of Keywords too."""
        return super().parse_intermixed_args(self._words(args), namespace)

    def _words(self, args: Any) -> Any:
        if not isinstance(args, Keywords):
            return args
        known = {name: (action, option) for name, action, option in self._names()}
        words: list[str] = []
        for name, value in args.given.items():
            if name.removesuffix("_") not in known:
                raise self._unknown(name, [*known])
            action, option = known[name.removesuffix("_")]
            words += self._said(name, action, option, value)
        return words

    def _names(self) -> Iterator[tuple[str, argparse.Action, str]]:
        """What each argument is called by name, and as an option, which is '' for a word."""
        for action in self._actions:
            if isinstance(action, _Help):
                continue
            if not action.option_strings:
                yield action.dest, action, ""
            for option in action.option_strings:
                yield option.lstrip("-").replace("-", "_"), action, option

    def _unknown(self, name: str, known: Sequence[str]) -> UsageError:
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        return UsageError(
            f"{self._suite}: no option {name}", hint=f"{hint}there are: {', '.join(known)}"
        )

    def _said(self, name: str, action: argparse.Action, option: str, value: Any) -> Iterator[str]:
        """An argument as words of the command line."""
        if value is None or value is False:
            return
        if action.nargs == 0:
            if value is not True:
                raise UsageError(f"{self._suite}: {name} is True or False, not {value!r}")
            yield option
            return
        if isinstance(value, Mapping):
            value = [f"{key}={each}" for key, each in value.items()]
        many = [value] if isinstance(value, str) or not _is_list(value) else list(value)
        if option and not isinstance(action.default, list):
            many = [",".join(map(str, many))]
        for word in map(str, many):
            if option.startswith("--"):
                # One word: the value may begin with a dash.
                yield f"{option}={word}"
            elif word.startswith("-"):
                raise UsageError(f"{self._suite}: {name}={word!r}: options go by their own names")
            else:
                yield from filter(None, (option, word))


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence | set | frozenset)


class _Help(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> NoReturn:
        raise Help(parser.format_help().rstrip())
