# SPDX-License-Identifier: GPL-2.0-or-later
"""NVMe commands to a namespace and its controller, by passthrough."""

import array
import fcntl
import os
import struct

import system

# include/uapi/linux/nvme_ioctl.h: struct nvme_passthru_cmd
PASSTHRU = struct.Struct("<BBHIIIQQIIIIIIIIII")
ADMIN_CMD, IO_CMD = 0xC0484E41, 0xC0484E43
# NVMe Base 2.1, 5.1.13 Identify, 5.1.12 Get Features
IDENTIFY, GET_FEATURES = 0x06, 0x0A
CNS_NAMESPACE, CNS_CONTROLLER, CNS_ZONED = 0, 1, 5
"""Structures of Identify; the third with the command set's number, 2 (zoned namespaces)."""
ZONED = 2
TIMEOUT_MS = 60_000
# CRD, More and DNR lie above (NVMe Base 2.1, 4.2.3 Status Field, shifted by the phase tag)
STATUS = 0x7FF
# NVMe Base 2.1, 4.2.3.1 and 4.2.3.2; NVM Command Set 1.1, 3.1.2.2
STATUS_NAMES = {
    0x001: "Invalid Command Opcode",
    0x002: "Invalid Field in Command",
    0x080: "LBA Out of Range",
    0x183: "Command Size Limit Exceeded",
}


def identify(name, structure):
    """The 4096 bytes of a structure of Identify, for the namespace with that block device.

    Raises OSError and Failure.
    """
    data = array.array("B", bytes(4096))
    # CNS in Dword 10, and the Command Set Identifier in bits 31:24 of Dword 11
    words = (structure, ZONED << 24 if structure == CNS_ZONED else 0)
    send(name, ADMIN_CMD, IDENTIFY, words, data, whole=structure == CNS_CONTROLLER)
    return data.tobytes()


def feature(name, number):
    """Dword 0 of a feature of the controller.  Raises OSError and Failure."""
    return send(name, ADMIN_CMD, GET_FEATURES, (number,), whole=True)


def send(name, number, opcode, words, data=None, whole=False):
    """Send a command with the Command Dwords 10 and on; Dword 0 of its completion.

    It names the namespace with that block device, or, `whole`, none.  Through the namespace's
    character device (/dev/ng0n1 for /dev/nvme0n1): when a block device that was open for writing is
    closed, udev probes it.  Raises OSError and Failure.
    """
    address, length = data.buffer_info() if data else (0, 0)
    nsid = 0 if whole else int(system.read(f"{system.BLOCK}/{name}/nsid"))
    words = (*words, *[0] * (6 - len(words)))
    command = bytearray(
        PASSTHRU.pack(opcode, 0, 0, nsid, 0, 0, 0, address, 0, length, *words, TIMEOUT_MS, 0)
    )
    fd = os.open(f"/dev/ng{name.removeprefix('nvme')}", os.O_RDWR | os.O_CLOEXEC)
    try:
        status = fcntl.ioctl(fd, number, command)
    finally:
        os.close(fd)
    if status:
        # NVMe Base 2.1, 4.2.3: Status Code Type in bits 10:8, Status Code below
        code = status & STATUS
        said = f"status {code:03x}h {STATUS_NAMES.get(code, '')}".rstrip()
        raise system.Failure(f"NVMe command {opcode:02x}h", said)
    return PASSTHRU.unpack(command)[-1]
