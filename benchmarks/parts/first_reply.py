# SPDX-License-Identifier: GPL-2.0-or-later
"""From nothing to the first reply of a guest's executor, in both labs."""

import json
from pathlib import Path

from benchmarks import ask
from benchmarks.builds import Build
from benchmarks.labs import Labs
from benchmarks.measure import in_turn, ratio, say, settled, table
from benchmarks.page import Figure, Section
from benchmarks.spent import Spent

NAME = "benchmark"
_REQUESTS = {"before": "kmsg", "now": "kernel.kmsg"}
"""One that is cheap, as either executor calls it."""


def reply(build: Build) -> Spent:
    """What a guest takes until its executor answers; it is gone afterwards.  Raises HostError."""
    return _asked(build)[0]


def _asked(build: Build) -> tuple[Spent, int]:
    """That, and how many blocks of its code were translated until then."""
    out, spent = build.python(Path(ask.__file__), NAME, _REQUESTS[build.name])
    build.lab("down", NAME)
    settled()
    told = json.loads(out)
    return Spent(told["all"], spent.cpu), told["blocks"]


def measure(labs: Labs, rounds: int) -> Section:
    """Both, in turn."""
    blocks: dict[str, int] = {}

    def work(build: Build) -> Spent:
        spent, blocks[build.name] = _asked(build)
        return spent

    pairs = in_turn("first reply", labs.before, labs.now, work, rounds)
    say(f"blocks: {blocks}")
    return Section(
        "From nothing to the first reply",
        [Figure("first reply of the executor, to before", ratio(pairs), 0.15, 0.08)],
        [
            "`benchmarks/ask.py` in the Python of either lab: what `lab up nvme-copy` does, and a",
            "request to the guest's executor. Importing the lab counts; CPU seconds are until the",
            "reply.",
            "",
            *table(pairs),
            "",
            "Blocks of the guest's code that QEMU has translated by then (`info jit`), in the last",
            f"round: {blocks[labs.before.name]:,} before, {blocks[labs.now.name]:,} now. However",
            "busy the host is, that is the same.",
        ],
    )
