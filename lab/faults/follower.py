# SPDX-License-Identifier: GPL-2.0-or-later
"""Leads a disk through the requests before the k-th, while nobody sits there.

blkdebug cannot count: a breakpoint stops the next request.  So the disk is stopped at each, the
breakpoint is set again, and the request released, until the k-th.  Started by `lab fault hold`;
ends when the wanted request comes, when it is not wanted any more, or with the guest.
"""

import sys
import time

from lab.errors import LabError
from lab.faults.arming import held_in, read_arming
from lab.faults.byhand import Hand
from lab.guest.guest import Guest
from lab.guest.guests import attach

_DEADLINE = 24 * 3600.0
"""Seconds; `lab fault status` starts another one."""
_POLL = 0.005


def follow(guest: Guest) -> None:
    """Lead the guest's disk to its last pass."""
    hand = Hand(guest)
    end = time.monotonic() + _DEADLINE
    while time.monotonic() < end and guest.machine.alive():
        arming = read_arming(guest)
        if arming is None or arming.last:
            return
        if arming.tag in held_in(guest):
            hand.pass_by()
        time.sleep(_POLL)


if __name__ == "__main__":
    try:
        follow(attach(sys.argv[1].removeprefix("guest=")))
    except LabError as error:
        # Nobody reads it; the state is as the next command finds it.
        sys.exit(error.exit_status)
