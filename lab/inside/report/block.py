# SPDX-License-Identifier: GPL-2.0-or-later
"""Queues of disks, with the requests and bios in flight."""

from collections.abc import Iterator

import drgn
from drgn.helpers.linux.block import (
    blk_mq_rq_to_pdu,
    blk_rq_bytes,
    blk_rq_pos,
    disk_name,
    for_each_disk,
    req_op,
    request_queue_busy_iter,
)
from drgn.helpers.linux.list import list_for_each_entry
from drgn.helpers.linux.timekeeping import ktime_get_coarse_ns

from lab.inside.report.model import ControllerState, PendingBio, PendingRequest, QueueState
from lab.inside.report.names import enumerator, function, text, unreadable

_MOST = 64
"""Requests, or bios of one, that are told of."""
_DRIVER = ("drv in", "drv out")
_OPCODES = {
    0x00: "flush", 0x01: "write", 0x02: "read", 0x08: "write zeroes", 0x09: "dataset management",
    0x19: "copy", 0x7D: "zone append",
}  # fmt: skip
"""NVMe commands, by opcode (NVM Express NVM Command Set Specification, 3.1)."""


def queues(program: drgn.Program) -> Iterator[QueueState]:
    """The queues of all disks."""
    for disk in for_each_disk(program):
        yield queue(program, disk_name(disk).decode(), disk.queue)


def queue(program: drgn.Program, name: str, it: drgn.Object) -> QueueState:
    """A queue."""
    tags = it.tag_set
    return QueueState(
        name,
        text(it.elevator.type.elevator_name) if it.elevator else "none",
        tags.nr_hw_queues.value_() if tags else 0,
        tags.queue_depth.value_() if tags else 0,
        it.mq_freeze_depth.value_(),
        it.quiesce_depth.value_() if hasattr(it, "quiesce_depth") else 0,
        tuple(requests(program, name, it)),
    )


def requests(program: drgn.Program, name: str, it: drgn.Object) -> Iterator[PendingRequest]:
    """The requests of a queue that have tags."""
    for number, rq in enumerate(request_queue_busy_iter(it)):
        if number == _MOST:
            return
        operation = enumerator(req_op(rq), "REQ_OP_")
        # One that a driver made itself has no sector, or none that means anything.
        own = operation in _DRIVER
        if own and name.startswith("nvme"):
            operation = _command(program, rq)
        yield PendingRequest(
            rq.tag.value_() if rq.tag.value_() >= 0 else rq.internal_tag.value_(),
            operation,
            None if own else blk_rq_pos(rq).value_(),
            blk_rq_bytes(rq).value_(),
            enumerator(drgn.cast("enum mq_rq_state", rq.state), "MQ_RQ_"),
            _age(program, rq),
            function(program, rq.end_io.value_()),
            tuple(bios(program, rq.bio)),
        )


def _command(program: drgn.Program, rq: drgn.Object) -> str:
    """What a request is that was passed through to an NVMe device."""
    made = drgn.cast("struct nvme_request *", blk_mq_rq_to_pdu(rq))
    code = made.cmd.common.opcode.value_()
    return f"NVMe {_OPCODES.get(code, 'command')} ({code:02X}h)"


def _age(program: drgn.Program, rq: drgn.Object) -> float | None:
    """Seconds since a request was made; None where the kernel keeps no time."""
    try:
        began = rq.start_time_ns.value_()
        now = ktime_get_coarse_ns(program).value_()
    except unreadable:
        return None
    return round((now - began) / 1e9, 3) if began else None


def bios(program: drgn.Program, first: drgn.Object) -> Iterator[PendingBio]:
    """A chain of bios, from its first on."""
    bio = first
    for _ in range(_MOST):
        if not bio:
            return
        yield PendingBio(
            bio.bi_iter.bi_sector.value_(),
            bio.bi_iter.bi_size.value_(),
            function(program, bio.bi_end_io.value_()),
        )
        bio = bio.bi_next


def controllers(program: drgn.Program) -> Iterator[ControllerState]:
    """The NVMe controllers that the kernel's driver has, fabrics' too."""
    try:
        subsystems = program["nvme_subsystems"]
    except LookupError:
        # The driver is not loaded.
        return
    for subsystem in list_for_each_entry(
        "struct nvme_subsystem", subsystems.address_of_(), "entry"
    ):
        for each in list_for_each_entry(
            "struct nvme_ctrl", subsystem.ctrls.address_of_(), "subsys_entry"
        ):
            name = f"nvme{each.instance.value_()}"
            yield ControllerState(
                name,
                enumerator(each.state, "NVME_CTRL_"),
                f"{text(subsystem.model)[:40].strip()}, {text(each.ops.name)}",
                tuple(requests(program, name, each.admin_q)) if each.admin_q else (),
            )
