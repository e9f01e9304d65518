# SPDX-License-Identifier: GPL-2.0-or-later
"""Tasks that wait and cannot be interrupted: their stacks, and what they wait for."""

from collections.abc import Iterator

import drgn
from drgn.helpers.linux.locking import mutex_owner, rwsem_owner
from drgn.helpers.linux.pid import for_each_task
from drgn.helpers.linux.sched import task_state_to_char

from lab.guest.traces import WAITING
from lab.inside.report.model import BlockedTask
from lab.inside.report.names import function, unreadable

_DEPTH = 40


def blocked(program: drgn.Program) -> Iterator[BlockedTask]:
    """The tasks in state D, by pid; I, which is idle, is none."""
    for task in for_each_task(program):
        if task_state_to_char(task) == "D":
            yield _task(program, task)


def _task(program: drgn.Program, task: drgn.Object) -> BlockedTask:
    frames: list[drgn.StackFrame] = []
    try:
        frames = _of_kernel(program.stack_trace(task))[:_DEPTH]
    except unreadable as error:
        stack: tuple[str, ...] = (f"cannot be unwound: {error}",)
    else:
        stack = tuple(map(_frame, frames))
    names = [frame.name for frame in frames]
    return BlockedTask(
        task.pid.value_(),
        task.comm.string_().decode(errors="replace"),
        next((name for name in names if not WAITING.fullmatch(name)), names[0] if names else ""),
        tuple(dict.fromkeys(what for frame in frames for what in _on(program, frame))),
        stack,
        tuple(_locks(program, task)),
    )


def _of_kernel(trace: drgn.StackTrace) -> list[drgn.StackFrame]:
    """The frames up to the entry into the kernel: behind it are words of user space, which have
    addresses for names."""
    frames = list(trace)
    while frames and (not frames[-1].name or frames[-1].name.startswith("0x")):
        frames.pop()
    return frames


def _frame(frame: drgn.StackFrame) -> str:
    """A line of a stack, with the file and line of the source where they are known."""
    name = str(frame.name)
    try:
        file, line, _ = frame.source()
    except (LookupError, ValueError):
        return name
    return f"{name} ({file}:{line})"


def _on(program: drgn.Program, frame: drgn.StackFrame) -> Iterator[str]:
    """What a call waits for, by its variables."""
    for name, kind in _VARIABLES:
        try:
            value = frame[name]
            if value.absent_ or value.type_.type_name() != f"{kind} *":
                continue
            address = value.value_()
            if not address:
                continue
            yield f"{kind.partition(' ')[2]} {address:#x}{_owner(program, kind, value)}"
        except unreadable:
            continue


_VARIABLES = (
    ("rq", "struct request"), ("bio", "struct bio"), ("lock", "struct mutex"),
    ("sem", "struct rw_semaphore"),
)  # fmt: skip
"""Names that the kernel's functions give to what is waited for."""


def _owner(program: drgn.Program, kind: str, value: drgn.Object) -> str:
    """Who holds a lock, in words; '' for what is none, and where nobody does."""
    if kind == "struct mutex":
        owner = mutex_owner(value)
    elif kind == "struct rw_semaphore":
        owner = rwsem_owner(value)
    else:
        return ""
    if not owner:
        return ""
    return f", held by {owner.comm.string_().decode(errors='replace')} ({owner.pid.value_()})"


def _locks(program: drgn.Program, task: drgn.Object) -> Iterator[str]:
    """The locks that a task holds, where the kernel was built with lockdep."""
    try:
        count = task.lockdep_depth.value_()
    except AttributeError:
        return
    for held in task.held_locks[:count]:
        name = held.instance.name.string_().decode(errors="replace")
        yield f"{name}, taken in {function(program, held.acquire_ip.value_())}"
