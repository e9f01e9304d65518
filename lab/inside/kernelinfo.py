# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel of a running guest says of itself to a debugger (VMCOREINFO)."""

from lab.errors import GuestError, HostError
from lab.guest.guest import Guest
from lab.inside import vmcore
from lab.vm import memory
from lab.vm.memory import PAGE, MemoryRange

_FILE = "/sys/kernel/vmcoreinfo"
"""Has the note's address and its size; both hexadecimal, the size without 0x."""
_DEADLINE = 10.0


def fields(guest: Guest) -> dict[str, str]:
    """What it says, by key; the guest is asked where, or all of its memory is looked through.
    Raises HostError where the kernel says nothing, or QEMU does not answer."""
    release = guest.record.kernel
    for where in (_told(guest), *memory.ranges(guest.machine)):
        for _, data in memory.read(guest.machine, where) if where else ():
            if info := vmcore.vmcoreinfo(data, release):
                return vmcore.fields(info)
    raise HostError(
        f"the kernel of {guest.record.name} says nothing of itself (VMCOREINFO)",
        hint="it needs CONFIG_VMCORE_INFO (before 6.9: CONFIG_CRASH_CORE)",
    )


def load_offset(told: dict[str, str]) -> int:
    """By how many bytes the kernel lies off where it was linked to (KASLR)."""
    return int(told.get("KERNELOFFSET", "0"), 16)


def _told(guest: Guest) -> MemoryRange | None:
    """Where the guest says that the note is; None where it does not answer."""
    try:
        with guest.connect() as session:
            said = session.run(["cat", _FILE], deadline=_DEADLINE).stdout.split()
    except GuestError:
        return None
    start, size = (int(word, 16) for word in said)
    first = start - start % PAGE
    return MemoryRange(first, -(-(start + size - first) // PAGE) * PAGE)
