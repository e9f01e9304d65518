# SPDX-License-Identifier: GPL-2.0-or-later
"""What the lab's own driver does that no case of copy-faults can see: each test makes a disk of its
own beside that of the profile, asks for copies by the ioctl, and looks at what came of them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.boot.conftest import Lab

NAME = "copyref-driver"

COMMON = """
import errno, fcntl, json, os, struct, sys, threading, time
sys.path += ["/run/lab/copies", "/run/lab/layers"]
import copyrefs, system
from direct import Direct

PARAMETERS = "/sys/module/copyref/parameters"

def add(name, block_size):
    file = f"/mnt/xfs/{name}.img"
    with open(file, "wb") as made:
        made.truncate(8 << 20)
    system.write(f"{PARAMETERS}/add", f"{name} {file} {block_size} 1")
    return f"/dev/copyref-{name}"

def disks():
    return sorted(each for each in os.listdir("/sys/block") if each.startswith("copyref-"))

def tell(name, fault):
    system.write(f"/sys/block/copyref-{name}/fault", fault)

def copy(node, ranges, to):
    fd = os.open(node, os.O_RDWR)
    try:
        return [0, copyrefs.by_ioctl(fd, ranges, to)["done"]]
    except OSError as problem:
        return [problem.errno, problem.done]
    finally:
        os.close(fd)
"""

POWER_CUT = """
KIB, to = 1024, 1 << 20
with Direct(add("cut", 4096)) as disk:
    disk.write(0, b"1" * 64 * KIB)
    disk.write(64 * KIB, b"2" * 64 * KIB)
    disk.write(to, b"-" * 128 * KIB)
    disk.sync()
tell("cut", "fail 2")
told = copy("/dev/copyref-cut", [[0, 64 * KIB], [64 * KIB, 64 * KIB]], to)
# XFS_IOC_GOINGDOWN without its log, as a power cut is: what is not durable now is lost.
place = os.open("/mnt/xfs", os.O_RDONLY)
fcntl.ioctl(place, 0x8004587D, struct.pack("<I", 2))
os.close(place)
for disk in disks():
    system.write(f"{PARAMETERS}/remove", disk.removeprefix("copyref-"))
system.run(["umount", "/mnt/xfs"])
system.run(["mount", "/dev/nvme0n1", "/mnt/xfs"])
with open("/mnt/xfs/cut.img", "rb") as file:
    file.seek(to)
    found = file.read(128 * KIB)
kept = ["".join(sorted(set(part.decode()))) for part in (found[: 64 * KIB], found[64 * KIB :])]
print(json.dumps([told, kept]))
"""

NEIGHBOUR = """
node, to, answers = add("near", 512), 4096, []
with Direct(node) as disk:
    disk.write(0, b"S" * 512)
    disk.write(to, b"-" * 4096)
    disk.sync()
tell("near", "late 1 1500")
copier = threading.Thread(target=lambda: answers.append(copy(node, [[0, 512]], to)))
copier.start()
time.sleep(0.5)
begun = copier.is_alive()
fd = os.open(node, os.O_RDWR)
os.pwrite(fd, b"N" * 512, to + 512)
copier.join()
os.fsync(fd)
os.close(fd)
with Direct(node) as disk:
    found = disk.read(to, 4096)
system.write(f"{PARAMETERS}/remove", "near")
print(json.dumps([begun, answers[0], found[:512].decode(), found[512:1024].decode()]))
"""

REMOVAL = """
for number in range(8):
    add(f"gone{number}", 4096)
before, late = disks(), []

def add_late():
    while disks() == before:
        pass  # the module's end has not come to the first disk yet
    try:
        add("late", 4096)
        late.append("added")
    except system.Failure as problem:
        late.append(str(problem))
    except OSError as problem:
        late.append(errno.errorcode[problem.errno])

system.run(["udevadm", "settle"])
adder = threading.Thread(target=add_late)
adder.start()
system.run(["rmmod", "copyref"])
adder.join()
left = disks()
if not left:
    system.insmod("copyref")
    add("after", 4096)
print(json.dumps([len(before), late, left, disks()]))
"""


@pytest.fixture(scope="module")
def guest(lab: Lab) -> Iterator[str]:
    """A guest whose module is compiled where that was not done before."""
    lab("up", "copyref-xfs", "--name", NAME, deadline=1800)
    yield NAME
    lab("down", NAME)


def inside(lab: Lab, program: str) -> Any:
    """What a program prints in the guest, as JSON."""
    words = ("ssh", NAME, "--", "/usr/bin/python3", "-IS", "-")
    return json.loads(lab(*words, text=COMMON + program, deadline=120).stdout)


def test_what_is_done_before_an_error_outlives_a_power_cut(lab: Lab, guest: str) -> None:
    (errno, done), kept = inside(lab, POWER_CUT)
    assert (errno, done) == (5, 1)
    assert kept == ["1", "-"]


def test_a_write_beside_the_copy_does_not_undo_it(lab: Lab, guest: str) -> None:
    """In blocks smaller than a page, whose rest the page cache reads and writes with them."""
    begun, (errno, done), copied, beside = inside(lab, NEIGHBOUR)
    assert begun
    assert set(beside) == {"N"}
    if errno:  # a kernel whose writes do not wait for the inode's lock
        assert (errno, done) == (16, 0)
    else:
        assert set(copied) == {"S"}


def test_no_disk_is_added_to_a_module_that_goes(lab: Lab, guest: str) -> None:
    before, late, left, after = inside(lab, REMOVAL)
    assert before >= 8
    assert late != ["added"]
    assert left == []
    assert after == ["copyref-after"]
