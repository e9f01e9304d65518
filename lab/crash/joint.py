# SPDX-License-Identifier: GPL-2.0-or-later
"""The write logs of several devices as one: which got which entry, and in which order.

Each device has a log of its own.  Their common clock is QEMU's trace: blklogwrites writes an entry
to its log when the medium has it, before the guest is told (block/blklogwrites.c,
blk_log_writes_co_log), and `bdrv_co_pwritev_part` traces each of these writes in the order in which
they are submitted (block/io.c).  So what a guest asked for after it was told of something stands
behind that, whichever devices the two are of.

    bdrv_co_pwritev_part bs 0x562b64701930 offset 9728 bytes 512 flags 0x0

`bs` is the node of a log's file.  Which it is, its first entry tells: the devices are written to
one after the other before anything else is (two disks of a mirror have logs that look alike).

The joint log is in the same format.  A device has `region` bytes of the joint medium, one device
behind the other, and the offsets of its entries are in there, those of flushes too: so they tell
whose they are.
"""

import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from lab.crash.logfile import LogWriter, WriteLog
from lab.crash.writelog import Flag, LogEntry
from lab.errors import HostError
from lab.vm.trace import TraceLine, unreadable

WRITTEN = "bdrv_co_pwritev_part"
"""The trace event."""

_ARGUMENTS = re.compile(r"bs (\w+) offset (\d+) bytes \d+ flags \w+")


def order(lines: Iterable[TraceLine], logs: Sequence[Path]) -> list[int]:
    """The device of each entry of several logs, in the order in which they were logged.

    `lines` are of the time in which the logs came about; the first entries were made one after the
    other.  Raises HostError where they do not tell.
    """
    writes: list[tuple[str, int]] = []
    for line in lines:
        if line.event != WRITTEN:
            continue
        said = _ARGUMENTS.fullmatch(line.arguments)
        if said is None:
            raise unreadable(f"{line.event} {line.arguments}")
        writes.append((said[1], int(said[2])))
    heads = [_heads(path) for path in logs]
    first = [node for node, offset in writes if offset == heads[0][0]]
    found: list[tuple[int, int]] = []
    for device, (path, those) in enumerate(zip(logs, heads, strict=True)):
        node, wanted = "".join(first[device : device + 1]), frozenset(those)
        places = [at for at, each in enumerate(writes) if each[0] == node and each[1] in wanted]
        if [writes[at][1] for at in places] != those:
            raise HostError(
                f"QEMU's trace does not tell when the {len(those)} entries of {path.name} were "
                f"logged: {len(places)} writes of {node or 'no file'} look like them",
                hint="nothing else puts the logs of two disks in order: report it",
            )
        found += ((at, device) for at in places)
    return [device for _, device in sorted(found)]


def _heads(path: Path) -> list[int]:
    """Where the headers of a log's entries stand in it.  Raises HostError where there are none."""
    with WriteLog(path) as log:
        return [entry.data_at - log.sector for entry in log]


def position(devices: Sequence[int], counts: Sequence[int]) -> int:
    """How many entries the joint log had when each log had at least so many.

    Counts that are read one after the other are so taken for those at the last of these moments.
    """
    left = list(counts)
    for at, device in enumerate(devices):
        if not any(count > 0 for count in left):
            return at
        left[device] -= 1
    return len(devices)


def join(logs: Sequence[Path], devices: Sequence[int], region: int, target: Path) -> None:
    """Write the joint log of several, whose entries belong to these devices in their order.

    Raises HostError and OSError.
    """
    with ExitStack() as stack:
        opened = [stack.enter_context(WriteLog(path)) for path in logs]
        sectors = {log.sector for log in opened}
        if len(sectors) != 1:
            raise HostError(f"logs of sectors of {sorted(sectors)} bytes: expected one size")
        sources = [iter(log) for log in opened]
        sink = stack.enter_context(LogWriter(target, *sectors))
        for device in devices:
            _put(sink, opened[device], next(sources[device]), device * region)


def _put(sink: LogWriter, log: WriteLog, entry: LogEntry, start: int) -> None:
    """Write an entry of a device whose bytes of the joint medium begin at `start`."""
    offset = start + entry.offset
    if entry.flags & Flag.DISCARD:
        sink.discard(offset, entry.length)
    else:
        sink.write(offset, log.data(entry), entry.flags)
