# SPDX-License-Identifier: GPL-2.0-or-later
"""What lies between a disk and a file system: device mapper's devices, and loop devices."""

from collections.abc import Iterator

import drgn
from drgn.helpers.linux.cpumask import for_each_possible_cpu
from drgn.helpers.linux.fs import d_path
from drgn.helpers.linux.idr import idr_for_each
from drgn.helpers.linux.list import list_count_nodes, list_for_each_entry
from drgn.helpers.linux.percpu import per_cpu_ptr

from lab.inside.report.block import bios
from lab.inside.report.model import LoopState, MappedDevice
from lab.inside.report.names import enumerator, text, unreadable

_STATES = {
    0: "holds back new I/O", 1: "suspended", 2: "frozen", 3: "being freed", 4: "being removed",
    5: "suspending without a flush", 7: "suspended by itself",
}  # fmt: skip
"""Bits of mapped_device.flags, which the debugging information does not name (Linux,
drivers/md/dm-core.h)."""

_LOOP_FLAGS = {1: "read-only", 4: "autoclear", 8: "partitions", 16: "direct I/O"}
"""LO_FLAGS_*: include/uapi/linux/loop.h."""


def mapped(program: drgn.Program) -> Iterator[MappedDevice]:
    """The devices of device mapper; none where its module is not loaded."""
    try:
        minors = program["_minor_idr"]
    except LookupError:
        return
    for _, entry in idr_for_each(minors.address_of_()):
        md = drgn.cast("struct mapped_device *", entry)
        flags = md.flags.value_()
        yield MappedDevice(
            _mapped_name(md),
            text(md.disk.disk_name),
            tuple(_targets(md)),
            tuple(words for bit, words in _STATES.items() if flags >> bit & 1),
            _pending(program, md),
            tuple(bios(program, md.deferred.head)),
        )


def _mapped_name(md: drgn.Object) -> str:
    try:
        return text(drgn.cast("struct hash_cell *", md.interface_ptr).name)
    except unreadable:
        return text(md.disk.disk_name)


def _targets(md: drgn.Object) -> Iterator[str]:
    """The table's lines, as `dmsetup table` has them, without what only a target knows."""
    table = drgn.cast("struct dm_table *", md.map)
    if not table:
        return
    below = [
        text(one.dm_dev.bdev.bd_disk.disk_name)
        for one in list_for_each_entry(
            "struct dm_dev_internal", table.devices.address_of_(), "list"
        )
    ]
    for target in table.targets[: table.num_targets]:
        yield (
            f"{target.begin.value_()} {target.len.value_()} {text(target.type.name)}"
            f" on {', '.join(dict.fromkeys(below)) or 'nothing'}"
        )


def _pending(program: drgn.Program, md: drgn.Object) -> int:
    """The bios that the device has taken and not ended."""
    total: int = sum(
        per_cpu_ptr(md.pending_io, cpu)[0].value_() for cpu in for_each_possible_cpu(program)
    )
    return total


def loops(program: drgn.Program) -> Iterator[LoopState]:
    """The loop devices that have files."""
    try:
        index = program["loop_index_idr"]
    except LookupError:
        return
    for _, entry in idr_for_each(index.address_of_()):
        lo = drgn.cast("struct loop_device *", entry)
        if not lo.lo_backing_file:
            continue
        flags = lo.lo_flags.value_()
        yield LoopState(
            f"loop{lo.lo_number.value_()}",
            enumerator(drgn.cast(lo.prog_["Lo_bound"].type_, lo.lo_state), "Lo_"),
            d_path(lo.lo_backing_file.f_path).decode(errors="replace"),
            ", ".join(words for bit, words in _LOOP_FLAGS.items() if flags & bit),
            list_count_nodes(lo.rootcg_cmd_list.address_of_()),
        )
