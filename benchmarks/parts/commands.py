# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands that must feel instant."""

from statistics import median

from benchmarks.labs import Labs
from benchmarks.measure import say
from benchmarks.page import Figure, Section

_WRONG = ("up", "nvme-copy", "--set", "machine.memory=1 gig")


def measure(labs: Labs, rounds: int, guests: int = 3) -> Section:
    """This lab's."""
    lab = labs.now.lab
    try:
        for number in range(guests):
            lab("up", "nvme-copy", "--name", f"benchmark-{number}")
        listing = median(lab("ls")[1].clock for _ in range(rounds))
    finally:
        lab("down", "--all")
    told = median(lab("--help")[1].clock for _ in range(rounds))
    refusal = median(lab(*_WRONG, statuses=(2,))[1].clock for _ in range(rounds))
    say(f"--help {told:.3f} s, ls {listing:.3f} s, refusal {refusal:.3f} s")
    return Section(
        "Commands",
        [
            Figure("`lab --help`", told, 0.2, unit=" s"),
            Figure("`lab ls`, three guests", listing, 0.5, unit=" s"),
            Figure("a profile error told", refusal, 0.3, unit=" s"),
        ],
        [
            f"Medians of {rounds}: `lab --help`, `lab ls` with {guests} guests, and",
            f"`lab {' '.join(_WRONG[:3])} '{_WRONG[3]}'`.",
        ],
    )
