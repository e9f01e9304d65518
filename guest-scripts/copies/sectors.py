# SPDX-License-Identifier: GPL-2.0-or-later
"""Tagged sectors, written and read through the guest where only it knows where they lie.

Past the page cache, so that what is read is what the layers below hold; or through it, to see
whether a copy minds it.  Files stay open from one request to the next: when a block device that was
open for writing is closed, udev probes it, and its reads would meet the fault.

Requests:  {"op": "sectors.write", "node": PATH, "offset": BYTES, "data": DATA, "size": BYTES}
           {"op": "sectors.read", "node": PATH, "offset": BYTES, "bytes": N, "unit": BYTES}
           {"op": "sectors.empty_cache", "node": PATH}
           {"op": "sectors.write_cached", "node": PATH, "offset": BYTES, "data": DATA, "map": MAP}
           {"op": "sectors.read_mapped", "node": PATH, "offset": BYTES, "bytes": N, "unit": BYTES}
           {"op": "sectors.read_cached", "node": PATH, "offset": BYTES, "bytes": N, "unit": BYTES}
           {"op": "sectors.forget", "node": PATH}
           {"op": "sectors.zone", "node": PATH, "offset": BYTES}
           {"op": "sectors.reset_zone", "node": PATH, "offset": BYTES}
Answers:   {"data": DATA, "unreadable": [[offset, bytes, errno], ...]}
           {"as_moved": true, "unreadable": []}
           {"start": BYTES, "pointer": BYTES, "capacity": BYTES, "condition": N}

DATA is base64 of zlib: tags repeat themselves.  `size` makes a file of that many bytes.  MAP says
whether every other page is written by mapped memory, which "sectors.read_mapped" reads, and leaves.
A read may have "moves": [[from, to, bytes], ...]: if what is read is what was last written there
with these parts of it moved, it need not be told, which takes as long as all else under emulation.
"""

import base64
import contextlib
import errno
import fcntl
import mmap
import os
import struct
import zlib

import ioctls
from direct import Direct
from mapped import Mapping

# include/uapi/linux/fs.h: _IOWR('X', 119, int), _IOWR('X', 120, int)
FIFREEZE, FITHAW = 0xC0045877, 0xC0045878
# include/uapi/linux/fs.h: _IO(0x12, 97)
BLKFLSBUF = 0x1261
PIECE = 1 << 20
"""Bytes read or written at once."""

opened, cached, mapped = {}, {}, {}
"""By node: files past the page cache, descriptors through it, and what is mapped of it."""

written = {}
"""By node where data were last written, and which."""


def write(request):
    """Write data, on the medium when this returns, and let the file system come to rest."""
    data = _given(request)
    target = _open(request["node"], request.get("size"))
    for at in range(0, len(data), PIECE):
        target.write(request["offset"] + at, data[at : at + PIECE])
    target.sync()
    if request.get("size"):
        rest(target.fd)
    return {}


def _given(request):
    data = zlib.decompress(base64.b64decode(request["data"]))
    written[request["node"]] = (request["offset"], data)
    return data


def _moved(request):
    """What was last written to the place, with the moves made; b"" if that was another place."""
    at, data = written.get(request["node"], (0, b""))
    if (at, len(data)) != (request["offset"], request["bytes"]):
        return b""
    moved = bytearray(data)
    for start, to, size in request["moves"]:
        moved[to - at : to - at + size] = data[start - at : start - at + size]
    return moved


def rest(fd):
    """Let a file system write out all it has to, its log included: what comes to the disk from
    now on is of the copy.  Not every file system can."""
    try:
        fcntl.ioctl(fd, FIFREEZE, struct.pack("i", 0))
    except OSError as problem:
        if problem.errno not in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL):
            raise
        os.sync()
        return
    fcntl.ioctl(fd, FITHAW, struct.pack("i", 0))


def read(request):
    """Read data; what cannot be read is told, and is zeroes in the data."""
    return _pieces(_open(request["node"], None).read, request)


def _pieces(read_at, request):
    """All that can be read, block by block where not at once."""
    first, size, unit = request["offset"], request["bytes"], request["unit"]
    data, unreadable = bytearray(), []
    for at in range(first, first + size, PIECE):
        length = min(PIECE, first + size - at)
        piece = _attempt(read_at, at, length)
        if len(piece) == length:
            data += piece
            continue
        # It ends there, or what comes next cannot be read: the next read tells.
        for block in range(at, at + length, unit):
            # The last may be less: copies at a limit may be of smaller blocks than all others.
            part = min(unit, at + length - block)
            try:
                data += read_at(block, part).ljust(part, b"\0")
            except OSError as problem:
                data += bytes(part)
                unreadable.append([block, part, problem.errno])
    if "moves" in request and not unreadable and data == _moved(request):
        return {"as_moved": True, "unreadable": []}
    packed = base64.b64encode(zlib.compress(bytes(data), 1)).decode()
    return {"data": packed, "unreadable": unreadable}


def _attempt(read_at, offset, size):
    """What can be read at once; nothing where that fails."""
    try:
        return read_at(offset, size)
    except OSError:
        return b""


def empty_cache(request):
    """Have the page cache write what it has, and forget all of it; the file stays open, since the
    last to close a block device takes its page cache along."""
    fd = _open_anew(request["node"])
    # Of what earlier copies have left: an error there was theirs.
    with contextlib.suppress(OSError):
        os.fsync(fd)
    _forget(fd)
    return {}


def write_cached(request):
    """Write data to the page cache, where it stays unless the kernel sees to it, and read it; every
    other page only by memory that is mapped, if that is asked for."""
    data = _given(request)
    node, at = request["node"], request["offset"]
    fd, by_memory = _open_anew(node), range(0, len(data), 2 * mmap.PAGESIZE)
    first = bytearray(data)
    for start in by_memory if request["map"] else ():
        page = slice(start, min(start + mmap.PAGESIZE, len(data)))
        first[page] = bytes(page.stop - page.start)
    for start in range(0, len(data), PIECE):
        os.pwrite(fd, first[start : start + PIECE], at + start)
    if request["map"]:
        memory = mapped[node] = Mapping(fd, at, len(data))
        for start in by_memory:
            memory.write(at + start, data[start : start + mmap.PAGESIZE])
        memory.read(at, len(data))
    os.pread(fd, len(data), at)
    return {}


def read_mapped(request):
    """Read the memory that was mapped when the page cache was written to, for the last time."""
    answer = _pieces(mapped[request["node"]].read, request)
    _unmap(request["node"])
    return answer


def _unmap(node):
    if node in mapped:
        mapped.pop(node).close()


def read_cached(request):
    """Read data from the page cache, as any program would; then let it go to the medium, and the
    page cache forget it."""
    fd = _open_cached(request["node"])
    answer = _pieces(lambda offset, size: os.pread(fd, size, offset), request)
    os.fsync(fd)
    _forget(fd)
    return answer


def _forget(fd):
    """Let the page cache forget all that it has of a file: of a part it would keep what lies partly
    outside of that."""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def forget(request):
    """Have the page cache of a block device write what it has, and forget all of it."""
    fcntl.ioctl(_open_cached(request["node"]), BLKFLSBUF, 0)
    return {}


def close():
    """Close all files, so that what they lie on can be taken down."""
    for node in list(mapped):
        _unmap(node)
    for node in list(opened):
        opened.pop(node).__exit__()
    for node in list(cached):
        os.close(cached.pop(node))


def zone(request):
    """The zone of a device that holds an offset."""
    found = _zone(request)
    return {
        "start": found.start,
        "pointer": found.pointer,
        "capacity": found.capacity,
        "condition": found.condition,
    }


def reset_zone(request):
    """Empty the zone that holds an offset."""
    ioctls.reset_zone(_open(request["node"], None).fd, _zone(request))
    return {}


def _zone(request):
    return ioctls.zones(_open(request["node"], None).fd, request["offset"], 1)[0]


def _open(node, size):
    """A file or device, open past the page cache; a file is made if a size is given."""
    if node not in opened:
        if size and not os.path.exists(node):
            with open(node, "wb") as file:
                file.truncate(size)
        opened[node] = Direct(node)
    return opened[node]


def _open_anew(node):
    """What _open_cached() gives, opened now: an older descriptor would yet be told of errors that
    are past."""
    _unmap(node)
    old = cached.pop(node, None)
    fd = _open_cached(node)
    if old is not None:
        os.close(old)
    return fd


def _open_cached(node):
    """A file or device that is there, open as any program opens it."""
    if node not in cached:
        cached[node] = os.open(node, os.O_RDWR | os.O_CLOEXEC)
    return cached[node]
