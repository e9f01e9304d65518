# SPDX-License-Identifier: GPL-2.0-or-later
"""The taps: a copy's data are looked for in the write log of every disk that they may reach."""

from pathlib import Path
from typing import Any, cast

from lab.results.run import Run
from lab.suites.copy_faults.taps import Taps
from tests.unit.test_writelog import BLOCKS, Op, logged

SECTOR = 512
MARK = b"mark".ljust(SECTOR, b"m")
OTHER = bytes(SECTOR)


def ask(**_: Any) -> dict[str, Any]:
    """A guest whose kernel says nothing."""
    return {"records": []}


def test_what_another_disk_carries_is_counted_once(tmp_path: Path) -> None:
    own, other, trace = (tmp_path / name for name in ("own", "other", "trace"))
    trace.write_bytes(b"")
    before = [Op(0, 0, 1, MARK)]
    for log in (own, other):
        log.write_bytes(logged(before, SECTOR))
    taps = Taps(cast(Run, None), trace, own, ask, [other])
    taps.open()
    taps.forget()
    own.write_bytes(logged([*before, Op(0, 1, 1, OTHER)], SECTOR))
    other.write_bytes(logged([*before, Op(0, 2, 1, MARK), Op(0, BLOCKS - 1, 1, OTHER)], SECTOR))
    assert taps.carrying(taps.writes(), taps.elsewhere(), MARK) == 1
    assert taps.carrying(taps.writes(), taps.elsewhere(), MARK) == 0
