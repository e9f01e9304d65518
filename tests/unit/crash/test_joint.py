# SPDX-License-Identifier: GPL-2.0-or-later
"""Logs of several devices as one, and the crash states of all against a model by brute force."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.crash import joint
from lab.crash.logfile import LogWriter, WriteLog
from lab.crash.marks import DURABLE, Levels, LogMark
from lab.crash.states import StatePlan
from lab.crash.walk import DistinctState, LogWalk, build
from lab.crash.writelog import Flag
from lab.errors import HostError
from lab.suites.crash_states.loss import PowerLoss
from lab.vm import trace

BLOCKS, SECTOR = 3, 512
REGION = BLOCKS * SECTOR
OLD = 0xEE
ALL = StatePlan(losses=9, samples=0, limit=10**6, tears=False)
CUTS = StatePlan(losses=0, samples=0, tears=False)


@dataclass(frozen=True)
class Told:
    """What a device was told: to write a number into blocks, or to flush (of no data)."""

    device: int
    block: int = 0
    data: tuple[int, ...] = ()
    fua: bool = False


@st.composite
def told(draw: st.DrawFn) -> list[Told]:
    """Few writes to few blocks of two or three devices, with flushes between."""
    devices = draw(st.integers(2, 3))
    found = []
    for _ in range(draw(st.integers(0, 7))):
        device = draw(st.integers(0, devices - 1))
        if draw(st.integers(0, 3)) == 0:
            found.append(Told(device))
            continue
        block = draw(st.integers(0, BLOCKS - 1))
        count = draw(st.integers(1, min(2, BLOCKS - block)))
        data = tuple(draw(st.lists(st.integers(0, 3), min_size=count, max_size=count)))
        # What is all zeroes is discarded, which knows no FUA.
        fua = any(data) and draw(st.integers(0, 4)) == 0
        found.append(Told(device, block, data, fua))
    return found


def put(log: LogWriter, one: Told) -> None:
    """Log it as the device's own log has it."""
    data = b"".join(bytes([fill]) * SECTOR for fill in one.data)
    if not data:
        log.flush()
    elif any(one.data):
        log.write(one.block * SECTOR, data, Flag.FUA if one.fua else Flag(0))
    else:
        log.discard(one.block * SECTOR, len(data))


RINGS = [Told(device, 0, (OLD,)) for device in range(3)]
"""What is written first, so that it is known whose log is which."""


def traced(asked: list[Told], logs: list[Path]) -> list[trace.TraceLine]:
    """What QEMU traces meanwhile: the medium's writes, those to the log, and its superblock's."""
    heads = []
    for path in logs:
        with WriteLog(path) as log:
            heads.append([(entry.data_at - SECTOR, entry.next_at) for entry in log])
    lines = []
    for one in asked:
        if one.data:
            place, size = one.block * SECTOR, len(one.data) * SECTOR
            lines += [f"bs 0x5{one.device}aa offset {place} bytes {size} flags 0x0"] * 2
        start, end = heads[one.device].pop(0)
        lines.append(f"bs 0x5{one.device}bb offset {start} bytes {end - start} flags 0x0")
        lines.append(f"bs 0x5{one.device}bb offset 0 bytes 512 flags 0x0")
    text = "".join(f"7@1795931401.319738:{joint.WRITTEN} {line}\n" for line in lines)
    return trace.parse(text)


@contextmanager
def joined(asked: list[Told]) -> Iterator[tuple[Path, list[int]]]:
    """The joint log of what several devices were told, and the device of each of its entries."""
    asked = [*RINGS, *map(Told, range(3)), *asked]
    with TemporaryDirectory() as name:
        logs = [Path(name) / f"log-{device}" for device in range(3)]
        for device, path in enumerate(logs):
            with LogWriter(path, SECTOR) as log:
                for one in asked:
                    if one.device == device:
                        put(log, one)
        devices = joint.order(traced(asked, logs), logs)
        made = Path(name) / "joint"
        joint.join(logs, devices, REGION, made)
        yield made, devices


def walked(path: Path, plan: StatePlan, levels: Levels) -> Iterator[tuple[DistinctState, bytes]]:
    """The states of a joint log, and what each holds; each is one that the log allows."""
    base, state = path.with_name("base"), path.with_name("state")
    base.write_bytes(bytes([OLD]) * REGION * 3)
    with WriteLog(path, REGION) as log:
        for epoch in (walk := LogWalk(log, base, path.with_name("durable"), plan, levels)):
            expected = epoch.expected
            hashes: dict[int, bytes] = {}
            for found in epoch:
                build(log, found, walk.durable, state)
                data = state.read_bytes()
                assert hashes.setdefault(found.hash, data) == data
                loss = PowerLoss.of(found, SECTOR)
                assert loss.possible(log)
                state.write_bytes(base.read_bytes())
                loss.apply(log, state)
                assert state.read_bytes() == data
                yield found, data
            assert epoch.coverage.enumerated == expected


FIRST = 2 * len(RINGS)
"""Entries of a joint log before those of what is asked for."""


def contents(asked: list[Told], plan: StatePlan) -> set[tuple[int, ...]]:
    """What the devices hold in each state that is enumerated, all of them told apart."""
    with joined(asked) as (path, _):
        found = [tuple(data[::SECTOR]) for _, data in walked(path, plan, Levels([], DURABLE))]
    assert len(found) == len(set(found))
    return set(found)


def held(asked: list[Told], lost: set[int]) -> tuple[int, ...]:
    """What the devices hold when they have carried out all but these."""
    blocks = [OLD] * BLOCKS * 3
    for at, one in enumerate(asked):
        if at not in lost:
            start = one.device * BLOCKS + one.block
            blocks[start : start + len(one.data)] = one.data
    return tuple(blocks)


def caches(asked: list[Told]) -> list[list[int]]:
    """What each device has written since its last flush, without what has FUA."""
    found: list[list[int]] = [[], [], []]
    for at, one in enumerate(asked):
        if not one.data:
            found[one.device] = []
        elif not one.fua:
            found[one.device].append(at)
    return found


@given(told())
def test_all_that_several_caches_can_lose_is_found_and_nothing_else(asked: list[Told]) -> None:
    possible = set()
    for done in range(len(asked) + 1):
        free = list(chain(*caches(asked[:done])))
        for kept in product((False, True), repeat=len(free)):
            lost = {at for at, there in zip(free, kept, strict=True) if not there}
            possible.add(held(asked[:done], lost))
    assert contents(asked, ALL) == possible


@given(told())
def test_each_device_is_cut_on_its_own_within_what_its_flushes_allow(asked: list[Told]) -> None:
    possible = set()
    for done in range(len(asked) + 1):
        volatile = caches(asked[:done])
        for ends in product(*(range(len(cache) + 1) for cache in volatile)):
            lost = {at for cache, end in zip(volatile, ends, strict=True) for at in cache[end:]}
            possible.add(held(asked[:done], lost))
    assert contents(asked, CUTS) == possible


@given(told(), st.integers(0, 7), st.integers(0, 40))
def test_no_state_breaks_a_promise_of_a_later_moment(
    asked: list[Told], cut: int, samples: int
) -> None:
    marks = [LogMark(DURABLE, 1, FIRST + min(cut, len(asked)), 0.0)]
    plan = StatePlan(losses=1, samples=samples, tears=False)
    before = {at for at, one in enumerate(asked[:cut]) if one.data}
    safe = {FIRST + at for at in before - set(chain(*caches(asked[:cut])))}
    with joined(asked) as (path, _):
        for found, _ in walked(path, plan, Levels(marks, DURABLE)):
            if found.level:
                assert found.state.cut >= marks[0].position
                lost = {found.epoch[number].index for number in found.state.lost}
                assert not lost & safe


def test_where_there_are_too_many_cuts_one_device_is_behind() -> None:
    asked = [Told(at % 2, at % BLOCKS, (at % 4,)) for at in range(60)]
    with joined(asked) as (path, _), WriteLog(path, REGION) as log:
        base = path.with_name("base")
        base.write_bytes(bytes(REGION * 3))
        walk = LogWalk(log, base, path.with_name("durable"), CUTS, Levels([], DURABLE))
        for epoch in walk:
            list(epoch)
    assert epoch.coverage.enumerated == epoch.expected == 61 + 60


@given(told())
def test_logs_are_joined_in_the_order_in_which_they_were_written(asked: list[Told]) -> None:
    with joined(asked) as (path, devices):
        assert devices[FIRST:] == [one.device for one in asked]
        with WriteLog(path, REGION) as log:
            entries = list(log)
            assert [log.device(entry) for entry in entries] == devices
        entries = entries[FIRST:]
        for entry, one in zip(entries, asked, strict=True):
            assert entry.offset == one.device * REGION + one.block * SECTOR
            assert entry.is_flush == (not one.data)
            assert entry.length == len(one.data) * SECTOR


@given(told(), st.data())
def test_a_mark_stands_where_all_logs_had_as_many_entries(
    asked: list[Told], data: st.DataObject
) -> None:
    devices = [one.device for one in asked]
    # What is counted one after the other: each log a little later.
    moments = sorted(data.draw(st.lists(st.integers(0, len(asked)), min_size=3, max_size=3)))
    counts = [devices[:moment].count(device) for device, moment in enumerate(moments)]
    found = joint.position(devices, counts)
    assert found <= moments[-1]
    assert all(devices[:found].count(device) >= counts[device] for device in range(3))
    assert not found or any(
        devices[: found - 1].count(device) < counts[device] for device in range(3)
    )


def test_a_trace_that_does_not_tell_is_no_order(tmp_path: Path) -> None:
    asked = [Told(0, 0, (1,)), Told(1, 0, (1,)), Told(0), Told(1)]
    logs = [tmp_path / "log-0", tmp_path / "log-1"]
    for device, path in enumerate(logs):
        with LogWriter(path, SECTOR) as log:
            for one in asked:
                if one.device == device:
                    put(log, one)
    # Two logs that look alike.
    assert logs[0].read_bytes() == logs[1].read_bytes()
    lines = traced(asked, logs)
    assert joint.order(lines, logs) == [0, 1, 0, 1]
    with pytest.raises(HostError, match="log-1 were logged: 1 writes"):
        joint.order(lines[:-2], logs)
    with pytest.raises(HostError, match="no file look like them"):
        joint.order([], logs)
    with pytest.raises(HostError, match="cannot read"):
        joint.order(trace.parse(f"7@1.5:{joint.WRITTEN} bs what\n"), logs)
    (tmp_path / "empty").touch()
    with pytest.raises(HostError, match="it is empty"):
        joint.order(lines, [logs[0], tmp_path / "empty"])
