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

    def document(self) -> dict[str, Any]:
        """Its JSON."""
        return asdict(self)


def measure(scene: VerityScene, nodes: Mapping[str, str], seconds: float) -> list[Latency]:
    """Measure devices, by way, in turns of so many seconds.  Raises CaseDeclined without fio."""
    scene.require("which", "fio")
    found: dict[str, list[tuple[float, float, int]]] = {way: [] for way in nodes}
    for number in range(ROUNDS):
        # Who comes first changes, so that what the first one warms up is not always the other's.
        turn = list(nodes.items())
        for way, node in turn if number % 2 == 0 else turn[::-1]:
            found[way].append(_fio(scene, node, seconds, number))
    return [_summary(way, rounds) for way, rounds in found.items()]


def _fio(scene: VerityScene, node: str, seconds: float, seed: int) -> tuple[float, float, int]:
    """Median and p99 in microseconds, and the number of reads."""
    said = scene.checker.must(
        "fio", "--name=read", f"--filename={node}", "--readonly", "--rw=randread", "--direct=1",
        f"--bs={BLOCK}", "--ioengine=psync", "--time_based", f"--runtime={seconds * 1000:.0f}ms",
        f"--randseed={seed}", "--percentile_list=50:99", "--output-format=json",
        extra=seconds + 60,
    )  # fmt: skip
    return parse(said.stdout)


def parse(text: str) -> tuple[float, float, int]:
    """Median and p99 of the completion latency in microseconds, and the number of reads, from
    fio's JSON.  Raises GuestError when it says something else."""
    try:
        read = json.loads(text[text.index("{") :])["jobs"][0]["read"]
        of = read["clat_ns"]["percentile"]
        return of["50.000000"] / 1000, of["99.000000"] / 1000, int(read["total_ios"])
    except (ValueError, LookupError, TypeError) as error:
        raise GuestError(
            f"fio says something else than it should: {error!r}", detail=text
        ) from error


def _summary(way: str, rounds: Sequence[tuple[float, float, int]]) -> Latency:
    return Latency(
        way,
        round(median(one for one, _, _ in rounds), 1),
        round(median(one for _, one, _ in rounds), 1),
        sum(reads for _, _, reads in rounds),
        tuple((round(middle, 1), round(high, 1)) for middle, high, _ in rounds),
    )
