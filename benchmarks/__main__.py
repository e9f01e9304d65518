# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure, and write docs/benchmarks.md.  Run it as `make benchmark`, or name parts."""

import argparse
import os
import signal
import sys
from dataclasses import replace

from benchmarks import page
from benchmarks.labs import Labs
from benchmarks.measure import say
from benchmarks.parts import PARTS
from benchmarks.spent import adopt_orphans
from lab.cli.terminal import print_error
from lab.errors import LabError


def main() -> int:
    """Measure what is asked for, all by default, and write the page; the exit status.  A part that
    cannot be measured is told, and the others are."""
    asked = _arguments()
    adopt_orphans()
    # As Ctrl-C: no guest stays.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    status = 0
    with Labs() as labs:
        for name in asked.parts or PARTS:
            try:
                _measure(labs, name, asked.rounds)
            except LabError as error:
                print_error(error)
                status = error.exit_status
    return status


def _measure(labs: Labs, name: str, rounds: int) -> None:
    """Measure a part, and put it on the page.  Raises LabError."""
    part = PARTS[name]
    say(f"{name}: {part.does}")
    before = os.getloadavg()[0]
    found = part.measure(labs, rounds or part.rounds)
    where = page.platform((before, os.getloadavg()[0]))
    page.keep(name, replace(found, platform=where))
    page.write(list(PARTS))
    for figure in found.figures:
        say(figure.row())


def _arguments() -> argparse.Namespace:
    parts = "\n".join(f"  {name:10} {part.does}" for name, part in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", formatter_class=argparse.RawDescriptionHelpFormatter,
        description=__doc__, epilog=f"parts:\n{parts}",
    )  # fmt: skip
    parser.add_argument("parts", nargs="*", metavar="PART", help="what to measure; default: all")
    parser.add_argument("--rounds", type=int, default=0, help="how often; default: each its own")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - PARTS.keys():
        parser.error(f"no part {', '.join(sorted(unknown))}; parts: {', '.join(PARTS)}")
    return asked


if __name__ == "__main__":
    sys.exit(main())
