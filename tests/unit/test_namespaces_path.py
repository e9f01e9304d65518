# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies from one namespace to another: both are tagged, and nothing may reach the first."""

from pathlib import Path

from lab.copy.model import SECTOR
from lab.copy.oracle import Tagging
from lab.copy.paths import find
from lab.copy.paths.instrument import Subject
from lab.copy.paths.namespaces import NvmeCrossNs
from lab.crash.writelog import Flag, LogEntry
from lab.profile.load import load
from lab.suites.copy_faults.acts.registry import action_called


def across() -> NvmeCrossNs:
    """The path of the profile that is there for it."""
    found = find(load("nvme-cross-namespace", []))
    assert isinstance(found, NvmeCrossNs)
    return found


def entry(sector: int, sectors: int) -> LogEntry:
    """A write to the disk."""
    return LogEntry(1, sector * SECTOR, sectors * SECTOR, Flag(0), 0, 0)


def test_it_reads_one_namespace_and_writes_the_other() -> None:
    path = across()
    assert (path.source.nsid, path.drive.nsid) == (1, 2)
    copy = path.layout(2, 8).copy
    assert path.request(copy)["source"] == 1
    # Of the copy's reads and writes the points are made: those of both, in one order.
    assert set(path.stepped) == {path.drive, path.source}
    assert path.others == (path.source,)


def test_nothing_may_be_written_to_the_first() -> None:
    path = across()
    copy = path.layout(1, 8).copy
    right, wrong = entry(copy.destination, 8), entry(copy.target.end, 8)
    assert not list(path.strays({path.drive: [right], path.source: []}, copy))
    assert len(list(path.strays({path.drive: [wrong], path.source: []}, copy))) == 1
    assert len(list(path.strays({path.drive: [], path.source: [right]}, copy))) == 1


def test_the_tags_are_on_both_and_the_second_is_read(tmp_path: Path) -> None:
    path = across()
    for drive in path.stepped:
        (tmp_path / drive.medium).write_bytes(bytes(2 << 20))
    plan = path.layout(1, 8)
    tagging = Tagging(plan.window, 1, 1)

    def ask(**request: object) -> dict[str, object]:
        raise AssertionError(request)

    found = path.on(Subject(ask, tmp_path / path.drive.medium))
    found.prepare(plan.copy, tagging)
    start, size = plan.window.start * SECTOR, plan.window.sectors * SECTOR
    for drive in path.stepped:
        assert (tmp_path / drive.medium).read_bytes()[start : start + size] == tagging.data()
    (tmp_path / path.source.medium).write_bytes(bytes(2 << 20))
    assert found.ground.read(plan.window) == tagging.data()


def test_a_rate_limit_holds_nothing_of_it() -> None:
    """A write waits behind the read before it, and that is another disk's."""
    assert not across().possible(action_called("reset"))
    assert across().possible(action_called("eio"))
