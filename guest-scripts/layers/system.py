# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's kernel and programs, as layers use them; every failure carries what was said."""

import errno
import os
import time

import udev
from patience import Patience, ended

BLOCK = "/sys/class/block"
CONFIGFS = "/sys/kernel/config"
MOUNTS = "/proc/self/mountinfo"
SECTOR = 512
TRUE, FALSE = ("y", "1", "on", "true"), ("n", "0", "off", "false")
"""What a file that says Y or N takes (kernel/params.c, param_set_bool)."""

PATIENCE = 20.0
"""Seconds to wait for something that the kernel or udev brings in a moment."""
LOOK = 0.02
"""Seconds between two looks for something."""


class Failure(Exception):
    """Something did not work: what was tried, what was said, the error's name and a cure, if
    known."""

    def __init__(self, tried, said, error="", cure=""):
        super().__init__(f"{tried}: {said}")
        self.tried = tried
        self.said = said
        self.error = error
        self.cure = cure


def errno_name(number):
    """The kernel's name of an errno; Python prefers ENOTSUP for the number of EOPNOTSUPP."""
    return "EOPNOTSUPP" if number == errno.EOPNOTSUPP else errno.errorcode.get(number, "")


def failure(tried, problem):
    """The Failure that an OSError makes, with the name of its errno."""
    name = errno_name(problem.errno or 0)
    return Failure(tried, f"{name} ({problem.strerror})" if name else str(problem), name)


def run(argv, deadline=60.0, text=None, well=(0,)):
    """Run a program to its end and return its stdout.

    Raises Failure unless it ends in time with an exit status among `well`; `deadline` is as that of
    wait_for.
    """
    # Here, because a guest without layers starts no program, and importing this costs a tenth of
    # a second under emulation.
    import subprocess

    tried = " ".join(argv)
    pipe = subprocess.PIPE
    began = time.monotonic()
    try:
        with subprocess.Popen(
            argv, stdin=None if text is None else pipe, stdout=pipe, stderr=pipe, text=True
        ) as running:
            out, err = ended(running, deadline, text)
    except FileNotFoundError:
        raise Failure(tried, f"{argv[0]} is not in this image") from None
    except subprocess.TimeoutExpired:
        raise Failure(tried, f"no end within {time.monotonic() - began:.0f} s") from None
    if running.returncode not in well:
        said = (err or out).strip()
        raise Failure(tried, said or f"exit status {running.returncode}", _errno_in(said))
    return out


def _errno_in(said):
    """The name of the errno whose message ends or stands in what a program said; '' if none."""
    for number in errno.errorcode:
        if os.strerror(number) in said:
            return errno_name(number)
    return ""


def works(argv):
    """Whether a program ends with status 0."""
    try:
        run(argv)
    except Failure:
        return False
    return True


def modprobe(*names):
    """Load modules, or find them built in.  Raises Failure."""
    for name in names:
        if not os.path.exists(f"/sys/module/{name.replace('-', '_')}"):
            run(["modprobe", name])


def insmod(name):
    """Load a module of the lab's own, unless that is done.  Raises Failure."""
    if not os.path.exists(f"/sys/module/{name.replace('-', '_')}"):
        # The host has compiled it for this kernel.
        run(["insmod", f"/run/lab/modules/{name}.ko"])


def is_mounted(path):
    """Whether something is mounted at a path; by the kernel's table, since a file system that is
    shut down fails the look at the path itself, which os.path.ismount() takes for a no."""
    return bool(mounted_type(path))


def mounted_type(path):
    """The type of what is mounted at a path (proc_pid_mountinfo(5)); '' if nothing."""
    found = ""
    with open(MOUNTS) as file:
        for fields in map(str.split, file):
            if _unescaped(fields[4]) == path:
                found = fields[fields.index("-") + 1]
    return found


def _unescaped(field):
    """A path as proc(5) writes it, with octal for blanks and the like."""
    first, *others = field.split("\\")
    return first + "".join(chr(int(part[:3], 8)) + part[3:] for part in others)


def mount_configfs():
    """Mount configfs, if it is not.  Raises Failure."""
    modprobe("configfs")
    if not is_mounted(CONFIGFS):
        run(["mount", "-t", "configfs", "configfs", CONFIGFS])


def read(path):
    """The content of a file in sysfs, without blanks at its ends."""
    with open(path) as file:
        return file.read().strip()


def write(path, value):
    """Write a value to a file of sysfs or configfs.  Raises Failure."""
    try:
        # Unbuffered: a buffered file tries a write that failed once more when it is closed.
        with open(path, "wb", buffering=0) as file:
            file.write(f"{value}".encode())
    except OSError as problem:
        raise failure(f"echo {value} > {path}", problem) from None


def put(path, value):
    """Write a value to a file of sysfs or configfs that says what it has, and see that it has it.

    Raises Failure.
    """
    write(path, value)
    if not same(str(value), read(path)):
        raise Failure(f"echo {value} > {path}", f"it says {read(path)} afterwards")


def same(asked, found):
    """Whether what was asked for is what a file of sysfs, configfs or /proc/sys says of it: a
    number in another base, a truth in another word and other blanks are the same."""
    if asked.split() == found.split():
        return True
    if found in ("Y", "N"):
        return asked.lower() in (TRUE if found == "Y" else FALSE)
    try:
        return int(asked, 0) == int(found, 0)
    except ValueError:
        return False


def make_directory(path):
    """Make a directory, of configfs too; it may be there.  Raises Failure."""
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as problem:
        raise failure(f"mkdir {path}", problem) from None


def remove_directory(path):
    """Remove a directory, of configfs too, if it is there.  Raises Failure."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return
    except OSError as problem:
        raise failure(f"rmdir {path}", problem) from None


def link(target, path):
    """Make a symbolic link, in configfs too, if it is not there.  Raises Failure."""
    if os.path.islink(path):
        return
    try:
        os.symlink(target, path)
    except OSError as problem:
        raise failure(f"ln -s {target} {path}", problem) from None


def unlink(path):
    """Remove a file or a link, in configfs too, if it is there.  Raises Failure."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as problem:
        raise failure(f"rm {path}", problem) from None


def wait_for(found, what, deadline=PATIENCE, cure=""):
    """Call `found` until it returns something true, and return that.  Raises Failure, which says
    what cures it, if that is known.

    `deadline` is in seconds of a guest that is not slowed down and in which a look takes no time:
    looks are counted, and not the clock alone, since each takes as much longer as the guest is
    slower.
    """
    patience, looks = Patience(deadline), 0
    while looks <= round(deadline / LOOK) or not patience.over():
        if result := found():
            return result
        time.sleep(LOOK)
        looks += 1
    raise Failure(what, f"not there within {patience}", cure=cure)


def settle():
    """Wait until udev has handled what happened so far: it opens every new block device."""
    patience = Patience(PATIENCE)
    while not udev.is_at_rest():
        try:
            run(["udevadm", "settle", f"--timeout={PATIENCE:.0f}"])
            break
        except Failure:
            if patience.over():
                raise
            time.sleep(LOOK)


def block_name(device):
    """The kernel's name of a block device: nvme0n1 for /dev/disk/by-id/…"""
    return os.path.basename(os.path.realpath(device))


def size_of(device):
    """Bytes of a block device (sysfs counts sectors of 512 bytes, whatever the block size).

    Raises Failure when it is gone.
    """
    try:
        return int(read(f"{BLOCK}/{block_name(device)}/size")) * SECTOR
    except OSError as problem:
        raise failure(f"size of {device}", problem) from None


def queue(device, attribute, default=""):
    """An attribute of a block device's queue; a partition's is that of its disk."""
    name = block_name(device)
    for base in (f"{BLOCK}/{name}/queue", f"{BLOCK}/{name}/../queue"):
        path = f"{base}/{attribute}"
        if os.path.exists(path):
            return read(path)
    return default


def in_use(device):
    """Whether something stands on a block device: a mount, or another device."""
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as problem:
        return problem.errno == errno.EBUSY
    return False


def is_zoned(device):
    """Whether a block device is zoned."""
    return queue(device, "zoned", "none") != "none"


def signature(device, tag="TYPE"):
    """What blkid sees on a block device: `xfs`, `crypto_LUKS`, with the tag PTTYPE `gpt`; '' for
    nothing."""
    # Its exit status 2 says that there is nothing (blkid(8)).
    return run(["blkid", "-p", "-o", "value", "-s", tag, device], well=(0, 2)).strip()
