# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases that end the guest: after each, another one must be there."""

from statistics import median

from benchmarks.builds import Build
from benchmarks.labs import Labs
from benchmarks.measure import in_turn, settled, table
from benchmarks.page import Figure, Section
from benchmarks.spent import Spent

KILLING = ("kill", "power-cut")
ASKED = ("run", "nvme-copy", "copy-faults", "--json", "--", "--actions", ",".join(KILLING))


def measure(labs: Labs, rounds: int, ranges: int = 2) -> Section:
    """Both, in turn."""
    rates: dict[str, list[float]] = {"before": [], "now": []}

    def kill(build: Build) -> Spent:
        document, spent = build.document(*ASKED, "--ranges", str(ranges))
        settled()
        # Without the rehearsal, and without the first guest's beginning.
        took = [case["seconds"] for case in document["cases"] if case["action"] in KILLING]
        rates[build.name].append(len(took) / sum(took) * 60)
        return spent

    pairs = in_turn("killing cases", labs.before, labs.now, kill, rounds)
    before, now = (median(rates[name]) for name in ("before", "now"))
    ratios = [new / old for old, new in zip(rates["before"], rates["now"], strict=True)]
    return Section(
        "Cases that kill",
        [Figure("killing cases a minute, to before", median(ratios), 5, 10, least=True)],
        [
            f"`lab {' '.join(ASKED)}",
            f"--ranges {ranges}`: by the `seconds` of the cases {before:.1f} a minute before, and",
            f"{now:.1f} now. The table has the whole command.",
            "",
            *table(pairs),
        ],
    )
