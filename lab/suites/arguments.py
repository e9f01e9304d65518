"""The arguments of a suite: what stands after `--` in `lab run PROFILE SUITE -- …`."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from lab.errors import UsageError


class Help(Exception):
    """What can be asked for was asked for; the message tells."""


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


class _Help(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> NoReturn:
        raise Help(parser.format_help().rstrip())
