# SPDX-License-Identifier: GPL-2.0-or-later
"""What moves through a block device while somebody copies, by the kernel's block tracepoints.

By operation, and with the sectors and the name of whoever asked: the counters in /sys/block count
the source of a copy that the block layer offloads as sectors that were read, and what others read
meanwhile, such as udev.
"""

import os
import re
from contextlib import contextmanager

import system

TRACING = "/sys/kernel/tracing"
INSTANCE = f"{TRACING}/instances/lab-copies"
EVENT = f"{INSTANCE}/events/block/block_bio_queue"
"""What is asked of a disk, whether it makes requests of it or hands it on (device mapper); for a
partition already as of its disk (Linux block/blk-core.c, submit_bio_noacct)."""

KIB = 256
"""Of the ring buffer, for each CPU: three thousand bios or so."""

MOST = 1000
"""Bios that are told; who sees more has seen enough."""

# include/trace/events/block.h: TP_printk of block_bio_queue
_BIO = re.compile(r"block_bio_queue: (\d+),(\d+) (\S+) (\d+) \+ (\d+) \[(.*)\]")
_ENTRIES = re.compile(r"entries-in-buffer/entries-written: (\d+)/(\d+)")


class Meter:
    """What is asked of a block device since this was made, until it is `moved`.  There is one ring
    buffer: while it is `shared`, others cannot tell."""

    shared = False

    def __init__(self, node):
        if Meter.shared:
            self._why = "others move data at the same time"
            return
        self._disk, self._start = _place(system.block_name(node))
        self._why = ""
        try:
            _begin(self._disk)
        except (OSError, system.Failure) as problem:
            self._why = f"this kernel's block tracepoints cannot be had: {problem}"

    def moved(self):
        """{"bios": [[operation, sector, sectors, who], ...], "lost": N}, sectors as of the node;
        {"unknown": WHY} where the kernel does not tell."""
        if self._why:
            return {"unknown": self._why}
        _set("tracing_on", 0)
        found, lost = parse(_read(f"{INSTANCE}/trace"), self._disk)
        bios = [[rwbs, sector - self._start, sectors, who] for rwbs, sector, sectors, who in found]
        return {"bios": bios[:MOST], "lost": lost + max(0, len(bios) - MOST)}

    @contextmanager
    def watching(self):
        """An OSError inside is told what moved until then, as `moved`: a copy that failed may have
        been one of reads and writes."""
        try:
            yield
        except OSError as problem:
            problem.moved = self.moved()
            raise


class NoMeter:
    """Of what is no block device: nobody asks how it is used."""

    def moved(self):
        """As of a Meter."""
        return {"unknown": "it is no block device"}


@contextmanager
def shared(node):
    """A meter for all that several do meanwhile."""
    try:
        seen = Meter(node)
    except (OSError, system.Failure):
        seen = NoMeter()
    Meter.shared = True
    try:
        yield seen
    finally:
        Meter.shared = False


def parse(text, disk):
    """The bios of a disk, MAJOR:MINOR, in a trace, and how many of all were lost."""
    bios = [
        (rwbs, int(sector), int(sectors), who)
        for major, minor, rwbs, sector, sectors, who in _BIO.findall(text)
        if f"{major}:{minor}" == disk
    ]
    kept, written = map(int, _ENTRIES.search(text).groups())
    return bios, written - kept


def wrote(bios, offset, size):
    """How many of these write to a place, in bytes (kernel/trace/blktrace.c, blk_fill_rwbs: W, with
    a flush before it FW, ZA to a zone; WZ are zeroes, of which the device is sent none)."""
    first, end = offset // system.SECTOR, -(-(offset + size) // system.SECTOR)
    return sum(
        rwbs.removeprefix("F").startswith(("W", "ZA")) and not rwbs.startswith("WZ")
        and max(sector, first) < min(sector + sectors, end)
        for rwbs, sector, sectors, _ in bios
    )  # fmt: skip


def _place(name):
    """MAJOR:MINOR of the whole disk, and the sector at which a partition begins there."""
    here = f"{system.BLOCK}/{name}"
    if not os.path.exists(f"{here}/partition"):
        return _read(f"{here}/dev").strip(), 0
    return _read(f"{os.path.realpath(here)}/../dev").strip(), int(_read(f"{here}/start"))


def _begin(disk):
    """Watch a disk, and it alone."""
    if not os.path.isdir(INSTANCE):
        _make()
    major, minor = map(int, disk.split(":"))
    # include/linux/kdev_t.h: MKDEV
    wanted = f"dev == {major << 20 | minor}"
    if _read(f"{EVENT}/filter").strip() != wanted:
        _set("tracing_on", 0)
        _write(f"{EVENT}/filter", wanted)
    _write(f"{INSTANCE}/trace", "\n")  # which empties it
    _set("tracing_on", 1)


def _make():
    """The ring buffer and its one event, once and for all: the kernel changes its own code for an
    event, which QEMU 7.2 has been seen to get wrong under emulation (an int3 that nobody knew)."""
    if not os.path.isdir(f"{TRACING}/events"):
        system.run(["mount", "-t", "tracefs", "tracefs", TRACING])
    # A new instance takes this over: with it the scheduler's events are enabled, too.
    names = f"{TRACING}/options/record-cmd"
    before = _read(names)
    _write(names, 0)
    try:
        os.mkdir(INSTANCE)
    finally:
        _write(names, before)
    try:
        _set("buffer_size_kb", KIB)
        _set("tracing_on", 0)
        _write(f"{EVENT}/enable", 1)
    except OSError:
        os.rmdir(INSTANCE)
        raise


def _set(name, value):
    _write(f"{INSTANCE}/{name}", value)


def _write(path, value):
    with open(path, "wb", buffering=0) as file:
        file.write(f"{value}".encode())


def _read(path):
    with open(path) as file:
        return file.read()
