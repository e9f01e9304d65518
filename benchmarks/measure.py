# SPDX-License-Identifier: GPL-2.0-or-later
"""Measuring two labs in turn, and the tables of it."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from statistics import median

from benchmarks.builds import Build
from benchmarks.spent import Spent, descendants_ended
from lab.errors import HostError

_PATIENCE = 300.0
"""Seconds for what a first guest leaves to be done in the background."""

Work = Callable[[Build], Spent]


@dataclass(frozen=True)
class Pair:
    """What the same work took in the lab of before, and in this one."""

    before: Spent
    now: Spent

    @property
    def clock(self) -> float:
        """The ratio of the seconds."""
        return self.now.clock / self.before.clock

    @property
    def cpu(self) -> float:
        """The ratio of the CPU seconds."""
        return self.now.cpu / self.before.cpu


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def in_turn(what: str, before: Build, now: Build, work: Work, rounds: int) -> list[Pair]:
    """Do the work in both labs, `rounds` times, the one and the other first by turns."""
    pairs = []
    for number in range(rounds):
        builds = (before, now) if number % 2 == 0 else (now, before)
        spent = {build.name: _done(what, build, work) for build in builds}
        pair = Pair(spent[before.name], spent[now.name])
        say(
            f"{what}: before {pair.before.clock:.2f} s, now {pair.now.clock:.2f} s: "
            f"{pair.clock:.2f}; CPU {pair.cpu:.2f}"
        )
        pairs.append(pair)
    return pairs


def _done(what: str, build: Build, work: Work) -> Spent:
    """Do the work, once more where a lab fails at it, as an SSH handshake does on a busy host: what
    is measured is what it takes when it works.  Raises HostError."""
    try:
        return work(build)
    except HostError as error:
        say(f"{what}: once more: {error.message}\n{error.detail}")
        build.lab("down", "--all")
        settled()
        return work(build)


def ratio(pairs: Sequence[Pair]) -> float:
    """The median of the ratios of the seconds."""
    return median(pair.clock for pair in pairs)


def table(pairs: Sequence[Pair], head: str = "round", names: Sequence[str] = ()) -> list[str]:
    """A row for each pair, and the medians of the ratios."""
    lines = [
        f"| {head} | before | now | ratio | CPU before | CPU now | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for number, pair in enumerate(pairs):
        name = names[number] if names else str(number + 1)
        lines.append(
            f"| {name} | {pair.before.clock:.2f} s | {pair.now.clock:.2f} s | {pair.clock:.2f} "
            f"| {pair.before.cpu:.2f} s | {pair.now.cpu:.2f} s | {pair.cpu:.2f} |"
        )
    cpu = median(pair.cpu for pair in pairs)
    return [*lines, "", f"Median ratio: {ratio(pairs):.2f}, of CPU seconds {cpu:.2f}."]


def settled() -> None:
    """Wait until nothing that a lab has started goes on.  Raises HostError."""
    end = time.monotonic() + _PATIENCE
    while not descendants_ended():
        if time.monotonic() > end:
            raise HostError(f"something still runs that a lab started {_PATIENCE:.0f} s ago")
        time.sleep(0.1)


def warm(build: Build, profile: str = "nvme-copy") -> None:
    """Have a lab find out, build and keep all that a guest needs, and read it once."""
    for _ in range(2):
        build.lab("up", profile)
        build.lab("down", profile)
        settled()


@contextmanager
def taken_down(*builds: Build) -> Iterator[None]:
    """No guest stays, whatever happens."""
    try:
        yield
    finally:
        for build in builds:
            with suppress(HostError):
                build.lab("down", "--all")
