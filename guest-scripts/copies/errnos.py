# SPDX-License-Identifier: GPL-2.0-or-later
"""What this kernel makes of NVMe statuses: each is injected into a read of the namespace, once.

Requests:  {"op": "errnos.errnos", "serial": S, "nsid": N, "statuses": [STATUS, ...]}
Answers:   {"errnos": [[STATUS, ERRNO], ...]}   none where the kernel has no fault injection for it
                                                (CONFIG_FAULT_INJECTION_DEBUG_FS)

The read reaches the device; only how it ended is changed (Linux drivers/nvme/host/fault_inject.c).
"""

import mmap
import os

import nvme

DEBUG = "/sys/kernel/debug"
LENGTH = 64 << 10
"""Bytes that are read: a block of any size."""

ARMED = {
    "dont_retry": "Y",  # as devices do that mean it
    "verbose": "0",
    "interval": "1",
    "space": "0",
    "times": "-1",  # others may read meanwhile
    "probability": "0",
}


def errnos(request):
    """See the top of this file."""
    path = nvme.find(request["serial"], request["nsid"])
    place = f"{DEBUG}/{os.path.basename(path)}/fault_inject"
    if not os.path.exists(f"{place}/status"):
        return {"errnos": []}
    for name, value in ARMED.items():
        put(place, name, value)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    try:
        with mmap.mmap(-1, LENGTH) as memory:  # page-aligned, as O_DIRECT wants it
            made = [[status, made_of(place, fd, memory, status)] for status in request["statuses"]]
    finally:
        os.close(fd)
    # 0: the read succeeded, so nothing was injected.
    return {"errnos": [pair for pair in made if pair[1]]}


def made_of(place, fd, memory, status):
    """The errno of a read that ends with a status; 0 if it succeeds."""
    put(place, "status", f"{status:#x}")
    put(place, "probability", "100")
    try:
        os.preadv(fd, [memory], 0)
    except OSError as error:
        return error.errno
    finally:
        put(place, "probability", "0")
    return 0


def put(place, name, value):
    """Write one of the attributes in debugfs."""
    with open(f"{place}/{name}", "w") as file:
        file.write(value)
