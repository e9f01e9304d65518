# SPDX-License-Identifier: GPL-2.0-or-later
"""Fault points a minute, where the guest lives on."""

from benchmarks.labs import Labs
from benchmarks.measure import say
from benchmarks.page import Figure, Section


def measure(labs: Labs, _rounds: int, sizes: tuple[int, ...] = (4, 16)) -> Section:
    """This lab's, for all actions that leave the guest alive; no boot counts."""
    lines = ["| ranges | cases | seconds | points a minute |", "|---|---|---|---|"]
    rates = []
    for ranges in sizes:
        alive = ("--ranges", str(ranges), "--blocks", "64", "--actions", "resume,eio,enospc,torn")
        document, _ = labs.now.document("run", "nvme-copy", "copy-faults", "--json", "--", *alive)
        cases = document["cases"]
        spent = sum(case["seconds"] for case in cases)
        rates.append(len(cases) / spent * 60)
        say(f"{len(cases)} cases in {spent:.2f} s")
        lines.append(f"| {ranges} | {len(cases)} | {spent:.2f} | {rates[-1]:.0f} |")
    return Section(
        "Fault points",
        [Figure("fault points a minute", min(rates), 120, least=True)],
        [
            "`lab run nvme-copy copy-faults --json -- --actions resume,eio,enospc,torn`: the sum",
            "of the cases' `seconds`: tag, freeze, act, release, read the medium, copy again,",
            "judge.",
            "",
            *lines,
        ],
    )
