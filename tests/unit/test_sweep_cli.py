# SPDX-License-Identifier: GPL-2.0-or-later
"""The matrix of a sweep fits its terminal."""

from hypothesis import given
from hypothesis import strategies as st

from lab.cli.show.copy_faults import _GAP, _fitting


@given(st.lists(st.integers(1, 30), min_size=1, max_size=30), st.integers(1, 200))
def test_all_columns_are_shown_once_in_parts_that_fit(widths: list[int], room: int) -> None:
    parts = list(_fitting(widths, room))
    assert [at for part in parts for at in range(part.start, part.stop)] == list(range(len(widths)))
    for part in parts:
        assert part.stop > part.start
        used = sum(width + _GAP for width in widths[part])
        assert used <= room or part.stop - part.start == 1


def test_what_fits_is_one_table() -> None:
    assert list(_fitting([6, 4, 4], 20)) == [slice(0, 3)]
    assert list(_fitting([6, 4, 4], 19)) == [slice(0, 2), slice(2, 3)]
