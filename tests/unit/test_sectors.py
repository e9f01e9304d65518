# SPDX-License-Identifier: GPL-2.0-or-later
"""The sector map: from what the oracle saw to a document, and back to cells that can be drawn."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.copy.contract import RULES
from lab.copy.model import SECTOR
from lab.copy.oracle import Findings, Tagging, classify
from lab.copy.tags import unreadable
from lab.results.rules import WORDS, offending
from lab.results.sectors.grid import COLUMNS, NEIGHBOUR, ROWS, SOURCE, grid
from lab.results.sectors.model import STATES, SectorMap, SectorRun, SeenSectors, sector_map
from lab.results.sectors.text import (
    BESIDE,
    MARKS,
    WIDTH,
    after_copy,
    after_recovery,
    case_map,
    extents,
)
from lab.results.site.draw import sectors as draw
from tests.unit.builders import COPY, WINDOW, findings, sector_of

STRANGE = b"\x5a" * SECTOR


def done(sectors: int) -> dict[int, bytes]:
    """So many sectors of the destination, from its first on, as the copy makes them."""
    return {at: sector_of(origin) for at, origin in list(COPY.origins().items())[:sectors]}


def document(seen: Findings, again: Findings | None = None, **more: Any) -> dict[str, Any]:
    """A case's document, as the suite writes it."""
    copy = seen.copy
    return {
        "number": 7, "name": "write:2 eio", "point": "write:2", "action": "eio",
        "copy": {
            "sources": [[source.start, source.sectors] for source in copy.sources],
            "destination": copy.destination, "unit": copy.unit,
        },
        "window": [WINDOW.start, WINDOW.sectors],
        "outcome": {"destination": seen.summary(), "corrupted": [], "lost": [], "completion": None},
        "sectors": {
            "struck": [52, 4], "copied": seen.document(), "recovered": again and again.document(),
        },
        **more,
    }  # fmt: skip


def read(case: dict[str, Any]) -> SectorMap:
    found = sector_map(case)
    assert found
    return found


def test_a_document_has_every_sector() -> None:
    halves = sector_of(28)[: SECTOR // 2] + sector_of(52)[SECTOR // 2 :]
    at = {48: sector_of(20), 52: halves, 53: STRANGE, 54: unreadable("EIO"), 55: unreadable("EIO")}
    seen = findings({**at, 21: STRANGE, 22: unreadable("EIO"), 70: STRANGE, 71: STRANGE})
    assert seen.document() == {
        "destination": "1 new, 3 old, 1 torn, 1 foreign, 2 unreadable, 4 old",
        "changed": "21+1 foreign, 22+1 unreadable, 70+2 foreign",
        "notes": {str(sector): note for sector, note in sorted(seen.notes.items())},
    }
    found = read(document(seen))
    assert found.copied.destination[:6] == ("new", "old", "old", "old", "torn", "foreign")
    assert found.copied.changed == {
        21: "foreign", 22: "unreadable", 70: "foreign", 71: "foreign",
    }  # fmt: skip
    assert found.copied.notes[54] == "cannot be read: EIO"
    assert found.copied.summary() == (
        "1 new, 7 old, 1 torn, 1 foreign, 2 unreadable; 4 changed outside"
    )


@given(st.dictionaries(st.integers(WINDOW.start, WINDOW.end - 1), st.sampled_from("nsux")))
def test_what_is_read_back_is_what_was_seen(changes: dict[int, str]) -> None:
    origins = COPY.origins()
    bytes_of = {"s": STRANGE, "u": unreadable("EIO"), "x": bytes(SECTOR)}
    at = {
        sector: sector_of(origins.get(sector, sector)) if kind == "n" else bytes_of[kind]
        for sector, kind in changes.items()
    }
    seen = findings(at)
    found = read(document(seen)).copied
    outside = (*seen.changed_source, *seen.changed_neighbour)
    assert sorted(found.changed) == sorted(outside)
    for sector, state in zip(COPY.target, seen.destination, strict=True):
        drawn = found.destination[sector - COPY.destination]
        assert drawn == ("unreadable" if changes.get(sector) == "u" else state)


def test_a_case_of_an_older_lab_has_its_destination() -> None:
    case = document(findings(done(8)))
    del case["sectors"]
    found = read(case)
    assert found.copied.destination == ("new",) * 8 + ("old",) * 4
    assert (found.recovered, found.struck) == (None, None)


@pytest.mark.parametrize(
    "case",
    [{}, {"copy": {}}, {"name": "generic/001", "status": "pass"}, {"copy": {"sources": "no"}}],
)
def test_a_case_without_a_copy_has_no_map(case: dict[str, Any]) -> None:
    assert sector_map(case) is None
    assert case_map(case) == []


def test_a_document_whose_states_do_not_fill_the_destination_has_no_map() -> None:
    case = document(findings({}))
    case["sectors"]["copied"]["destination"] = "3 new"
    assert sector_map(case) is None


def test_cells_have_the_right_places() -> None:
    found = read(document(findings({**done(4), 17: STRANGE})))
    cells = grid(found, found.copied)
    (first, second) = cells.rows
    assert (first.start, second.start, cells.scale) == (0, 64, 1)
    assert first.cells[:16] == ("",) * 16 and second.cells[16:] == ("",) * 48
    assert first.cells[17] == "foreign" and first.cells[16] == NEIGHBOUR
    assert first.cells[20:24] == (SOURCE,) * 4 and first.cells[24:28] == (NEIGHBOUR,) * 4
    assert first.cells[48:60] == ("new",) * 4 + ("old",) * 8
    assert list(cells.spans(SectorRun(52, 4))) == [(0, 52, 56)]
    assert list(cells.spans(SectorRun(60, 8))) == [(0, 60, 64), (1, 0, 4)]


def large(states: tuple[str, ...], changed: dict[int, str]) -> SectorMap:
    length = len(states)
    return SectorMap(
        (SectorRun(0, length),), 3 * length, SectorRun(0, 5 * length), 1,
        SeenSectors(states, changed), None, SectorRun(3 * length, length),
    )  # fmt: skip


def test_of_many_sectors_the_worst_is_seen() -> None:
    length = COLUMNS * ROWS * 2
    states = ["new"] * length
    states[length // 2] = "torn"
    found = large(tuple(states), {2 * length + 5: "foreign"})
    cells = grid(found, found.copied)
    assert cells.scale == 16 and len(cells.rows) <= ROWS
    every = [cell for row in cells.rows for cell in row.cells]
    assert every.count("torn") == every.count("foreign") == 1
    assert any(row.skipped for row in cells.rows)
    drawn = draw.copied(found)
    assert len(drawn) < 20_000


def test_the_text_fits_a_terminal() -> None:
    for found in (
        read(document(findings({**done(6), 54: STRANGE, 70: STRANGE}))),
        large(("new",) * 4096 + ("old",) * 90_000, {100_000 + at: "foreign" for at in range(500)}),
    ):  # fmt: skip
        lines = after_copy(found, "write:2 power-cut-prefix")
        assert max(map(len, lines)) <= WIDTH
        assert len(lines) <= ROWS * 2 + 12


def test_of_many_ranges_those_have_a_line_that_tell_something() -> None:
    sources = tuple(SectorRun(at, 8) for at in range(0, 800, 8))
    states = ("new",) * 796 + ("old",) * 4
    found = SectorMap(
        sources, 1000, SectorRun(0, 2000), 1, SeenSectors(states), None, SectorRun(1400, 8)
    )
    lines = after_copy(found, "write:51 torn")
    ranges = [line.split()[0] for line in lines if line.startswith("R")]
    assert ranges == [*(f"R{number}" for number in range(1, 15)), "R51", "R100"]
    assert "and 84 ranges more" in lines


def test_the_text_says_what_the_picture_shows() -> None:
    seen = findings({**done(5), 53: STRANGE, 70: STRANGE})
    lines = after_copy(read(document(seen)), "write:2 eio")
    row = next(line for line in lines if line.split()[:1] == ["0"])
    assert row[BESIDE + 48 : BESIDE + 60] == "nnnnnXoooooo"
    assert row.endswith("◄")
    assert "R2           28+4 → 52+4         1 new, 1 foreign, 2 old  ◄ write:2 eio" in lines
    assert lines[-2].startswith("sector 53: no valid tag")
    legend = next(line for line in lines if line.strip().startswith(f"{MARKS['new']} new"))
    assert "X foreign" in legend and "torn" not in legend


def test_after_the_recovery_one_line_is_enough_where_all_is_new() -> None:
    assert after_recovery(read(document(findings({})))) == []
    whole = findings(done(12))
    assert after_recovery(read(document(findings({}), whole))) == [
        "after the same copy again: 12 new"
    ]
    part = after_recovery(read(document(findings({}), findings(done(11)))))
    assert part[0] == "after the same copy again: 11 new, 1 old" and len(part) > 2


def test_each_rule_is_told_in_words() -> None:
    assert WORDS.keys() == RULES.keys()


def test_the_sectors_that_break_a_rule() -> None:
    at = {**done(5), 56: STRANGE, 21: STRANGE, 70: STRANGE}
    found = read(document(findings(at), findings(done(11))))
    assert offending("COMPLETE", found, 0) == [*range(53, 60)]
    assert offending("PREFIX", found, 2) == [53, 54, 55]
    assert offending("NO-FOREIGN", found, 0) == [56]
    assert offending("SOURCE", found, 0) == [21]
    assert offending("NEIGHBOUR", found, 0) == [70]
    assert offending("RECOVERS", found, 0) == [59]
    assert offending("NO-HANG", found, 0) == []
    assert extents([53, 54, 56, 53 + 8]) == [SectorRun(53, 2), SectorRun(56, 1), SectorRun(61, 1)]


def test_a_picture_shows_each_state_and_says_them() -> None:
    halves = sector_of(28)[: SECTOR // 2] + sector_of(52)[SECTOR // 2 :]
    at = {**done(4), 52: halves, 53: STRANGE, 54: unreadable("EIO")}
    found = read(document(findings(at), findings(done(12))))
    drawn = draw.copied(found)
    for state in (*STATES, "source", "neighbour"):
        assert f"fill: var(--{state})" in drawn, state
    assert "4 new" in drawn and "1 torn" in drawn and "1 unreadable" in drawn
    assert ">◄</text>" in drawn and ">R1 D1…<" in drawn
    again = draw.recovered(found)
    assert "fill: var(--new)" in again and "var(--torn)" not in again and "◄" not in again
    assert draw.recovered(read(document(findings(at)))) == ""


def test_what_the_lab_damaged_is_outlined() -> None:
    case = document(findings({**done(12), 50: STRANGE}))
    whole = draw.copied(read(case))
    case["outcome"]["corrupted"] = [50]
    marked = draw.copied(read(case))
    assert ">◊</text>" in marked and ">◊</text>" not in whole
    assert "stroke: var(--odd)" in marked and "stroke: var(--odd)" not in whole


def test_what_is_alike_is_drawn_once() -> None:
    one, two = (read(document(findings(done(7)), number=number)) for number in (1, 2))
    assert draw.copied(one) is draw.copied(two)


def test_another_medium_is_another_map() -> None:
    tagging = Tagging(WINDOW, generation=4, run=7)
    seen = classify(COPY, tagging, b"".join(map(sector_of, WINDOW)))
    assert set(read(document(seen)).copied.destination) == {"foreign"}
