# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a read takes each way: fio on devices that are open side by side, in turns."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from lab.errors import GuestError
from lab.suites.verity.scene import VerityScene

ROUNDS = 3
"""How often each way has its turn: what else the host does then meets all of them."""
BLOCK = 4096

PERCENTS = (1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9)
"""Of how many reads it is said how long they took at most; fio takes 20 such numbers."""


@dataclass(frozen=True)
class Latency:
    """Reads of 4 KiB at random, one at a time; microseconds, medians over the rounds."""

    way: str
    median_us: float
    p99_us: float
    reads: int
    """In all rounds."""
    rounds: tuple[tuple[float, float], ...]
    """Median and p99 of each round."""
    percentiles: tuple[tuple[float, float], ...] = ()
    """Parts of the reads in per cent, and how long they took at most."""

    def document(self) -> dict[str, Any]:
        """Its JSON."""
        return asdict(self)


@dataclass(frozen=True)
class FioRound:
    """A turn of one way: microseconds by per cent of the reads, and how many these were."""

    taken: Mapping[float, float]
    reads: int


def measure(scene: VerityScene, nodes: Mapping[str, str], seconds: float) -> list[Latency]:
    """Measure devices, by way, in turns of so many seconds.  Raises CaseDeclined without fio."""
    scene.require("which", "fio")
    found: dict[str, list[FioRound]] = {way: [] for way in nodes}
    for number in range(ROUNDS):
        # Who comes first changes, so that what the first one warms up is not always the other's.
        turn = list(nodes.items())
        for way, node in turn if number % 2 == 0 else turn[::-1]:
            found[way].append(_fio(scene, node, seconds, number))
    return [_summary(way, rounds) for way, rounds in found.items()]


def _fio(scene: VerityScene, node: str, seconds: float, seed: int) -> FioRound:
    said = scene.checker.must(
        "fio", "--name=read", f"--filename={node}", "--readonly", "--rw=randread", "--direct=1",
        f"--bs={BLOCK}", "--ioengine=psync", "--time_based", f"--runtime={seconds * 1000:.0f}ms",
        f"--randseed={seed}", f"--percentile_list={':'.join(map(str, PERCENTS))}",
        "--output-format=json",
        extra=seconds + 60,
    )  # fmt: skip
    return parse(said.stdout)


def parse(text: str) -> FioRound:
    """The completion latencies in fio's JSON.  Raises GuestError when it says something else."""
    try:
        read = json.loads(text[text.index("{") :])["jobs"][0]["read"]
        of = {float(part): taken / 1000 for part, taken in read["clat_ns"]["percentile"].items()}
        return FioRound({part: of[part] for part in PERCENTS}, int(read["total_ios"]))
    except (ValueError, LookupError, TypeError) as error:
        raise GuestError(
            f"fio says something else than it should: {error!r}", detail=text
        ) from error


def _summary(way: str, rounds: Sequence[FioRound]) -> Latency:
    middle = {part: round(median(one.taken[part] for one in rounds), 1) for part in PERCENTS}
    return Latency(
        way,
        middle[50.0],
        middle[99.0],
        sum(one.reads for one in rounds),
        tuple((round(one.taken[50.0], 1), round(one.taken[99.0], 1)) for one in rounds),
        tuple(middle.items()),
    )
