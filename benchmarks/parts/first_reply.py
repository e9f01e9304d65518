# SPDX-License-Identifier: GPL-2.0-or-later
"""From nothing to the first reply of a guest's executor, in both labs."""

import json
from pathlib import Path

from benchmarks import ask
from benchmarks.builds import Build
from benchmarks.labs import Labs
from benchmarks.measure import in_turn, ratio, settled, table
from benchmarks.page import Figure, Section
from benchmarks.spent import Spent

NAME = "benchmark"
_REQUESTS = {"before": "kmsg", "now": "kernel.kmsg"}
"""One that is cheap, as either executor calls it."""


def reply(build: Build) -> Spent:
    """What a guest takes until its executor answers; it is gone afterwards.  Raises HostError."""
    out, spent = build.python(Path(ask.__file__), NAME, _REQUESTS[build.name])
    build.lab("down", NAME)
    settled()
    return Spent(json.loads(out)["all"], spent.cpu)


def measure(labs: Labs, rounds: int) -> Section:
    """Both, in turn."""
    pairs = in_turn("first reply", labs.before, labs.now, reply, rounds)
    return Section(
        "From nothing to the first reply",
        [Figure("first reply of the executor, to before", ratio(pairs), 0.15, 0.08)],
        [
            "`benchmarks/ask.py` in the Python of either lab: what `lab up nvme-copy` does, and a",
            "request to the guest's executor. Importing the lab counts; CPU seconds are until the",
            "reply.",
            "",
            *table(pairs),
        ],
    )
