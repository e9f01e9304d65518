# SPDX-License-Identifier: GPL-2.0-or-later
"""The oracle: finds exactly what was planted on a medium, sector by sector."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.copy.ground import MediumGround
from lab.copy.model import SECTOR, Copy, Extent
from lab.copy.oracle import (
    SectorState,
    Tagging,
    classify,
    flip_bit,
    sector_state,
)
from lab.copy.tags import TAG_BYTES, Tag
from tests.unit.builders import COPY, TAGGING, WINDOW, contents, copied, findings, sector_of

HALF = SECTOR // 2


@dataclass(frozen=True)
class Scene:
    """A copy in a tagged window, with room between all of its parts or none."""

    copy: Copy
    tagging: Tagging

    @property
    def outside(self) -> list[int]:
        return [at for at in self.tagging.window if at not in self.copy.target]


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Ranges of random lengths in random places, on a medium of 512- or 4096-byte blocks."""
    unit = draw(st.sampled_from([1, 8]))
    lengths = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    order = draw(st.permutations([None, *range(len(lengths))]))
    start = at = draw(st.integers(0, 2)) * unit
    sources, destination = dict[int, Extent](), 0
    for part in order:
        at += draw(st.integers(0, 2)) * unit
        if part is None:
            destination = at
            at += sum(lengths) * unit
        else:
            sources[part] = Extent(at, lengths[part] * unit)
            at += lengths[part] * unit
    window = Extent(start, at + draw(st.integers(0, 2)) * unit - start)
    ordered = tuple(sources[index] for index in range(len(lengths)))
    return Scene(Copy(ordered, destination, unit), Tagging(window, generation=2, run=99))


def foreign(scene: Scene, address: int, origin: int) -> list[bytes]:
    """Sectors that never belong at `address`: each a way to lose data."""
    other = next(at for at in range(10**6, 10**6 + 3) if at not in (address, origin))
    tagging = scene.tagging
    flipped = bytearray(tagging.sector(origin))
    flipped[SECTOR - 1] = next(
        byte
        for byte in range(256)
        if byte not in (tagging.sector(origin)[-1], tagging.sector(address)[-1])
    )
    return [
        tagging.sector(other),
        Tag(address, tagging.generation - 1, tagging.run).sector(),
        Tag(origin, tagging.generation - 1, tagging.run).sector(),
        Tag(origin, tagging.generation, tagging.run + 1).sector(),
        bytes(SECTOR),
        bytes(flipped),
    ]


@st.composite
def damaged(draw: st.DrawFn, scene: Scene, address: int, origin: int) -> tuple[SectorState, bytes]:
    """A torn or foreign sector."""
    if draw(st.booleans()):
        return SectorState.FOREIGN, draw(st.sampled_from(foreign(scene, address, origin)))
    parts = [scene.tagging.sector(address), scene.tagging.sector(origin)]
    first, second = draw(st.permutations(parts))
    cut = draw(st.integers(1, 7)) * TAG_BYTES
    return SectorState.TORN, first[:cut] + second[cut:]


@given(st.data())
def test_every_destination_sector_is_found_in_the_state_it_was_put_in(data: st.DataObject) -> None:
    scene = data.draw(scenes())
    copy, tagging = scene.copy, scene.tagging
    origins = copy.origins()
    planted: dict[int, tuple[SectorState, bytes]] = {}
    for first in range(copy.target.start, copy.target.end, copy.unit):
        block = Extent(first, copy.unit)
        # Blocks are old or new as a whole; damage is done to a single sector of them.
        for at in block:
            planted[at] = (SectorState.OLD, tagging.sector(at))
        if data.draw(st.booleans()):
            for at in block:
                planted[at] = (SectorState.NEW, tagging.sector(origins[at]))
        for at in data.draw(st.sets(st.sampled_from(list(block)), max_size=1)):
            planted[at] = data.draw(damaged(scene, at, origins[at]))
    medium = contents({at: sector for at, (_, sector) in planted.items()}, tagging)
    found = classify(copy, tagging, medium)
    assert list(found.destination) == [state for state, _ in planted.values()]
    bad = {
        at for at, (state, _) in planted.items() if state in (SectorState.TORN, SectorState.FOREIGN)
    }
    assert set(found.notes) == bad
    assert (found.changed_source, found.changed_neighbour) == ((), ())


@given(st.data())
def test_exactly_the_changed_sectors_outside_the_destination_are_found(data: st.DataObject) -> None:
    scene = data.draw(scenes())
    copy, tagging = scene.copy, scene.tagging
    changed = data.draw(st.sets(st.sampled_from(scene.outside)))
    sources = {at for source in copy.sources for at in source}
    # As if the neighbour's data had been written there: only the address tells.
    found = classify(
        copy, tagging, contents({at: tagging.sector(at + 1) for at in changed}, tagging)
    )
    assert set(found.changed_source) == changed & sources
    assert set(found.changed_neighbour) == changed - sources
    assert set(found.notes) == changed
    assert found.checked_neighbours == len(scene.outside) - len(sources)
    assert set(found.destination) == {SectorState.OLD}


@given(scenes())
def test_a_perfect_copy_is_all_new_and_changes_nothing_else(scene: Scene) -> None:
    copy, tagging = scene.copy, scene.tagging
    done = {to: tagging.sector(origin) for to, origin in copy.origins().items()}
    found = classify(copy, tagging, contents(done, tagging))
    assert found.count(SectorState.NEW) == len(found.destination) == copy.target.sectors
    assert (found.changed_source, found.changed_neighbour, found.notes) == ((), (), {})


@given(scenes())
def test_the_pieces_tile_the_destination_in_the_order_of_the_sources(scene: Scene) -> None:
    pieces = scene.copy.pieces()
    assert [source for source, _ in pieces] == list(scene.copy.sources)
    assert [at for _, part in pieces for at in part] == list(scene.copy.target)
    assert list(scene.copy.origins().values()) == [at for source, _ in pieces for at in source]


WIDE = Copy((Extent(24, 8), Extent(40, 8)), destination=56, unit=8)


def test_a_block_that_is_half_old_and_half_new_is_torn_as_a_whole() -> None:
    half = {at: sector_of(at - 32) for at in range(56, 60)}
    whole = {at: sector_of(at - 24) for at in range(64, 72)}
    found = findings(half | whole, WIDE)
    assert found.piece_states() == [(SectorState.TORN,) * 8, (SectorState.NEW,) * 8]
    assert found.summary() == "8 torn, 8 new"


def test_a_foreign_sector_stays_foreign_in_a_torn_block() -> None:
    found = findings({56: sector_of(24), 57: bytes(SECTOR)}, WIDE)
    assert found.piece_states()[0] == (
        SectorState.TORN,
        SectorState.FOREIGN,
        *(SectorState.TORN,) * 6,
    )


@pytest.mark.parametrize(
    ("sector", "note"),
    [
        (Tag(48, 2, 7).sector(), "stale data of sector 48 (generation 2)"),
        (Tag(20, 3, 8).sector(), "data of sector 20 from another run"),
        (sector_of(21), "data of sector 21"),
        (bytes(SECTOR), "zeroes"),
    ],
)
def test_data_that_never_belonged_there_is_foreign_and_named(sector: bytes, note: str) -> None:
    found = findings({**copied(), 48: sector})
    assert found.destination[0] is SectorState.FOREIGN
    assert found.notes == {48: note}


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        (b"NNNN", SectorState.NEW),
        (b"oooo", SectorState.OLD),
        (b"NNoo", SectorState.TORN),
        (b"ooNN", SectorState.TORN),
        (b"oNoo", SectorState.TORN),
        (b"NxNN", SectorState.FOREIGN),
        (b"oxNN", SectorState.FOREIGN),
    ],
)
def test_a_sector_is_torn_only_if_each_byte_is_old_or_new(seen: bytes, state: SectorState) -> None:
    assert sector_state(seen, b"oooo", b"NNNN") is state


def test_copied_data_that_equals_the_old_counts_as_new() -> None:
    assert sector_state(b"same", b"same", b"same") is SectorState.NEW


def test_the_summary_runs_over_the_states_in_order() -> None:
    found = findings({**copied(2), 50: bytes(SECTOR)})
    assert found.summary() == "2 new, 1 foreign, 5 new, 4 old"
    assert found.piece_states()[2] == (SectorState.OLD,) * 4


def test_tagging_writes_the_window_and_nothing_else(tmp_path: Path) -> None:
    medium = tmp_path / "medium"
    before, behind = b"a" * WINDOW.start * SECTOR, b"b" * SECTOR
    medium.write_bytes(before + bytes(WINDOW.sectors * SECTOR) + behind)
    MediumGround(medium).write(WINDOW.start, TAGGING.data())
    assert medium.read_bytes() == before + contents({}) + behind
    assert MediumGround(medium).read(WINDOW) == contents({})


def test_what_lies_behind_the_end_of_a_short_medium_reads_as_zeroes(tmp_path: Path) -> None:
    medium = tmp_path / "medium"
    medium.touch()
    MediumGround(medium).write(WINDOW.start, TAGGING.data())
    cut = (WINDOW.end - 2) * SECTOR + HALF
    with medium.open("r+b") as file:
        file.truncate(cut)
    data = MediumGround(medium).read(WINDOW)
    assert data == contents({})[: -2 * SECTOR + HALF] + bytes(2 * SECTOR - HALF)
    assert classify(COPY, TAGGING, data).changed_neighbour == (WINDOW.end - 2, WINDOW.end - 1)


@pytest.mark.parametrize("was", ["old", "new"])
def test_a_flipped_bit_is_foreign_whatever_the_sector_held(tmp_path: Path, was: str) -> None:
    medium = tmp_path / "medium"
    changed = copied() if was == "new" else {}
    medium.write_bytes(bytes(WINDOW.start * SECTOR) + contents(changed))
    before = medium.read_bytes()
    flip_bit(MediumGround(medium), 50)
    after = medium.read_bytes()
    assert (int.from_bytes(before) ^ int.from_bytes(after)).bit_count() == 1
    found = classify(COPY, TAGGING, MediumGround(medium).read(WINDOW))
    assert [at for at in COPY.target if found.destination[at - 48] is SectorState.FOREIGN] == [50]


@given(scenes())
def test_what_is_guessed_of_a_copy_is_what_a_perfect_one_leaves(scene: Scene) -> None:
    copy, tagging = scene.copy, scene.tagging
    guess = tagging.copied(copy)
    done = {to: tagging.sector(origin) for to, origin in copy.origins().items()}
    assert guess.data == contents(done, tagging)
    moved = bytearray(tagging.data())
    for source, target, sectors in guess.moves:
        first = tagging.window.start
        start, to = (source - first) * SECTOR, (target - first) * SECTOR
        size = sectors * SECTOR
        moved[to : to + size] = tagging.data()[start : start + size]
    assert moved == guess.data
