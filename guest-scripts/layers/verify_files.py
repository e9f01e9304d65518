# SPDX-License-Identifier: GPL-2.0-or-later
"""Verify a file system: write a file, read it past the page cache, copy it, compare."""

import errno
import os

import system
from direct import Direct
from pattern import Mismatch, Pattern
from probe_files import shared

BLOCK = 4096
COUNT = 64
SCRUB = 120.0
"""Seconds for reading all copies of everything, under emulation."""


def verify(mount):
    """Verify a mounted file system; what was done, in words."""
    if os.path.isdir(f"{mount}/seq") and os.path.exists(f"{mount}/seq/0"):
        return _zone_files(f"{mount}/seq/0", f"{mount}/seq/1")
    source, target = (f"{mount}/.lab-verify-{name}" for name in ("source", "target"))
    try:
        return _files(source, target) + _scrubbed(mount)
    finally:
        for path in (source, target):
            if os.path.exists(path):
                os.unlink(path)


def _files(source, target):
    pattern, size = Pattern(BLOCK), COUNT * BLOCK
    with open(source, "w+b", 0) as one, open(target, "w+b", 0) as two:
        one.write(pattern.blocks(0, COUNT))
        os.fsync(one.fileno())
        pattern.check(_read(source, size), 0, COUNT, "in the file")
        how = _copy(one, two, size)
        os.fsync(two.fileno())
        pattern.check(_read(target, size), 0, COUNT, "in the copy")
        pattern.check(_read(source, size), 0, COUNT, "in the copy's source")
    return f"{size >> 10} KiB written, synced and read; {how}"


def _scrubbed(mount):
    """Have every copy that a btrfs of several devices keeps read and checked; what was done."""
    if system.mounted_type(mount) != "btrfs":
        return ""
    devices = system.run(["btrfs", "filesystem", "show", mount]).count("devid")
    if devices < 2:
        return ""
    system.run(["btrfs", "scrub", "start", "-B", mount], SCRUB)
    return f"; {devices} devices scrubbed"


def _copy(source, target, size):
    before = server_copies(target.name)
    if not _copied(source.fileno(), target.fileno(), size):
        os.pwrite(target.fileno(), os.pread(source.fileno(), size, 0), 0)
        return "no offload: read and written"
    os.fsync(target.fileno())
    if shared(target):
        return "copy_file_range (reflink)"
    if server_copies(target.name) > before:
        return "copy_file_range (copied by the NFS server)"
    return "copy_file_range (no offload: the kernel read and wrote)"


def _copied(source, target, size):
    """Whether copy_file_range copied a file to an empty one; False where it cannot."""
    try:
        done = os.copy_file_range(source, target, size, 0, 0)
    except OSError as problem:
        if problem.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.EXDEV):
            raise
        return False
    if done != size:
        raise Mismatch(f"copy_file_range copied {done} of {size} bytes")
    return True


def server_copies(path):
    """How many COPY operations the NFS mount of a file has sent; 0 for other file systems."""
    with open("/proc/self/mountstats") as file:
        return copies_in(file.read(), os.path.dirname(path))


def copies_in(statistics, mount):
    """The number of COPY and CLONE operations of a mount in /proc/self/mountstats
    (net/sunrpc/stats.c: the first figure of an operation's line counts it)."""
    here, count = False, 0
    for line in statistics.splitlines():
        words = line.split()
        if line.startswith("device "):
            here = words[4] == mount
        elif here and words and words[0] in ("COPY:", "CLONE:"):
            count += int(words[1])
    return count


def _read(path, size):
    """A file's content past the page cache, where the file system lets us."""
    try:
        with Direct(path, write=False) as file:
            return file.read(0, size)
    except OSError as problem:
        if problem.errno != errno.EINVAL:
            raise
    with open(path, "rb", 0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return file.read(size)


def _zone_files(source, target):
    """The first two sequential zones of zonefs, as files; empty afterwards."""
    pattern = Pattern(os.stat(source).st_blksize)
    size = COUNT * pattern.size
    for path in (source, target):
        os.truncate(path, 0)
    with Direct(source) as one, Direct(target) as two:
        half = size // 2
        data = pattern.blocks(0, COUNT)
        one.write(0, data[:half])
        one.write(half, data[half:])
        one.sync()
        pattern.check(one.read(0, size), 0, COUNT, "in the zone's file")
        how = "copy_file_range (no offload: the kernel read and wrote)"
        if not _copied(one.fd, two.fd, size):
            how = "no offload: read and written"
            two.write(0, one.read(0, size))
        two.sync()
        pattern.check(two.read(0, size), 0, COUNT, "in the copy")
    for path in (source, target):
        os.truncate(path, 0)
    return f"{size >> 10} KiB appended and read; {how} to another zone"
