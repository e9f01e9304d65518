# SPDX-License-Identifier: GPL-2.0-or-later
"""Device-mapper targets that fail, wait, write down or put off what passes: faults made in the
guest."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from lab.profile.base import Conflict
from lab.profile.fields import Span, Text
from lab.profile.layers.base import Node, Over, Reference, Use
from lab.profile.layers.mapping import SectorRange
from lab.profile.units import Duration, format_duration, format_size


def _whole_seconds(seconds: float) -> float:
    if not seconds.is_integer() or seconds >= 2**32:
        raise ValueError(f"{format_duration(seconds)}; expected whole seconds, such as 30s")
    return seconds


def _whole_milliseconds(seconds: float) -> float:
    if not round(seconds * 1000, 3).is_integer() or seconds * 1000 >= 2**32:
        raise ValueError(f"{format_duration(seconds)}; expected whole milliseconds, such as 20ms")
    return seconds


Seconds = Annotated[Duration, AfterValidator(_whole_seconds)]
Milliseconds = Annotated[Duration, AfterValidator(_whole_milliseconds)]

FlakeyFeature = Annotated[
    str,
    Text(
        r"(drop_writes|error_writes|error_reads"
        r"|corrupt_bio_byte [1-9][0-9]{0,8} [rw] (25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9]) [0-9]{1,9}"
        r"|random_(read|write)_corrupt (1000000000|[0-9]{1,9}))",
        "a feature of dm-flakey: drop_writes, error_writes, error_reads, 'corrupt_bio_byte NTH "
        "r|w VALUE FLAGS', 'random_read_corrupt PARTS-PER-BILLION' or 'random_write_corrupt ...'",
    ),
]

_EXCLUSIVE = (
    {"drop_writes", "error_writes"},
    {"drop_writes", "corrupt_bio_byte w"},
    {"error_writes", "corrupt_bio_byte w"},
)
"""What cannot be asked for together (drivers/md/dm-flakey.c, parse_features)."""


class _Zones(Over):
    """Over a device that may be zoned."""

    def uses(self) -> Iterator[Use]:
        yield Use(("over",), self.over, zoned=None)


class DmFlakey(_Zones):
    """Works for a while, then fails for a while."""

    guest_class = "faulty.Flakey"
    type: Literal["dm-flakey"] = Field(description="Works for a while, then fails for a while")
    up: Seconds = Field(
        3600.0,
        description="How long it works, whole seconds. Long by default: faults switch it",
        json_schema_extra={"default": "1h"},
    )
    down: Seconds = Field(
        0.0, description="How long it fails, whole seconds", json_schema_extra={"default": "0s"}
    )
    features: tuple[FlakeyFeature, ...] = Field(
        (), description="What it does while it fails; default: every request fails"
    )

    def conflicts(self) -> Iterator[Conflict]:
        # drivers/md/dm-flakey.c: "Total (up + down) interval is zero"
        if self.up + self.down == 0:
            yield ("up",), "no time, and neither has down; expected one of them longer than 0s"
        words = [feature.split() for feature in self.features]
        for index, mine in enumerate(words):
            for other in words[:index]:
                if mine[0] == other[0]:
                    # The kernel refuses that, or forgets the first.
                    yield ("features", index), f"{mine[0]} is there already; expected it once"
                elif {_kind(mine), _kind(other)} in _EXCLUSIVE:
                    yield (
                        ("features", index),
                        f"{_kind(mine)} and {_kind(other)} do not go together; expected one",
                    )


def _kind(words: list[str]) -> str:
    """What a feature does, without how: of corrupt_bio_byte also the direction."""
    return f"{words[0]} {words[2]}" if words[0] == "corrupt_bio_byte" else words[0]


class DmError(_Zones):
    """Fails every request that touches its bad parts."""

    guest_class = "faulty.Error"
    type: Literal["dm-error"] = Field(description="Fails every request to its bad parts")
    bad: tuple[SectorRange, ...] = Field(
        (), description="The parts that fail, in order; default: all of the device"
    )

    def conflicts(self) -> Iterator[Conflict]:
        end = 0
        for index, extent in enumerate(self.bad):
            if extent.offset < end:
                yield (
                    ("bad", index, "offset"),
                    f"{format_size(extent.offset)} is before the end of the part above; "
                    f"expected at least {format_size(end)}",
                )
            end = extent.offset + extent.size

    def uses(self) -> Iterator[Use]:
        end = max((extent.offset + extent.size for extent in self.bad), default=0)
        yield Use(("over",), self.over, zoned=None, least=end)


class DmDelay(_Zones):
    """Holds every request for a while."""

    guest_class = "faulty.Delay"
    type: Literal["dm-delay"] = Field(description="Holds every request for a while")
    read: Milliseconds = Field(
        0.0, description="Delay of reads, such as 20ms", json_schema_extra={"default": "0ms"}
    )
    write: Milliseconds = Field(
        0.0, description="Delay of writes, such as 20ms", json_schema_extra={"default": "0ms"}
    )
    flush: Milliseconds = Field(
        0.0, description="Delay of flushes, such as 20ms", json_schema_extra={"default": "0ms"}
    )


class DmDust(Over):
    """Fails reads of bad blocks until they are written, as worn-out disks do."""

    guest_class = "faulty.Dust"
    type: Literal["dm-dust"] = Field(description="Fails reads of bad blocks until they are written")
    block_size: Literal[512, 1024, 2048, 4096] = Field(512, description="Bytes of a bad block")
    bad_blocks: tuple[Annotated[int, Span(0, 2**54, "as block number")], ...] = Field(
        (), description="Numbers of the bad blocks"
    )


class DmReorder(Over):
    """Acknowledges flushes before it writes."""

    guest_class = "faulty.Reorder"
    kernel_modules = ("dm-reorder",)
    type: Literal["dm-reorder"] = Field(
        description="Answers flushes at once, and writes behind the next what came before them; "
        "by a module of the lab's own"
    )


class DmLogWrites(Over):
    """Writes down everything written, in order: what a crash may leave can be replayed."""

    guest_class = "faulty.LogWrites"
    type: Literal["dm-log-writes"] = Field(
        description="Logs all writes to another device; a new log begins whenever it is made"
    )
    log: Reference = Field(description="The block device that the log is written to")

    def uses(self) -> Iterator[Use]:
        yield Use(("over",), self.over)
        yield Use(("log",), self.log)

    def offers(self, below: Sequence[Node]) -> Iterator[Node]:
        yield Node(self.name, "block", below[0].size, below[0].block_size)
