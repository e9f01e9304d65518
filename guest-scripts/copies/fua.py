# SPDX-License-Identifier: GPL-2.0-or-later
"""A write with Force Unit Access, past the block layer: what the disk makes of it others watch.

Requests:  {"op": "fua.force_unit_access", "node": N, "flushed": false}
           the first block of a disk is read and written again as it was, then once more with FUA;
           `flushed`: with a flush of the disk's cache in between
Answers:   {}

Such a write cannot be had of the block layer: to what is written with O_DSYNC it adds a flush.
"""

import array
import fcntl
import os
import struct

import nvme
import system
import xcopy

# NVM Command Set 1.1, 3.3.4 Read; FUA is bit 30 of dword 12 (3.3.6 Write)
NVME_READ, NVME_FUA = 0x02, 1 << 30
# SBC-3, 5.11 READ (10), 5.32 WRITE (10): FUA is bit 3 of byte 1; 5.22 SYNCHRONIZE CACHE (10)
READ_10, WRITE_10, SYNCHRONIZE_CACHE, SCSI_FUA = 0x28, 0x2A, 0x35, 1 << 3
# include/scsi/sg.h: dxfer_direction
NO_DATA, TO_DEVICE, FROM_DEVICE = -1, -2, -3


def force_unit_access(request):
    """See the top of this file.  Raises system.Failure where a command fails."""
    path = os.path.realpath(request["node"])
    size = int(system.queue(path, "logical_block_size"))
    disk = (Nvme if os.path.basename(path).startswith("nvme") else Scsi)(path, size)
    block = disk.read()
    disk.write(block)
    if request.get("flushed"):
        disk.flush()
    disk.write(block, fua=True)
    return {}


class Nvme:
    """The first block of a namespace without metadata."""

    def __init__(self, path, size):
        self._path, self._size = path, size
        self._nsid = int(nvme.read(f"{nvme.BLOCK}/{os.path.basename(path)}/nsid"))

    def read(self):
        block = array.array("B", bytes(self._size))
        self._command("read", NVME_READ, buffer=block)
        return block

    def write(self, block, fua=False):
        self._command("write", nvme.WRITE, (0, 0, NVME_FUA if fua else 0, 0, 0, 0), block)

    def flush(self):
        self._command("flush", nvme.FLUSH)

    def _command(self, what, opcode, cdw=(0,) * 6, buffer=None):
        node = self._path.replace("/nvme", "/ng")
        data = array.array("B") if buffer is None else buffer
        status, _, _ = nvme.command(node, nvme.IO_CMD, opcode, self._nsid, cdw, data)
        if status:
            raise system.Failure(f"{what} of {node}", f"status {status:#x}")


class Scsi:
    """The first block of a SCSI disk."""

    def __init__(self, path, size):
        self._path, self._size = path, size

    def read(self):
        block = array.array("B", bytes(self._size))
        self._command("read", FROM_DEVICE, struct.pack(">BBIxHx", READ_10, 0, 0, 1), block)
        return block

    def write(self, block, fua=False):
        bits = SCSI_FUA if fua else 0
        self._command("write", TO_DEVICE, struct.pack(">BBIxHx", WRITE_10, bits, 0, 1), block)

    def flush(self):
        command = struct.pack(">BBIxHx", SYNCHRONIZE_CACHE, 0, 0, 0)
        self._command("flush", NO_DATA, command, array.array("B"))

    def _command(self, what, direction, packed, data):
        # Read-only, which is enough for root: udev probes a disk that was open for writing.
        fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            for _ in range(xcopy.MOST_ATTENTIONS):
                *ends, sense = self._send(fd, direction, packed, data)
                attention = ends[0] == xcopy.CHECK_CONDITION
                if not attention or xcopy.sense(sense)[0] != xcopy.UNIT_ATTENTION:
                    break
        finally:
            os.close(fd)
        if any(ends):
            said = "SCSI status {:02X}h, host status {:02X}h, driver status {:02X}h".format(*ends)
            raise system.Failure(f"{what} of {self._path}", said)

    @staticmethod
    def _send(fd, direction, packed, data):
        command, said = array.array("B", packed), array.array("B", bytes(xcopy.SENSE_SIZE))
        addresses = [each.buffer_info()[0] if each else 0 for each in (data, command, said)]
        header = bytearray(
            xcopy.SG_HEADER.pack(
                ord("S"), direction, len(command), len(said), 0, len(data), *addresses,
                xcopy.TIMEOUT_MS, *[0] * 12,
            )
        )  # fmt: skip
        fcntl.ioctl(fd, xcopy.SG_IO, header)
        status, host, driver = (xcopy.SG_HEADER.unpack(header)[at] for at in (13, 17, 18))
        return status, host, driver, said.tobytes()
