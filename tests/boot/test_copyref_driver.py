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
for name in ("cut", "model"):
    system.write(f"{PARAMETERS}/remove", name)
system.run(["umount", "/mnt/xfs"])
system.run(["mount", "/dev/nvme0n1", "/mnt/xfs"])
with open("/mnt/xfs/cut.img", "rb") as file:
    file.seek(to)
    found = file.read(128 * KIB)
kept = ["".join(sorted(set(part.decode()))) for part in (found[: 64 * KIB], found[64 * KIB :])]
print(json.dumps([told, kept]))
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
