# SPDX-License-Identifier: GPL-2.0-or-later
"""What a report holds, as far as it goes into JSON; nothing here knows drgn."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class BlockedTask:
    """A task that waits and cannot be interrupted (state D).

    `waits`: the first function of its stack that is not one of waiting itself.  `on`: what it waits
    for, where its variables tell.  `stack`: the innermost call first.
    """

    pid: int
    name: str
    waits: str
    on: tuple[str, ...]
    stack: tuple[str, ...]
    locks: tuple[str, ...] = ()
    """That it holds; known where the kernel has lockdep."""


@dataclass(frozen=True)
class PendingBio:
    """A bio in flight: where, how much, and who is told of its end."""

    sector: int
    size: int
    ends: str


@dataclass(frozen=True)
class PendingRequest:
    """A request with a tag; `age` in seconds, `state` as blk-mq has it, `ends` who is told."""

    tag: int
    operation: str
    sector: int | None
    size: int
    state: str
    age: float | None
    ends: str
    bios: tuple[PendingBio, ...] = ()


@dataclass(frozen=True)
class QueueState:
    """The queue of a disk, or one that has no disk; `depth`: tags of each of its hardware queues;
    `frozen`, `quiesced`: how often."""

    name: str
    scheduler: str
    queues: int
    depth: int
    frozen: int
    quiesced: int
    requests: tuple[PendingRequest, ...]


@dataclass(frozen=True)
class MappedDevice:
    """A device of device mapper: its table, a line for each target; what holds it up."""

    name: str
    disk: str
    targets: tuple[str, ...]
    states: tuple[str, ...]
    pending: int
    deferred: tuple[PendingBio, ...]


@dataclass(frozen=True)
class LoopState:
    """A loop device: its file, and the commands that its worker has not taken yet."""

    disk: str
    state: str
    file: str
    flags: str
    waiting: int


@dataclass(frozen=True)
class ControllerState:
    """An NVMe controller as its driver sees it; `requests` are those of its admin queue."""

    name: str
    state: str
    model: str
    requests: tuple[PendingRequest, ...]


@dataclass(frozen=True)
class KernelReport:
    """All of it; `lacking` are parts that this kernel does not let be read, with the reason."""

    release: str
    tasks: tuple[BlockedTask, ...] = ()
    queues: tuple[QueueState, ...] = ()
    mapped: tuple[MappedDevice, ...] = ()
    loops: tuple[LoopState, ...] = ()
    controllers: tuple[ControllerState, ...] = ()
    lacking: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Its JSON."""
        return asdict(self)
