# SPDX-License-Identifier: GPL-2.0-or-later
"""Every profile that both labs have: up, verified, down."""

import json
from collections.abc import Sequence

from benchmarks.builds import Build
from benchmarks.labs import Labs
from benchmarks.measure import Pair, in_turn, say, settled, table, warm
from benchmarks.page import Figure, Section
from benchmarks.spent import Spent


def measure(labs: Labs, rounds: int, only: Sequence[str] = ()) -> Section:
    """All, each in both labs in turn; `only` some of them try it out."""
    names = sorted(_shipped(labs.before) & _shipped(labs.now))
    names = [name for name in names if not only or name in only]
    for name in names:
        # Checkpoints differ by the number of ports and by kernel arguments.
        warm(labs.now, name)

    def pass_through(name: str) -> list[Pair]:
        def work(build: Build) -> Spent:
            total = Spent()
            for words in (
                ("up", name),
                ("ssh", name, "--", "layers", "verify"),
                ("down", name),
            ):
                total += build.lab(*words)[1]
            settled()
            return total

        return in_turn(name, labs.before, labs.now, work, rounds)

    pairs = [_sum(pass_through(name)) for name in names]
    whole = _sum(pairs)
    say(f"{len(names)} profiles: {whole.clock:.2f}")
    return Section(
        "Profiles",
        [Figure(f"{len(names)} profiles up, verified, down, to before", whole.clock, 0.35, 0.2)],
        [
            "`lab up PROFILE`, `lab ssh PROFILE -- layers verify`, `lab down PROFILE`, one after",
            "the other. Verifying writes, reads back and copies on all that nothing stands on.",
            f"All of them: {whole.before.clock:.0f} s before, {whole.now.clock:.0f} s now; CPU "
            f"{whole.before.cpu:.0f} s",
            f"and {whole.now.cpu:.0f} s.",
            "",
            *table(pairs, "profile", names),
        ],
    )


def _shipped(build: Build) -> set[str]:
    out, _ = build.lab("profile", "list", "--json")
    return {each["name"] for each in json.loads(out)}


def _sum(pairs: Sequence[Pair]) -> Pair:
    return Pair(
        sum((pair.before for pair in pairs), Spent()), sum((pair.now for pair in pairs), Spent())
    )
