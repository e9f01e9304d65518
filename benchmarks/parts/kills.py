# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases that end the guest: after each, another one must be there."""

from benchmarks.builds import Build
from benchmarks.labs import Labs
from benchmarks.measure import in_turn, ratio, settled, table
from benchmarks.page import Figure, Section
from benchmarks.spent import Spent

ASKED = ("run", "nvme-copy", "copy-faults", "--json", "--", "--actions", "kill,power-cut")


def measure(labs: Labs, rounds: int, ranges: int = 2) -> Section:
    """Both, in turn."""
    rates: dict[str, list[float]] = {"before": [], "now": []}

    def kill(build: Build) -> Spent:
        document, spent = build.document(*ASKED, "--ranges", str(ranges))
        settled()
        # The first guest's beginning is not of a case, nor is the rehearsal, a case of no time.
        minutes = (document["seconds"] - (document["boot"] or 0)) / 60
        rates[build.name].append(len(document["cases"]) / minutes)
        return spent

    pairs = in_turn("killing cases", labs.before, labs.now, kill, rounds)
    before, now = (max(rates[name]) for name in ("before", "now"))
    return Section(
        "Cases that kill",
        [Figure("killing cases a minute, to before", 1 / ratio(pairs), 5, 10, least=True)],
        [
            f"`lab {' '.join(ASKED)} --ranges {ranges}`, all of it. The best round had",
            f"{before:.1f} cases a minute before and {now:.1f} now.",
            "",
            *table(pairs),
        ],
    )
