# SPDX-License-Identifier: GPL-2.0-or-later
"""Tags: a sector proves whose data it holds, and nothing else passes for it."""

from hashlib import blake2s

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.copy.model import SECTOR
from lab.copy.tags import TAG_BYTES, Tag, describe, read

NUMBER = st.integers(0, 2**64 - 1)
TAGS = st.builds(Tag, NUMBER, NUMBER, NUMBER)
HERE = Tag(address=2112, generation=5, run=7)


@given(TAGS)
def test_every_cell_of_a_tagged_sector_reads_back_as_its_tag(tag: Tag) -> None:
    sector = tag.sector()
    assert len(sector) == SECTOR
    cells = [sector[at : at + TAG_BYTES] for at in range(0, SECTOR, TAG_BYTES)]
    assert [read(cell) for cell in cells] == [tag] * 8


@given(TAGS, TAGS)
def test_different_tags_share_no_cell(one: Tag, other: Tag) -> None:
    same = one.sector()[:TAG_BYTES] == other.sector()[:TAG_BYTES]
    assert same == (one == other)


def test_every_single_bit_flip_of_a_cell_is_rejected() -> None:
    cell = HERE.sector()[:TAG_BYTES]
    for bit in range(8 * TAG_BYTES):
        flipped = bytearray(cell)
        flipped[bit // 8] ^= 1 << bit % 8
        assert read(bytes(flipped)) is None, f"bit {bit}"


def test_a_cell_of_another_format_is_rejected_though_its_checksum_is_right() -> None:
    head = b"LABTAG02" + HERE.sector()[8:32]
    assert read(head + blake2s(head).digest()) is None


def test_the_format_on_the_medium_is_pinned() -> None:
    # Media of earlier runs must stay readable, whatever becomes of the code.
    assert HERE.sector()[:32].hex() == (
        "4c41425441473031400800000000000005000000000000000700000000000000"
    )


HALF = SECTOR // 2


@pytest.mark.parametrize(
    ("sector", "words"),
    [
        (HERE.sector(), "data of sector 2112"),
        (Tag(2112, 4, 7).sector(), "stale data of sector 2112 (generation 4)"),
        (Tag(2112, 5, 8).sector(), "data of sector 2112 from another run"),
        (bytes(SECTOR), "zeroes"),
        (b"\xde\xad" * HALF, "no valid tag: de ad de ad de ad de ad …"),
        (
            HERE.sector()[:HALF] + Tag(9, 5, 7).sector()[HALF:],
            "data of sector 2112 and data of sector 9",
        ),
        (
            HERE.sector()[: HALF + 1] + bytes(HALF - 1),
            "bytes without a valid tag and data of sector 2112",
        ),
    ],
)
def test_evidence_says_whose_data_a_sector_holds(sector: bytes, words: str) -> None:
    assert describe(sector, generation=5, run=7) == words
