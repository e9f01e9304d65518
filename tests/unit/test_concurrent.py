# SPDX-License-Identifier: GPL-2.0-or-later
"""What copies and writes that run at once may leave: as every order says, and nothing else."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from lab.copy.concurrent import Crowd, Origin, Rivals, outcomes
from lab.copy.model import Copy, Extent
from lab.copy.oracle import SectorState, Tagging

RUN = 7
WINDOW = Extent(0, 5)

Step = tuple[str, int, int, int]
"""What is done (`read` or `write`), by which part of which operation, from or to which sector."""

Medium = dict[int, Origin]


@st.composite
def crowds(draw: st.DrawFn) -> tuple[list[Copy], list[Extent]]:
    """Up to three operations of four blocks in all, on five sectors; no copy onto its source."""
    copies, writes, left = [], [], 4
    for _ in range(draw(st.integers(1, 3))):
        length = draw(st.integers(1, min(2, left)))
        to = draw(st.integers(0, WINDOW.end - length))
        free = [at for at in WINDOW if not to <= at < to + length]
        if draw(st.booleans()) or not free:
            writes.append(Extent(to, length))
        else:
            sources = draw(st.lists(st.sampled_from(free), min_size=length, max_size=length))
            copies.append(Copy(tuple(Extent(at, 1) for at in sources), to))
        left -= length
        if not left:
            break
    return copies, writes


def steps(copies: list[Copy], writes: list[Extent]) -> list[list[Step]]:
    """The parts of all operations, each of them the steps that come one after the other."""
    found: list[list[Step]] = []
    for copy in copies:
        for target, origin in copy.origins().items():
            part = len(found)
            found.append([("read", part, origin, 0), ("write", part, target, 0)])
    for number, extent in enumerate(writes, 1):
        found += [[("write", len(found) + at, to, number)] for at, to in enumerate(extent)]
    return found


def every_order(parts: list[list[Step]], medium: Medium) -> Iterator[Medium]:
    """The medium at the end of each order in which the steps can come."""
    ends: set[tuple[Origin, ...]] = set()
    seen: set[object] = set()

    def go(at: tuple[int, ...], held: tuple[Origin | None, ...], now: tuple[Origin, ...]) -> None:
        if (at, held, now) in seen:
            return
        seen.add((at, held, now))
        if all(done == len(part) for done, part in zip(at, parts, strict=True)):
            ends.add(now)
        for which, part in enumerate(parts):
            if at[which] == len(part):
                continue
            what, _, address, number = part[at[which]]
            further = (*at[:which], at[which] + 1, *at[which + 1 :])
            if what == "read":
                go(further, (*held[:which], now[address], *held[which + 1 :]), now)
                continue
            brought = Origin(address, number) if number else held[which]
            assert brought
            go(further, held, (*now[:address], brought, *now[address + 1 :]))

    go((0,) * len(parts), (None,) * len(parts), tuple(medium.values()))
    for end in ends:
        yield dict(enumerate(end))


def allowed(
    copies: list[Copy], writes: list[Extent]
) -> tuple[dict[int, set[Origin]], list[Medium]]:
    """What brute force says each sector may hold at the end, and all ends there are."""
    ends = list(every_order(steps(copies, writes), {at: Origin(at) for at in WINDOW}))
    return {at: {end[at] for end in ends} for at in WINDOW}, ends


@given(crowds())
def test_a_sector_may_hold_what_some_order_leaves_there_and_nothing_else(
    crowd: tuple[list[Copy], list[Extent]],
) -> None:
    copies, writes = crowd
    brute, _ = allowed(copies, writes)
    found = outcomes(copies, writes)
    for address in WINDOW:
        assert found.get(address, frozenset({Origin(address)})) == brute[address]


def scene(copies: list[Copy], writes: list[Extent], atom: int = 1) -> Crowd:
    """The same with tags."""
    before = Tagging(WINDOW, 1, RUN)
    written = tuple(Tagging(extent, 2 + at, RUN) for at, extent in enumerate(writes))
    return Crowd(copies[0], Rivals(tuple(copies[1:]), tuple(writes)), before, written, atom)


def bytes_of(crowd: Crowd, medium: Medium) -> bytes:
    """The window's bytes."""
    taggings = (crowd.before, *crowd.written)
    return b"".join(
        taggings[medium[at].writer].sector(medium[at].address) for at in crowd.before.window
    )


@given(crowds(), st.data())
def test_every_order_is_new_and_what_no_order_leaves_is_not(
    drawn: tuple[list[Copy], list[Extent]], data: st.DataObject
) -> None:
    copies, writes = drawn
    if not copies:
        copies = [Copy((Extent(0, 1),), 1)]
    brute, ends = allowed(copies, writes)
    crowd = scene(copies, writes)
    medium = data.draw(st.sampled_from(ends))
    for found in crowd.findings(bytes_of(crowd, medium)):
        assert set(found.destination) == {SectorState.NEW}
        assert (found.changed_source, found.changed_neighbour, found.notes) == ((), (), {})
    wrong = data.draw(st.sampled_from(list(WINDOW)))
    others = [Origin(at) for at in WINDOW] + [
        Origin(at, number) for number, extent in enumerate(writes, 1) for at in extent
    ]
    other = data.draw(st.sampled_from(others))
    if other in brute[wrong]:
        return
    first, *rest = crowd.findings(bytes_of(crowd, {**medium, wrong: other}))
    hit = [each for each in (first, *rest) if wrong in each.copy.target]
    for each in hit:
        state = each.destination[wrong - each.copy.destination]
        assert state is (SectorState.OLD if other == Origin(wrong) else SectorState.FOREIGN)
    assert hit or wrong in (*first.changed_source, *first.changed_neighbour)


def test_an_atom_that_mixes_two_operations_is_torn() -> None:
    copies = [Copy((Extent(4, 2),), 0, 2), Copy((Extent(6, 2),), 0, 2)]
    before = Tagging(Extent(0, 8), 1, RUN)
    crowd = Crowd(copies[0], Rivals((copies[1],)), before, (), 2)
    mixed = [4, 7, 2, 3, 4, 5, 6, 7]
    first, second = crowd.findings(b"".join(map(before.sector, mixed)))
    assert first.destination == second.destination == (SectorState.TORN,) * 2
    for whole in ([4, 5], [6, 7]):
        first, _ = crowd.findings(b"".join(map(before.sector, whole + mixed[2:])))
        assert first.destination == (SectorState.NEW,) * 2


def test_half_a_sector_is_torn_and_bytes_of_nobody_are_foreign() -> None:
    crowd = scene([Copy((Extent(3, 1),), 0)], [Extent(0, 1)])
    rest = b"".join(map(crowd.before.sector, range(1, 5)))
    written = crowd.written[0].sector(0)
    half = crowd.before.sector(3)[:256] + written[256:]
    assert crowd.findings(half + rest)[0].destination == (SectorState.TORN,)
    found, _ = crowd.findings(bytes(512) + rest)
    assert found.destination == (SectorState.FOREIGN,)
    assert found.notes == {0: "zeroes"}
    stale = Tagging(WINDOW, 9, RUN).sector(0)
    assert "stale data of sector 0" in crowd.findings(stale + rest)[0].notes[0]
