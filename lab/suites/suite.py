"""The suites that there are, and what each makes of its arguments."""

from collections.abc import Sequence
from importlib import import_module

from lab.errors import UsageError

_PARSERS = {
    "copy-faults": "lab.suites.copy_faults.options",
    "conformance": "lab.suites.conformance.options",
    "fstests": "lab.suites.fstests.options",
    "blktests": "lab.suites.blktests.options",
    "fsx": "lab.suites.fsx.options",
    "fsstress": "lab.suites.fsx.options",
    "verity": "lab.suites.verity.options",
    "cryptsetup": "lab.suites.cryptsetup.options",
}
"""Modules with a parse(), imported when they are needed."""

SUITES = tuple(_PARSERS)


def check(suite: str, args: Sequence[str]) -> None:
    """Whether a suite understands its arguments where nobody sits at a terminal.

    Raises UsageError if it does not.
    """
    # Imported late: the command line asks for the names alone.
    from lab.suites.arguments import Help

    if "-" in args:
        raise UsageError(f"{suite}: there is no list on stdin", hint="name the cases, or a file")
    try:
        import_module(_PARSERS[suite]).parse(list(args))
    except Help:
        raise UsageError(f"{suite}: help is for people") from None
