# SPDX-License-Identifier: GPL-2.0-or-later
"""What a file system offers for copies: tried on files of its own, which are then removed."""

import os

import ioctls
import system
from capability import Lacks, Lies, attempt, result
from direct import Direct
from pattern import Pattern

SIZE = 65536
BLOCK = 4096


def directory(mount, kind, why_not=""):
    """Capabilities of the file system of that type mounted there; `why_not`: why nothing may be
    tried on it."""
    found = [result("mount options", True, options(mount))]
    if why_not:
        return found + [result(name, None, f"not tried: {why_not}") for name in TRIALS]
    if kind == "zonefs":
        return found  # its files are the zones: none can be made
    source, target = (f"{mount}/.lab-probe-{name}" for name in ("source", "target"))
    try:
        found += [attempt(name, _trial, trial, source, target) for name, trial in TRIALS.items()]
    finally:
        for path in (source, target):
            if os.path.exists(path):
                os.unlink(path)
    return found


def options(mount):
    """The mount options in effect, the file system's own ones included (proc_pid_mountinfo(5))."""
    with open("/proc/self/mountinfo") as file:
        for line in file:
            fields = line.split()
            if fields[4] == mount:
                own = fields[fields.index("-") + 3]
                return ",".join(dict.fromkeys(f"{fields[5]},{own}".split(",")))
    return ""


def _trial(trial, source, target):
    """Run a trial with a file with a pattern, its content, and an empty file."""
    data = Pattern(BLOCK).blocks(0, SIZE // BLOCK)
    with open(source, "w+b", 0) as one, open(target, "w+b", 0) as two:
        one.write(data)
        os.fsync(one.fileno())
        return trial(one, two, data)


def _compare(file, data):
    """Raise Lies unless a file has that content."""
    if os.pread(file.fileno(), len(data) + 1, 0) != data:
        raise Lies("success reported, and the content is not what it should be")


def _copy_file_range(source, target, data):
    done = os.copy_file_range(source.fileno(), target.fileno(), SIZE, 0, 0)
    if done != SIZE:
        raise Lacks(f"{done} of {SIZE} bytes")
    _compare(target, data)
    return f"{done} bytes, compared, {'blocks shared' if shared(target) else 'no block shared'}"


def shared(file):
    """Whether a file shares its first blocks with another."""
    try:
        return ioctls.shares_blocks(file.fileno())
    except OSError:  # no FIEMAP, as on NFS
        return False


def _clone(source, target, data):
    ioctls.clone(source.fileno(), target.fileno())
    _compare(target, data)
    return f"{SIZE} bytes, compared"


def _clone_range(source, target, data):
    ioctls.clone_range(source.fileno(), BLOCK, BLOCK, target.fileno(), 0)
    _compare(target, data[BLOCK : 2 * BLOCK])
    return f"{BLOCK} bytes, compared"


def _dedupe(source, target, data):
    target.write(data)
    os.fsync(target.fileno())
    done = ioctls.dedupe(source.fileno(), target.fileno(), SIZE)
    if done != SIZE:
        raise Lacks(f"{done} of {SIZE} bytes of the same content")
    return f"{done} bytes"


def _punch(source, target, data):
    ioctls.punch_hole(source.fileno(), BLOCK, BLOCK)
    _compare(source, data[:BLOCK] + bytes(BLOCK) + data[2 * BLOCK :])
    return "compared"


def _collapse(source, target, data):
    # No ioctl does this, and neither does Python.
    part = ["--offset", f"{BLOCK}", "--length", f"{BLOCK}"]
    system.run(["fallocate", "--collapse-range", *part, source.name])
    _compare(source, data[:BLOCK] + data[2 * BLOCK :])
    return "compared"


def _direct(source, target, data):
    with Direct(target.name) as file:
        file.write(0, data)
        if file.read(0, SIZE) != data:
            raise Lacks("what was read is not what was written")
    return "written and read"


def _attribute(source, target, data):
    os.setxattr(source.name, "user.lab", b"tried")
    if os.getxattr(source.name, "user.lab") != b"tried":
        raise Lacks("another value than was set")
    return "set and read"


TRIALS = {
    "copy_file_range": _copy_file_range,
    "FICLONE": _clone,
    "FICLONERANGE": _clone_range,
    "FIDEDUPERANGE": _dedupe,
    "punch hole": _punch,
    "collapse range": _collapse,
    "O_DIRECT": _direct,
    "user xattr": _attribute,
}
