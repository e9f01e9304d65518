# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's trace log, in the form of each version, and what is made of it."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import HostError
from lab.host.process import Process
from lab.results.run import TIMELINE, Run
from lab.suites.copy_faults.taps import Taps
from lab.vm.argv import TRACE_LOG
from lab.vm.machine import Machine
from lab.vm.trace import TraceLine, parse

QEMU_7_2_22 = """\
10964@1795931523.952845:monitor_qmp_cmd_in_band "__qmp#00007"
10964@1795931527.908356:pci_nvme_copy cid 512 nsid 1 nr 2 format 0x0
10964@1795931527.908382:pci_nvme_copy_source_range slba 0x0 nlb 64
10964@1795931527.908465:pci_nvme_copy_out slba 0x1000 nlb 64
10964@1795931532.504062:pci_nvme_write cid 24705 opname 'NVME_NVM_CMD_WRITE' nsid 1 nlb 8 \
count 4096 lba 0x0
10964@1795931532.567323:pci_nvme_read cid 28801 nsid 1 nlb 8 count 4096 lba 0x0
"""
QEMU_10_0_13 = """\
5572@1795931210.894931:pci_nvme_copy cid 25537 nsid 1 nr 2 format 0x0
5572@1795931210.894941:pci_nvme_copy_source_range slba 0x0 nlb 64
"""
QEMU_11_1_3 = """\
2026-11-29T05:55:54.946309Z monitor_qmp_cmd_in_band "__qmp#00007"
2026-11-29T05:55:59.907884Z pci_nvme_copy cid 57345 nsid 1 nr 2 format 0x0
2026-11-29T05:55:59.907924Z pci_nvme_copy_source_range slba 0x0 nlb 64
2026-11-29T05:55:59.908014Z pci_nvme_copy_out slba 0x1000 nlb 64
2026-11-29T05:56:03.704097Z pci_nvme_write cid 45504 opname 'NVME_NVM_CMD_WRITE' nsid 1 nlb 8 \
count 4096 lba 0x0
2026-11-29T05:56:03.711419Z pci_nvme_read cid 2 nsid 1 nlb 8 count 4096 lba 0x0
"""
"""What these versions wrote."""

LOGS = {"7.2.22": QEMU_7_2_22, "10.0.13": QEMU_10_0_13, "11.1.3": QEMU_11_1_3}


@pytest.mark.parametrize("log", LOGS.values(), ids=LOGS.keys())
def test_what_each_version_wrote_is_read(log: str) -> None:
    lines = parse(log)
    assert len(lines) == log.count("\n")
    copy = next(line for line in lines if line.event == "pci_nvme_copy")
    assert copy.arguments.endswith("nsid 1 nr 2 format 0x0")
    assert datetime.fromtimestamp(copy.time, UTC).date().isoformat() == "2026-11-29"


def test_the_time_of_both_forms_is_that_of_the_epoch() -> None:
    assert parse("10964@1795931527.908356:pci_nvme_copy x\n") == [
        TraceLine(1795931527.908356, "pci_nvme_copy", "x")
    ]
    assert parse("2026-11-29T05:52:07.908356Z pci_nvme_copy x\n") == [
        TraceLine(1795931527.908356, "pci_nvme_copy", "x")
    ]


def old(process: int, microseconds: int, event: str, arguments: str) -> str:
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{process}@{seconds}.{rest:06}:{event} {arguments}\n"


def new(_process: int, microseconds: int, event: str, arguments: str) -> str:
    # GLib leaves a fraction of zero out.
    seconds, rest = divmod(microseconds, 1_000_000)
    moment = datetime.fromtimestamp(seconds, UTC)
    fraction = f".{rest:06}" if rest else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z {event} {arguments}\n"


MOMENTS = st.integers(10**15, 4 * 10**15) | st.integers(10**9, 4 * 10**9).map(
    lambda seconds: seconds * 10**6
)
"""Microseconds since the epoch, many without a fraction of a second."""


@given(
    st.lists(
        st.tuples(
            st.integers(1, 2**22),
            MOMENTS,
            st.from_regex(r"[a-z][a-z0-9_]{0,40}", fullmatch=True),
            st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\n")),
        )
    ),
    st.sampled_from([old, new]),
)
def test_what_is_written_is_read(events: list[tuple[int, int, str, str]], form: Any) -> None:
    read = parse("".join(form(*event) for event in events))
    assert [(round(line.time * 10**6), line.event, line.arguments) for line in read] == [
        (microseconds, event, arguments) for _, microseconds, event, arguments in events
    ]


def timeline(run: Run) -> list[dict[str, Any]]:
    lines = (run.directory / TIMELINE).read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["source"] == "trace"]


def tapped(run: Run, log: Path) -> Taps:
    """Taps on a log; nobody asks for anything else."""
    return Taps(run, log, log, lambda **_: {"records": []})


@pytest.mark.parametrize("log", LOGS.values(), ids=LOGS.keys())
def test_trace_events_stand_on_the_timeline(log: str, tmp_path: Path) -> None:
    path = tmp_path / TRACE_LOG
    path.write_text(log)
    with Run("nvme-copy", "copy-faults") as run:
        tapped(run, path).trace()
        events = timeline(run)
    assert [event["event"] for event in events][:2] == ["copy", "copy_source_range"]
    assert events[0]["arguments"].endswith("nsid 1 nr 2 format 0x0")
    assert events[0]["t"] < events[1]["t"]


def test_a_log_that_nobody_can_read_fails_the_run(tmp_path: Path) -> None:
    path = tmp_path / TRACE_LOG
    path.write_text(QEMU_11_1_3 + "Nov 29 05:56 [pci_nvme_copy] cid 1\nhalf a li")
    with Run("nvme-copy", "copy-faults") as run, pytest.raises(HostError) as caught:
        tapped(run, path).trace()
    assert caught.value.exit_status == 3
    assert caught.value.detail == "Nov 29 05:56 [pci_nvme_copy] cid 1"


class Traced(Machine):
    """A QEMU that answers as the real ones did; `writes` is what it logs of its own commands."""

    def __init__(self, directory: Path, *, writes: str) -> None:
        super().__init__(directory, Process(1, 1))
        self._writes = writes

    def execute(self, command: str, arguments: Any = None, *, deadline: float = 10.0) -> Any:
        if command == "trace-event-set-state":
            if arguments["name"].startswith("monitor"):
                with (self.directory / TRACE_LOG).open("a") as log:
                    log.write(self._writes)
            return {}
        if arguments["name"] == "nonsense*":
            return []
        return [{"name": "pci_nvme_copy", "state": "enabled"}]


def test_a_qemu_that_traces_elsewhere_is_refused(tmp_path: Path) -> None:
    line = QEMU_11_1_3.partition("\n")[0] + "\n"
    Traced(tmp_path, writes=line).trace(["pci_nvme_copy*"])
    with pytest.raises(HostError, match=r"does not trace nonsense\*"):
        Traced(tmp_path, writes=line).trace(["nonsense*"])
    # What an earlier one wrote proves nothing.
    with pytest.raises(HostError, match="writes no trace events to its log"):
        Traced(tmp_path, writes="").trace(["pci_nvme_copy*"])
