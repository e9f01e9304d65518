# SPDX-License-Identifier: GPL-2.0-or-later
"""NVMe Copy commands by passthrough ioctl: the paths nvme-copy, nvme-cross-ns and zns-copy.

By hand:   nvme-copy --serial LABNVME0 --nsid 1 --to 4096 0+64 128+64
           one line: {"status": 0, "dw0": 0, "seconds": 0.0021}

Requests:  {"op": "nvme.copy", "path": "nvme-copy", "serial": S, "nsid": N, "sdlba": D,
            "ranges": [[slba, blocks], ...], "source": N, "format": 0, "fua": false, "prinfo": P,
            "timeout_ms": T, "emulate": false}
           {"op": "nvme.flush", "serial": S, "nsid": N}
           {"op": "nvme.write_block", "serial": S, "nsid": N, "lba": L}      one block of zeroes
Answers:   {"status": S, "dw0": N, "seconds": T}

`prinfo` are the four bits of PRINFOR and PRINFOW; by default what the driver itself would ask
for: on a namespace with protection information the device checks it when it reads, and makes it
anew for the destination when it writes.  `source` is the namespace to copy from if it is another
one: that takes descriptor format 2, which is the default then.  Protection information with a
guard of 64 bits takes format 1, which is the default there.

`status` is the Status Field without phase, CRD, More and DNR bits; the lab does not retry.
"""

import array
import fcntl
import json
import os
import struct
import sys
import time

import allocations
from direct import Direct
from patience import Patience

# include/uapi/linux/nvme_ioctl.h: struct nvme_passthru_cmd, NVME_IOCTL_IO_CMD, ..._ADMIN_CMD
PASSTHRU = struct.Struct("<BBHIIIQQIIIIIIIIII")
IO_CMD, ADMIN_CMD = 0xC0484E43, 0xC0484E41
# NVM Command Set 1.1: opcodes 3.3.2 Copy and 3.3.6 Write, NVMe Base 7.2 Flush
COPY, FLUSH, WRITE = 0x19, 0x00, 0x01
# NVMe Base 2.1: admin opcodes 5.1.12 Get Features, 5.1.25 Set Features; feature 5.1.25.1.14
SET_FEATURES, GET_FEATURES, HOST_BEHAVIOR = 0x09, 0x0A, 0x16
FORMATS_2_3 = 1 << 2 | 1 << 3
# CRD, More and DNR lie above (NVMe Base 2.1, 4.2.3 Status Field, shifted by the phase tag)
STATUS = 0x7FF
# PRINFO (NVM Command Set 1.1, Figure 12): the device strips and makes protection information
# (PRACT), and checks guard and reference tag.  With PRACT it must be set for reading and writing.
PRACT, GUARD, REFTAG = 8, 4, 1
BLOCK, DEV = "/sys/class/block", "/dev"
# Longer than any hold: the lab decides how long a copy may take, not the driver.
TIMEOUT_MS = 24 * 3600 * 1000


def find(serial, nsid, deadline=10.0):
    """The block device of a namespace, by its controller's serial; never by its position.

    The first of them: a namespace that is reached through a target as well has the same serial.
    """
    patience = Patience(deadline)
    while True:
        found = {name: identity(name) for name in sorted(os.listdir(BLOCK))}
        for name, known in found.items():
            if known == (serial, str(nsid)):
                return f"{DEV}/{name}"
        if patience.over():
            there = ", ".join(" ".join(known) for known in found.values() if known) or "none"
            raise LookupError(f"no namespace {nsid} with serial {serial}; there are: {there}")
        time.sleep(0.02)


def identity(name):
    """Serial and namespace id of a block device, as text; None if it is no NVMe namespace.

    A path of a multipath namespace (nvme0c1n1) is hidden behind the namespace and has no node.
    """
    if not name.startswith("nvme") or "c" in name or not os.path.exists(f"{DEV}/{name}"):
        return None
    try:
        return read(f"{BLOCK}/{name}/device/serial"), read(f"{BLOCK}/{name}/nsid")
    except OSError:  # a partition, or gone meanwhile
        return None


def read(path):
    """The content of a file in sysfs, without the blanks that pad a serial."""
    with open(path) as file:
        return file.read().strip()


def passthrough(path, opcode, nsid, cdw=(0,) * 6, data=b"", timeout=TIMEOUT_MS):
    """Send one I/O command and wait for it: (status, dw0, seconds).

    Through the namespace's character device (/dev/ng0n1 for /dev/nvme0n1): when a block device
    that was open for writing is closed, udev probes it, and its reads would meet the fault.
    """
    node = path.replace("/nvme", "/ng")
    return command(node, IO_CMD, opcode, nsid, cdw, array.array("B", data), timeout)


def command(node, number, opcode, nsid, cdw, buffer, timeout=TIMEOUT_MS):
    """Send one command with a buffer, which the device may fill: (status, dw0, seconds)."""
    address = buffer.buffer_info()[0] if buffer else 0
    packed = bytearray(
        PASSTHRU.pack(opcode, 0, 0, nsid, 0, 0, 0, address, 0, len(buffer), *cdw, timeout, 0)
    )
    fd = os.open(node, os.O_RDWR | os.O_CLOEXEC)
    try:
        start = time.monotonic()
        with allocations.counted():
            status = fcntl.ioctl(fd, number, packed)
        seconds = time.monotonic() - start
    finally:
        os.close(fd)
    return status & STATUS, PASSTHRU.unpack(packed)[-1], seconds


def enable_format_2(path):
    """Let the controllers of a namespace take descriptor formats 2 and 3, as far as they can.

    Host Behavior Support holds at bytes 5:4 a bit for each format (Copy Descriptor Formats
    Enable); what it says otherwise is the driver's.  Linux may keep the whole feature to its
    driver (6.12.117 does: EACCES), which is then what stands in the way.
    """
    above = os.path.realpath(f"{BLOCK}/{os.path.basename(path)}/device")
    # With multipath the namespace hangs on the subsystem, which has links to its controllers.
    names = [name for name in os.listdir(above) if name[:4] == "nvme" and name[4:].isdigit()]
    for name in names or [os.path.basename(above)]:
        node, cdw = f"{DEV}/{name}", (HOST_BEHAVIOR, 0, 0, 0, 0, 0)
        behavior = array.array("B", bytes(512))
        command(node, ADMIN_CMD, GET_FEATURES, 0, cdw, behavior)
        if behavior[4] & FORMATS_2_3 == FORMATS_2_3:
            continue
        behavior[4] |= FORMATS_2_3
        try:
            command(node, ADMIN_CMD, SET_FEATURES, 0, cdw, behavior)
        except OSError as error:
            why = f"{error.strerror} (Set Features 16h, Host Behavior Support)"
            raise OSError(error.errno, why, node) from error


def descriptors(ranges, snsid=0, form=0):
    """Source Range Entries, descriptor format 0 (NVM Command Set 1.1, Figure 39): 32 bytes
    each, SLBA at byte 8, zero-based number of blocks at byte 16, at byte 24 the reference tag
    that protection information holds for the first block (of type 1: its address).  `snsid` at
    byte 0 is the source namespace of format 2, which is the same otherwise.  Entries of formats 1
    and 3 have 40 bytes, and in the 10 from byte 26 storage tag and reference tag; QEMU's storage
    tag has no bits, and the reference tag is the last 6, most significant byte first."""
    for _, blocks in ranges:
        if not 1 <= blocks <= 0x10000:
            raise ValueError(f"{blocks} blocks in a range; a descriptor holds 1 to 65536")
    return b"".join(
        struct.pack("<I4xQH12x", snsid, slba, blocks - 1)
        + (slba & 0xFFFFFFFFFFFF).to_bytes(6, "big")
        + bytes(4)
        if form & 1
        else struct.pack("<I4xQH6xI4x", snsid, slba, blocks - 1, slba & 0xFFFFFFFF)
        for slba, blocks in ranges
    )


def integrity(path):
    """What the kernel calls the metadata of a namespace; '' if it has no name for them."""
    try:
        return read(f"{BLOCK}/{os.path.basename(path)}/integrity/format")
    except OSError:  # a kernel without integrity support
        return ""


def protection(kind):
    """The bits of PRINFO that suit such metadata; 0 without protection information."""
    if "DIF-TYPE" not in kind:
        return 0
    # The reference tag of type 3 means nothing to the device.
    return PRACT | GUARD | (0 if "TYPE3" in kind else REFTAG)


def copy(request):
    """Carry out a copy: by the device, or (emulate) by reading and writing in the guest."""
    path, nsid = find(request["serial"], request["nsid"]), request["nsid"]
    if request.get("path") == "nvmet-passthrough":
        import passthru

        path = passthru.through(path)
    ranges, sdlba = request["ranges"], request["sdlba"]
    if request.get("emulate"):
        return emulate(path, ranges, sdlba)
    source, kind = request.get("source", nsid), integrity(path)
    form = request.get("format", 2 if source != nsid else 1 if kind.endswith("CRC64") else 0)
    if source != nsid:
        enable_format_2(path)
    prinfo = request.get("prinfo")
    if prinfo is None:
        prinfo = protection(kind)
    # NVM Command Set 1.1, 3.3.2: PRINFOR at bit 12, PRINFOW at bit 26, FUA at bit 30.
    options = form << 8 | prinfo << 12 | prinfo << 26 | bool(request.get("fua")) << 30
    # Dword 14: the reference tag of the first block written.
    tag = sdlba & 0xFFFFFFFF if prinfo else 0
    cdw = (sdlba & 0xFFFFFFFF, sdlba >> 32, len(ranges) - 1 | options, 0, tag, 0)
    data = descriptors(ranges, source if form >= 2 else 0, form)
    timeout = request.get("timeout_ms", TIMEOUT_MS)
    return answer(passthrough(path, COPY, nsid, cdw, data, timeout))


def emulate(path, ranges, sdlba):
    """What a caller without offload does: read and write every range, past the page cache."""
    name = os.path.basename(path)
    size = int(read(f"{BLOCK}/{name}/queue/logical_block_size"))
    start = time.monotonic()
    with Direct(path) as disk:
        for slba, blocks in ranges:
            disk.write(sdlba * size, disk.read(slba * size, blocks * size))
            sdlba += blocks
    return answer((0, 0, time.monotonic() - start))


def flush(request):
    """A Flush of the namespace's volatile write cache."""
    return answer(passthrough(find(request["serial"], request["nsid"]), FLUSH, request["nsid"]))


def write_block(request):
    """A Write of one block of zeroes: past the block layer, which keeps write pointers of its own
    and knows nothing of what a Copy has moved (Linux block/blk-zoned.c, since 6.10)."""
    path, lba = find(request["serial"], request["nsid"]), request["lba"]
    size = int(read(f"{BLOCK}/{os.path.basename(path)}/queue/logical_block_size"))
    cdw = (lba & 0xFFFFFFFF, lba >> 32, 0, 0, 0, 0)
    return answer(passthrough(path, WRITE, request["nsid"], cdw, bytes(size)))


def answer(result):
    """The three figures of a completion as the JSON object that is reported."""
    status, dw0, seconds = result
    return {"status": status, "dw0": dw0, "seconds": seconds}


def by_hand(argv):
    """Parse the command line and carry out one copy; see the top of this file."""
    import argparse  # 50 ms that a server need not wait for

    parser = argparse.ArgumentParser(
        prog="nvme-copy", description="Issue one NVMe Copy and report its end as JSON."
    )
    parser.add_argument("--serial", help="serial of the controller")
    parser.add_argument("--nsid", type=int, default=1)
    parser.add_argument("--source", type=int, help="namespace to copy from, if another one")
    parser.add_argument("--to", type=int, help="first destination block")
    parser.add_argument("--fua", action="store_true", help="set Force Unit Access")
    parser.add_argument("ranges", nargs="*", metavar="START+BLOCKS", help="source ranges, in order")
    args = parser.parse_args(argv)
    if args.serial is None or args.to is None or not args.ranges:
        parser.error("--serial, --to and at least one START+BLOCKS are needed")
    try:
        ranges = [[int(part) for part in text.split("+")] for text in args.ranges]
        if any(len(pair) != 2 for pair in ranges):
            raise ValueError
    except ValueError:
        parser.error("a range is START+BLOCKS, such as 128+64")
    try:
        print(
            json.dumps(
                copy(
                    {
                        "serial": args.serial,
                        "nsid": args.nsid,
                        "source": args.source or args.nsid,
                        "ranges": ranges,
                        "sdlba": args.to,
                        "fua": args.fua,
                    }
                )
            )
        )
    except (OSError, LookupError, ValueError) as error:
        sys.exit(f"nvme-copy: {error}")
