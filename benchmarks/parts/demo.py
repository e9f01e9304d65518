# SPDX-License-Identifier: GPL-2.0-or-later
"""`make demo` after its set-up, in both labs."""

from benchmarks.builds import Build
from benchmarks.labs import Labs
from benchmarks.measure import in_turn, ratio, settled, table
from benchmarks.page import Figure, Section
from benchmarks.spent import Spent


def measure(labs: Labs, rounds: int, ranges: int | None = None) -> Section:
    """Both, in turn; fewer `ranges` than the demo's try it out."""
    words = ["run", "nvme-copy", "copy-faults", "--json"]
    words += ["--", "--ranges", str(ranges)] if ranges else []
    found: dict[str, list[str]] = {}

    def demo(build: Build) -> Spent:
        document, spent = build.document(*words)
        settled()
        found[build.name] = [case["verdict"] for case in document["cases"]]
        return spent

    pairs = in_turn("demo", labs.before, labs.now, demo, rounds)
    held = {name: f"{verdicts.count('holds')} of {len(verdicts)}"
            for name, verdicts in found.items()}  # fmt: skip
    return Section(
        "The demo",
        [Figure("make demo after its set-up, to before", ratio(pairs), 0.25, 0.15)],
        [
            f"`lab {' '.join(words)}`; before, {held['before']} cases held, now {held['now']}.",
            "",
            *table(pairs),
        ],
    )
