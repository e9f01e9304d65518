# SPDX-License-Identifier: GPL-2.0-or-later
"""Crash states against a disk that is modelled by brute force: none too many, none forgotten."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.crash.logfile import LogWriter, WriteLog
from lab.crash.marks import DURABLE, Levels, LogMark
from lab.crash.states import EpochShape, StatePlan, losses_within
from lab.crash.walk import DistinctState, LogWalk, build
from lab.crash.writelog import Flag

BLOCKS = 6
SECTOR = 512
EVERYTHING = StatePlan(losses=9, samples=0, limit=10**6)
OLD = 0xEE
PLAIN = Flag(0)


@dataclass(frozen=True)
class Request:
    """What a device was told: `data` has one number for each block, which fills it."""

    flags: Flag
    block: int = 0
    data: tuple[int, ...] = ()


@st.composite
def requests(draw: st.DrawFn) -> list[Request]:
    """Few writes to few blocks, so that they overlap, with flushes and FUA between."""
    found = []
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(["write", "write", "fua", "flush", "preflush", "discard"]))
        if kind == "flush":
            found.append(Request(Flag.FLUSH))
            continue
        block = draw(st.integers(0, BLOCKS - 1))
        count = draw(st.integers(1, min(3, BLOCKS - block)))
        # Few values: the same content comes about in several ways.
        data = tuple(draw(st.lists(st.integers(0, 3), min_size=count, max_size=count)))
        flags = {"fua": Flag.FUA, "preflush": Flag.FLUSH, "discard": Flag.DISCARD}
        zero = kind == "discard"
        found.append(Request(flags.get(kind, PLAIN), block, (0,) * count if zero else data))
    return found


@contextmanager
def walking(
    asked: list[Request], plan: StatePlan, marks: list[LogMark] | None = None
) -> Iterator[tuple[LogWalk, Path]]:
    """A walk over the log of these requests, whose weight is the number of blocks that hold 3."""
    with TemporaryDirectory() as name:
        place = Path(name)
        base, durable, path = place / "base", place / "durable", place / "log"
        base.write_bytes(bytes([OLD]) * SECTOR * BLOCKS)
        with LogWriter(path, SECTOR) as log:
            for each in asked:
                if each.flags & Flag.DISCARD:
                    log.discard(each.block * SECTOR, len(each.data) * SECTOR)
                elif each.data:
                    data = b"".join(bytes([fill]) * SECTOR for fill in each.data)
                    log.write(each.block * SECTOR, data, each.flags)
                else:
                    log.flush()
        with WriteLog(path) as read:
            yield (
                LogWalk(
                    read, base, durable, plan, Levels(marks or [], DURABLE), weigh, whole
                ),
                place / "state",
            )  # fmt: skip


def weigh(level: int, offset: int, data: bytes) -> list[int]:
    """A block that holds 3 is wrong, and 2 once something was promised."""
    return [
        int(data[at] == 3 or (data[at] == 2 and level > 0)) for at in range(0, len(data), SECTOR)
    ]


def whole(level: int, durable: int) -> int:
    """All of what is durable, weighed."""
    return sum(weigh(level, 0, os.pread(durable, BLOCKS * SECTOR, 0)))


def states(walk: LogWalk) -> Iterator[DistinctState]:
    """The states of all epochs; as many are enumerated as was said before."""
    for epoch in walk:
        expected = epoch.expected
        yield from epoch
        assert epoch.coverage.enumerated == expected


def content(walk: LogWalk, found: DistinctState, state: Path) -> tuple[int, ...]:
    """The blocks of a state, as it is built."""
    build(walk.log, found, walk.durable, state)
    data = state.read_bytes()
    blocks = [data[at : at + SECTOR] for at in range(0, len(data), SECTOR)]
    assert all(len(set(block)) == 1 for block in blocks)
    return tuple(block[0] for block in blocks)


def survivors(asked: list[Request], *, tears: bool) -> set[tuple[int, ...]]:
    """Every content that a disk with a cache can have after a power cut, by brute force: at each
    moment it has carried out some requests, and of those since the last flush that have no FUA it
    keeps what it likes; one with FUA may be under way."""
    contents = set()
    for done in range(len(asked) + 1):
        some = asked[:done]
        flushes = [at for at, each in enumerate(some) if each.flags & Flag.FLUSH]
        last = flushes[-1] if flushes else -1
        # The data of a flush come after it.
        free = [at for at in range(max(last, 0), done) if some[at].data
                and not some[at].flags & Flag.FUA and (at >= last)]  # fmt: skip
        choices = [range(len(some[at].data) + 1) if tears else (0, len(some[at].data))
                   for at in free]  # fmt: skip
        for kept in product(*choices):
            units = dict(zip(free, kept, strict=True))
            blocks = [OLD] * BLOCKS
            for at, each in enumerate(some):
                for number, fill in enumerate(each.data[: units.get(at, len(each.data))]):
                    blocks[each.block + number] = fill
            contents.add(tuple(blocks))
            if tears and done < len(asked) and asked[done].flags & Flag.FUA:
                each = asked[done]
                # What has the flush flag as well flushes first.
                for number in range(len(each.data)):
                    torn = list(blocks)
                    torn[each.block : each.block + number] = each.data[:number]
                    contents.add(tuple(torn))
    return contents


@given(requests())
def test_all_choices_of_whole_writes_are_found_and_no_others(asked: list[Request]) -> None:
    plan = StatePlan(losses=9, samples=0, limit=10**6, tears=False)
    with walking(asked, plan) as (walk, state):
        found = [content(walk, each, state) for each in states(walk)]
    assert len(found) == len(set(found))
    assert set(found) == survivors(asked, tears=False)


@given(requests(), st.integers(0, 2), st.integers(0, 40))
def test_no_content_is_enumerated_that_cannot_be(
    asked: list[Request], losses: int, samples: int
) -> None:
    plan = StatePlan(losses=losses, samples=samples)
    with walking(asked, plan) as (walk, state):
        found = {content(walk, each, state) for each in states(walk)}
    assert found <= survivors(asked, tears=True)


@given(requests())
def test_a_single_tear_is_never_forgotten(asked: list[Request]) -> None:
    with walking(asked, EVERYTHING) as (walk, state):
        found = {content(walk, each, state) for each in states(walk)}
    for done in range(len(asked) + 1):
        for at in range(done):
            each = asked[at]
            if any(later.flags & Flag.FLUSH for later in asked[at + 1 : done]):
                continue
            if each.flags & Flag.FUA and at < done - 1:
                continue
            if done not in (at + 1, len(asked)) and not asked[done].flags & Flag.FLUSH:
                continue
            for units in range(1, len(each.data)):
                blocks = [OLD] * BLOCKS
                for number, other in enumerate(asked[:done]):
                    data = other.data[:units] if number == at else other.data
                    blocks[other.block : other.block + len(data)] = data
                assert tuple(blocks) in found


@given(requests(), st.lists(st.integers(0, 7), max_size=2))
def test_contents_are_told_apart_and_weighed_as_if_they_were_built(
    asked: list[Request], at: list[int]
) -> None:
    marks = [LogMark(DURABLE, number, min(cut, len(asked)), 0.0) for number, cut in enumerate(at)]
    with walking(asked, StatePlan(samples=60), marks) as (walk, state):
        contents: dict[tuple[int, ...], int] = {}
        judged = []
        for each in states(walk):
            blocks = content(walk, each, state)
            assert each.weight == sum(
                fill == 3 or (fill == 2 and each.level > 0) for fill in blocks
            )
            assert contents.setdefault(blocks, each.hash) == each.hash
            judged.append((blocks, each.level))
    assert len(judged) == len(set(judged))
    assert len(set(contents.values())) == len(contents)


def test_one_content_is_judged_again_once_more_was_promised() -> None:
    asked = [Request(PLAIN, 0, (2,)), Request(PLAIN, 1, (1,)), Request(PLAIN, 1, (1,))]
    with walking(asked, StatePlan(losses=0, samples=0), [LogMark(DURABLE, 0, 3, 0.0)]) as (walk, _):
        found = [(each.state.cut, each.level, each.weight) for each in states(walk)]
    assert found == [(0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 1, 1)]


@given(st.integers(1, 6), st.integers(0, 3))
def test_of_disjoint_writes_the_choices_are_counted(writes: int, losses: int) -> None:
    asked = [Request(PLAIN, number, (1,)) for number in range(writes)]
    plan = StatePlan(losses=losses, samples=0, tears=False)
    with walking(asked, plan) as (walk, _):
        for epoch in walk:
            list(epoch)
    kept = {
        frozenset(range(written)) - set(lost)
        for written in range(writes + 1)
        for count in range(losses + 1)
        for lost in combinations(range(written), count)
    }
    assert epoch.coverage.whole == epoch.coverage.distinct == len(kept)
    assert epoch.coverage.share == len(kept) / 2**writes
    assert epoch.coverage.enumerated >= len(kept)


def test_where_there_are_too_many_choices_fewer_losses_are_enumerated_and_it_is_told() -> None:
    asked = [Request(PLAIN, number % BLOCKS, (1,)) for number in range(30)]
    with walking(asked, StatePlan(losses=3, samples=50, limit=600, tears=False)) as (walk, _):
        for epoch in walk:
            list(epoch)
    assert epoch.coverage.losses == 1
    assert epoch.coverage.enumerated == sum(1 + number for number in range(31)) + 50


def test_the_ranges_of_a_copy_are_lost_kept_and_torn() -> None:
    asked = [Request(PLAIN, 0, (1, 1)), Request(PLAIN, 2, (2, 2))]
    plan = StatePlan(losses=0, samples=0)
    with walking(asked, plan) as (walk, state):
        walk.groups = lambda epoch: [[0, 1]]
        found = {content(walk, each, state)[:4] for each in states(walk)}
    first, second = ((OLD, OLD), (1, OLD), (1, 1)), ((OLD, OLD), (2, OLD), (2, 2))
    assert found == {(*one, *other) for one in first for other in second}


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_drawn_depends_on_the_seed_alone(seed: int) -> None:
    asked = [Request(PLAIN, number % BLOCKS, (number % 3,)) for number in range(20)]

    def drawn(seed: int) -> list[object]:
        with walking(asked, StatePlan(losses=0, samples=30, seed=seed)) as (walk, _):
            return [each.state for each in states(walk)]

    assert drawn(seed) == drawn(seed)
    assert drawn(seed) != drawn(seed + 1)


def test_more_losses_than_there_are_writes_are_all_of_them() -> None:
    """And cost no more: the choices are counted for each number of them."""
    shape = EpochShape((1,) * 12, frozenset(), 0, lambda written: written, 12, lambda _: 0)
    assert losses_within(shape, StatePlan(losses=10**9)) == 12
