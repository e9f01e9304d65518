# SPDX-License-Identifier: GPL-2.0-or-later
"""What is measured: a module for each part, in the order of the page."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.labs import Labs
from benchmarks.page import Section
from benchmarks.parts import (
    commands,
    demo,
    first_reply,
    kills,
    knobs,
    memory,
    peer,
    points,
    profiles,
)


@dataclass(frozen=True)
class Part:
    """One, with how often it is done unless it is said."""

    does: str
    measure: Callable[[Labs, int], Section]
    rounds: int


PARTS = {
    "reply": Part("lab up and the first reply of its executor", first_reply.measure, 6),
    "vng": Part("lab up and lab ssh, against virtme-ng", peer.measure, 5),
    "kills": Part("cases a minute that kill the guest", kills.measure, 2),
    "demo": Part("make demo after its set-up", demo.measure, 1),
    "profiles": Part("all profiles up, verified and down", profiles.measure, 1),
    "memory": Part("ten idle guests of one checkpoint", memory.measure, 1),
    "commands": Part("commands that must feel instant", commands.measure, 5),
    "points": Part("fault points a minute", points.measure, 1),
    "knobs": Part("what QEMU can be told otherwise", knobs.measure, 2),
}
