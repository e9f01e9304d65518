# SPDX-License-Identifier: GPL-2.0-or-later
"""The path scsi-xcopy: Extended Copy within a SCSI disk, one command for each range.

Request:  {"op": "scsi.copy", "path": "scsi-xcopy", "node": DEVICE,
           "ranges": [[offset, bytes], ...], "to": OFFSET, "emulate": false}
Answer:   {"errno": E, "done": RANGES, "said": SENSE, "seconds": T, "moved": MOVED}

MOVED is what was asked of the disk meanwhile (meter.py); if the target copies, that is nothing.
"""

import errno
import time

import system
import xcopy
from direct import Direct
from meter import Meter


def copy(request):
    """Copy ranges one after the other by the disk's target."""
    node = request["node"]
    size = int(system.queue(node, "logical_block_size"))
    meter, start = Meter(node), time.monotonic()
    answer = {"errno": 0, "done": 0}
    to = request["to"]
    for offset, length in request["ranges"]:
        try:
            if request.get("emulate"):
                _by_hand(node, offset, length, to)
            else:
                xcopy.copy(node, node, offset // size, to // size, length // size)
        except system.Failure as problem:
            # drivers/scsi/scsi_lib.c makes an I/O error of an aborted command.
            answer |= {"errno": errno.EIO, "said": problem.said}
            break
        to += length
        answer["done"] += 1
    answer["seconds"] = time.monotonic() - start
    return answer | {"moved": meter.moved()}


def _by_hand(node, offset, length, to):
    with Direct(node) as disk:
        disk.write(to, disk.read(offset, length))
