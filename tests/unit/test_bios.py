# SPDX-License-Identifier: GPL-2.0-or-later
"""What moved through a block device: which requests are the copy's, and what they mean."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.copy.model import Copy, Extent
from lab.copy.paths.bios import Bio, BioKind, moved_through, operation, touched
from tests.unit.test_guest_copies import load

COPY = Copy((Extent(2112, 8), Extent(2240, 8)), destination=2400)
UDEV = "(udev-worker)"

meter = load("meter")


def moved(*bios: list[Any], lost: int = 0) -> dict[str, Any]:
    """The executor's answer to a copy during which these were seen."""
    return {"moved": {"bios": list(bios), "lost": lost}}


@pytest.mark.parametrize(
    ("rwbs", "expected"),
    [
        ("R", "read"), ("RA", "read"), ("RSM", "read"), ("W", "write"), ("WFS", "write"),
        ("FWFS", "write"), ("FW", "write"), ("ZA", "write"),
        # A flush without data, a discard, zeroes, a zone's reset, and what this kernel's trace
        # events have no letter for, as a copy on a kernel that offloads them.
        ("FN", "other"), ("F", "other"), ("D", "other"), ("WZ", "other"), ("ZR", "other"),
        ("N", "other"), ("C", "other"), ("", "other"),
    ],
)  # fmt: skip
def test_letters_of_a_trace_event_tell_the_operation(rwbs: str, expected: str) -> None:
    assert operation(rwbs) == expected


def test_what_udev_reads_elsewhere_is_not_the_copys() -> None:
    """Seen with Extended Copy: a disk with news is probed while it is copied on."""
    elsewhere = moved(["RA", 0, 128, UDEV], ["RA", 130944, 128, UDEV], ["RA", 4096, 128, UDEV])
    seen = moved_through(elsewhere, "the SCSI disk", COPY)
    assert seen.proof
    assert not seen.against


def test_a_caller_that_was_served_by_reads_and_writes_fell_back() -> None:
    seen = moved_through(moved(["RS", 2112, 8, "dd"], ["WS", 2400, 8, "dd"]), "the disk", COPY)
    assert seen.fallback == seen.against
    assert seen.against == "through the disk: read 2112+8 by dd; write 2400+8 by dd"


def test_reads_alone_serve_nobody() -> None:
    seen = moved_through(moved(["RS", 2112, 8, "dd"]), "the disk", COPY)
    assert seen.against
    assert not seen.fallback


def test_a_write_of_a_source_serves_nobody() -> None:
    seen = moved_through(moved(["WS", 2112, 8, "dd"]), "the disk", COPY)
    assert seen.against
    assert not seen.fallback


def test_an_offloaded_copy_is_neither_read_nor_written() -> None:
    """Its source counts as sectors that were read in /sys/block/*/stat, and it has no letter."""
    offloaded = moved(["N", 2112, 8, "lab"], ["NS", 2400, 8, "lab"], ["F", 0, 0, "lab"])
    assert moved_through(offloaded, "the disk", COPY).proof


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (moved(lost=3), "3 requests to the disk went by unseen"),
        ({"moved": {"unknown": "no tracefs"}}, "who moved the data cannot be told: no tracefs"),
    ],
)
def test_what_was_not_seen_proves_nothing(answer: dict[str, Any], said: str) -> None:
    seen = moved_through(answer, "the disk", COPY)
    assert (seen.proof, seen.fallback) == ("", "")
    assert said in seen.against


@pytest.mark.parametrize("answer", [None, {"errno": 5}])
def test_nobody_to_tell_is_neither_for_nor_against(answer: dict[str, Any] | None) -> None:
    seen = moved_through(answer, "the disk", COPY)
    assert (seen.proof, seen.against) == ("", "")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (moved() | {"errno": 5}, "was read or written through the disk, but the copy failed"),
        (moved() | {"status": 0x281}, "was read or written through the disk, but the copy failed"),
        ({"killed": 9, "seconds": 0.1}, "nobody told what moved through the disk"),
        (None, "the guest ended before it could tell"),
    ],
)
def test_where_no_success_was_told_nothing_is_proven_by_what_was_not_there(
    answer: dict[str, Any] | None, said: str
) -> None:
    """A copy whose first read fails has written nothing, whoever made it."""
    seen = moved_through(answer, "the disk", COPY)
    assert (seen.proof, seen.against) == ("", "")
    assert said in seen.untold


def test_a_copy_of_reads_and_writes_that_failed_is_seen_as_that() -> None:
    seen = moved_through(moved(["R", 2112, 8, "dd"]) | {"errno": 5}, "the disk", COPY)
    assert seen.against == "through the disk: read 2112+8 by dd"


@given(st.integers(2090, 2420), st.integers(0, 140))
def test_a_request_is_the_copys_if_they_share_a_sector(start: int, sectors: int) -> None:
    bio = Bio(BioKind.READ, Extent(start, sectors), "x")
    mine = {at for extent in (*COPY.sources, COPY.target) for at in extent}
    assert bool(touched([bio], COPY)) == bool(mine & set(range(start, start + sectors)))


TRACE = """\
# tracer: nop
#
# entries-in-buffer/entries-written: 3/{written}   #P:2
#
              dd-315     [001] .....    25.003079: block_bio_queue: 8,0 RS 800 + 8 [dd]
   (udev-worker)-316     [000] .....    25.302257: block_bio_queue: 8,0 RA 0 + 128 [(udev-worker)]
   kworker/u4:1-7       [000] .....    25.304641: block_bio_queue: 259,0 WFS 96 + 8 [kworker/u4:1]
"""
"""As Linux 6.12.118 wrote it."""


def test_a_trace_is_read_for_one_disk() -> None:
    bios, lost = meter.parse(TRACE.format(written=3), "8:0")
    assert bios == [("RS", 800, 8, "dd"), ("RA", 0, 128, "(udev-worker)")]
    assert lost == 0
    assert meter.parse(TRACE.format(written=10), "259:0") == ([("WFS", 96, 8, "kworker/u4:1")], 7)
