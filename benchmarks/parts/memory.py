# SPDX-License-Identifier: GPL-2.0-or-later
"""What guests of one checkpoint take of the host's memory."""

import json
import time
from pathlib import Path

from benchmarks.builds import Build
from benchmarks.labs import Labs
from benchmarks.measure import say, settled
from benchmarks.page import Figure, Section

_IDLE = 5.0
"""Seconds until they are idle."""


def measure(labs: Labs, _rounds: int, count: int = 10) -> Section:
    """This lab's guests, all at once."""
    names = [f"benchmark-{number}" for number in range(count)]
    try:
        for name in names:
            labs.now.lab("up", "nvme-copy", "--name", name)
        time.sleep(_IDLE)
        each = [_proportional(pid) for pid in _emulators(labs.now)]
    finally:
        labs.now.lab("down", "--all")
    settled()
    share = sum(each) / len(each) / 1e6
    say(f"{len(each)} guests: {share:.0f} MB each")
    return Section(
        "Memory",
        [Figure(f"memory of {count} idle guests, each", share, 120, 80, " MB")],
        [
            f"`lab up nvme-copy --name …` {count} times; {_IDLE:.0f} s later the sum of `Pss` in",
            "/proc/PID/smaps_rollup of all QEMUs. What they have in common, the memory of the",
            "checkpoint and QEMU itself, counts once.",
        ],
    )


def _emulators(build: Build) -> list[int]:
    out, _ = build.lab("ls", "--json")
    return [guest["pid"] for guest in json.loads(out) if guest["state"] == "up"]


def _proportional(pid: int) -> int:
    """Bytes of a process, what it shares divided by those that share it (proc_pid_smaps(5))."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
    raise OSError(f"/proc/{pid}/smaps_rollup: no Pss")
