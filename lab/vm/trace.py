# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's trace log, in the forms that its log backend has written it in.

    29362@1795931401.319738:pci_nvme_copy cid 25537 nsid 1 nr 2 format 0x0      up to 10.0
    2026-11-29T05:47:49.931412Z pci_nvme_copy cid 13056 nsid 1 nr 2 format 0x0  in 11.1

The first is the process, and the seconds and microseconds since the epoch (QEMU
scripts/tracetool/backend/log.py).  The second is ISO 8601 in UTC, as GLib writes it: without a
fraction where that is zero (g_date_time_format_iso8601).
"""

import re
from dataclasses import dataclass
from datetime import datetime

from lab.errors import HostError

PROOF = "monitor_qmp_cmd_in_band"
"""The trace event of a QMP command (QEMU monitor/trace-events), which proves that the log works."""

_SHOWN = 200
"""Characters that are quoted of a line that nobody can read."""

_FORMS = tuple(
    re.compile(rf"{stamp}(?P<event>\w+)(?: (?P<arguments>.*))?", re.ASCII)
    for stamp in (
        r"\d+@(?P<epoch>\d+\.\d+):",
        r"(?P<iso>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z) ",
    )
)


@dataclass(frozen=True)
class TraceLine:
    """One trace event: wall-clock seconds, its name, and its arguments as text."""

    time: float
    event: str
    arguments: str


def parse(text: str) -> list[TraceLine]:
    """The events of a trace log that is made of whole lines.

    Raises HostError that quotes the first line that is in none of the known forms: whatever it
    tells, nothing may be concluded from its absence.
    """
    return [_line(line) for line in text.split("\n")[:-1]]


def _line(line: str) -> TraceLine:
    for form in _FORMS:
        if m := form.fullmatch(line):
            found = m.groupdict()
            if found.get("iso"):
                time = datetime.fromisoformat(found["iso"]).timestamp()
            else:
                time = float(found["epoch"])
            return TraceLine(time, m["event"], m["arguments"] or "")
    raise unreadable(line)


def unreadable(line: str) -> HostError:
    """The error for a line that does not tell what is known to stand there."""
    return HostError(
        "QEMU's trace log has a line that this lab cannot read",
        detail=line[:_SHOWN] or "(an empty one)",
        hint="nothing else tells what the device did: use another QEMU, and report this one",
    )
