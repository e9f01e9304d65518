# SPDX-License-Identifier: GPL-2.0-or-later
"""Extended Copy between SCSI disks: the copy is made by the target that both belong to."""

import array
import fcntl
import os
import struct

import system

# SPC-4, 6.4 EXTENDED COPY(LID1): operation code 83h, service action 00h
EXTENDED_COPY = 0x83
# SPC-4, 6.4.3.2: no list identifier, and nothing is held for RECEIVE COPY RESULTS
NO_LIST = 3 << 3
# SPC-4, 6.4.5.2 Identification descriptor CSCD descriptor; 6.4.6.2 block device to block device
IDENTIFICATION, BLOCK_TO_BLOCK = 0xE4, 0x02
# SPC-4, 7.8.6 Device Identification VPD page: designator type NAA, binary, of the logical unit
NAA, BINARY = 3, 1
THIRD_PARTY_COPY = 1 << 3
"""3PC in byte 5 of the standard INQUIRY data (SPC-4, 6.6.2)."""

MOST_BLOCKS = 0x8000
"""Blocks in one command: the field has 16 bits, and a power of two keeps what follows aligned."""

# include/scsi/sg.h: struct sg_io_hdr
SG_IO = 0x2285
SG_HEADER = struct.Struct("<iiBBHIQQQIIi4xQBBBBHHiII4x")
TO_DEVICE = -2
TIMEOUT_MS = 60_000
SENSE_SIZE = 96

CHECK_CONDITION = 0x02
UNIT_ATTENTION = 0x6
MOST_ATTENTIONS = 4
"""News that a disk tells before it carries out a command, such as that there are more disks."""


def supported(device):
    """Whether a block device says that it has third-party copy commands."""
    try:
        with open(f"{_sysfs(device)}/inquiry", "rb") as file:
            inquiry = file.read()
    except FileNotFoundError:  # no whole SCSI disk
        return False
    return len(inquiry) > 5 and bool(inquiry[5] & THIRD_PARTY_COPY)


def copy(source_device, target_device, source_lba, target_lba, blocks):
    """Copy blocks within a SCSI disk, or to another of the same target, by Extended Copy.

    Addresses and `blocks` count logical blocks, of the same size on both.  The command goes to
    the source.  Raises Failure with sense key, ASC and ASCQ, OSError when it cannot be sent.
    """
    source, target = _designator_of(source_device), _designator_of(target_device)
    size = int(system.queue(source_device, "logical_block_size"))
    # Read-only, which is enough for root: udev probes a disk that was open for writing.
    fd = os.open(source_device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for at in range(0, blocks, MOST_BLOCKS):
            part = segment(source_lba + at, target_lba + at, min(MOST_BLOCKS, blocks - at))
            _send(fd, parameter_list(source, target, size, part))
    finally:
        os.close(fd)


def designator(page):
    """The NAA identifier of a logical unit in its VPD page 83h; None if there is none."""
    (length,) = struct.unpack_from(">H", page, 2)
    at, end = 4, 4 + length
    while at + 4 <= end:
        # Code set in bits 3:0 of byte 0; association (5:4, 0 is the unit) and type (3:0) of byte 1
        code_set, kind, size = page[at] & 0xF, page[at + 1] & 0x3F, page[at + 3]
        if (code_set, kind) == (BINARY, NAA):
            return page[at + 4 : at + 4 + size]
        at += 4 + size
    return None


def parameter_list(source, target, block_size, copied):
    """The parameter list (SPC-4, 6.4.3.1): a header of 16 bytes, two CSCD descriptors, a segment
    descriptor, and no inline data."""
    cscds = cscd(source, block_size) + cscd(target, block_size)
    return struct.pack(">BBH4xII", 0, NO_LIST, len(cscds), len(copied), 0) + cscds + copied


def cscd(naa, block_size):
    """An identification descriptor CSCD descriptor: 32 bytes.

    Of a direct access block device (type 0): code set at byte 4, association and type at 5,
    length at 7, the designator from 8, bytes of a block in the 24 bits at 29.
    """
    return struct.pack(
        ">BBHBBBB20sI", IDENTIFICATION, 0, 0, BINARY, NAA, 0, len(naa), naa, block_size
    )


def segment(source_lba, target_lba, blocks):
    """A block device to block device segment descriptor: 28 bytes.

    From CSCD descriptor 0 to 1; the number of blocks at byte 10, the addresses at 12 and 20.
    """
    return struct.pack(">BBHHH2xHQQ", BLOCK_TO_BLOCK, 0, 0x18, 0, 1, blocks, source_lba, target_lba)


def sense(data):
    """Sense key, additional sense code and its qualifier (SPC-4, 4.5: descriptor and fixed)."""
    if data[0] & 0x7F in (0x72, 0x73):
        return data[1] & 0xF, data[2], data[3]
    return data[2] & 0xF, data[12], data[13]


def _sysfs(device):
    return f"{system.BLOCK}/{system.block_name(device)}/device"


def _designator_of(device):
    try:
        with open(f"{_sysfs(device)}/vpd_pg83", "rb") as file:
            found = designator(file.read())
    except FileNotFoundError:
        found = None
    if not found:
        raise system.Failure(f"Extended Copy with {device}", "the disk has no NAA identifier")
    return found


def _send(fd, parameters):
    """Send an Extended Copy; once more after each unit attention, which stands in for it."""
    for _ in range(MOST_ATTENTIONS):
        status, host, driver, data = _send_once(fd, parameters)
        if status != CHECK_CONDITION or sense(data)[0] != UNIT_ATTENTION:
            break
    if status == CHECK_CONDITION:
        key, code, qualifier = sense(data)
        said = f"sense key {key:X}h, ASC {code:02X}h, ASCQ {qualifier:02X}h"
    elif status or host or driver:
        said = f"SCSI status {status:02X}h, host status {host:02X}h, driver status {driver:02X}h"
    else:
        return
    raise system.Failure("Extended Copy", said)


def _send_once(fd, parameters):
    """SCSI, host and driver status of an Extended Copy, and its sense data."""
    command = array.array("B", struct.pack(">B9xIBB", EXTENDED_COPY, len(parameters), 0, 0))
    data, said = array.array("B", parameters), array.array("B", bytes(SENSE_SIZE))
    addresses = [buffer.buffer_info()[0] for buffer in (data, command, said)]
    header = bytearray(
        SG_HEADER.pack(
            ord("S"), TO_DEVICE, len(command), SENSE_SIZE, 0, len(parameters), *addresses,
            TIMEOUT_MS, *[0] * 12,
        )
    )  # fmt: skip
    fcntl.ioctl(fd, SG_IO, header)
    status, host, driver = (SG_HEADER.unpack(header)[at] for at in (13, 17, 18))
    return status, host, driver, said.tobytes()
