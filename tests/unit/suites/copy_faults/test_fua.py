# SPDX-License-Identifier: GPL-2.0-or-later
"""Where FUA is judged: what the write log shows of it, as tried before a power cut."""

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from lab.crash.writelog import Flag, LogEntry
from lab.errors import GuestError
from lab.suites.copy_faults import fua
from lab.suites.copy_faults.bench import Bench
from tests.unit.builders import nvme_path

WRITE, FUA, FLUSH = "write", "write with FUA", "flush"
_FLAGS = {WRITE: Flag(0), FUA: Flag.FUA, FLUSH: Flag.FLUSH}


def log(*kinds: str) -> list[LogEntry]:
    """What was logged."""
    return [
        LogEntry(index, 0, 0 if kind == FLUSH else 512, _FLAGS[kind], 0, 0)
        for index, kind in enumerate(kinds)
    ]


# What QEMU 7.2.22, 10.0.13 and 11.1.3 log of virtio-scsi, and of NVMe, which ignores FUA.
SCSI = log(WRITE, WRITE, FLUSH), log(WRITE, FLUSH, WRITE, FLUSH)
NVME = log(WRITE, WRITE), log(WRITE, FLUSH, WRITE)
# What QEMU 10.0.13 and 11.1.3 do where nothing lies above what carries FUA out.
MISSES = log(WRITE, WRITE, FLUSH), log(WRITE, FLUSH, WRITE)


@pytest.mark.parametrize(
    ("logged", "said"),
    [
        (SCSI, ""),
        (NVME, ""),
        ((log(WRITE, FUA), log(WRITE, FLUSH, FUA)), ""),
        (MISSES, "neither a flush nor FUA where a flush came right before"),
        ((log(WRITE, WRITE), log(WRITE, WRITE)), "not even a flush was logged"),
        ((log(), log()), "not even a flush was logged"),
    ],
)
def test_a_log_is_blind_where_it_misses_what_the_disk_makes_of_fua(
    logged: tuple[list[LogEntry], list[LogEntry]], said: str
) -> None:
    found = fua.judged("DISK", *logged)
    assert said in found and bool(found) == bool(said)
    assert not found or "DISK" in found


class Guest:
    """An executor and the write log of its disk, which is logged so."""

    def __init__(self, logged: Sequence[list[LogEntry]], error: str = "") -> None:
        self._logged = list(logged)
        self._error = error
        self._new: list[LogEntry] = log(WRITE)  # from before
        self.asked: list[dict[str, object]] = []

    def ask(self, **request: object) -> dict[str, Any]:
        self.asked.append(request)
        if self._error:
            raise GuestError(self._error)
        assert not self._new
        self._new = self._logged[bool(request["flushed"])]
        return {}

    def writes(self) -> list[LogEntry]:
        new, self._new = self._new, []
        return new

    def bench(self, **drive: object) -> Bench:
        """A bench with that guest, which nobody had to boot."""
        bench = Bench.__new__(Bench)
        bench.path = nvme_path()
        bench.path.drive = replace(bench.path.drive, **drive)  # type: ignore[arg-type]
        bench.run = SimpleNamespace(emit=lambda *_, **__: None)  # type: ignore[assignment]
        bench.ask = self.ask  # type: ignore[method-assign]
        bench._taps = self  # type: ignore[assignment]
        bench._blind = None
        return bench


def test_it_is_tried_once_on_the_disk_itself() -> None:
    guest = Guest(MISSES)
    bench = guest.bench()
    assert "cannot tell: tried on S:1" in bench.blind()
    assert bench.blind() == bench.blind()
    assert [(each["node"], each["flushed"]) for each in guest.asked] == [
        ("/dev/lab/S:1", False), ("/dev/lab/S:1", True)
    ]  # fmt: skip


def test_a_log_that_tells_leaves_nothing_to_say() -> None:
    assert Guest(SCSI).bench().blind() == Guest(NVME).bench().blind() == ""


def test_what_could_not_be_tried_is_said() -> None:
    said = Guest(SCSI, "write of /dev/sda: SCSI status 02h").bench().blind()
    assert "was not tried on S:1: write of /dev/sda: SCSI status 02h" in said


def test_a_disk_with_metadata_is_not_tried() -> None:
    guest = Guest(NVME)
    assert "not tried on S:1: it has metadata" in guest.bench(metadata=8).blind()
    assert not guest.asked


def test_virtio_blk_knows_no_fua() -> None:
    guest = Guest(MISSES)
    assert guest.bench(virtio_blk=True).blind() == ""
    assert not guest.asked
