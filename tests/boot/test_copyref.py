# SPDX-License-Identifier: GPL-2.0-or-later
"""The reference model in the kernel on a real guest: its copies hold, and each fault that its
driver can be told to make is caught by the rule that it breaks."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from lab.profile.layers.copyref import FAULTS
from tests.boot.conftest import Lab, apart
from tests.boot.test_paths import broken

NAME = "copyref-xfs"
KNOB = "/sys/block/copyref-model/fault"

EIO = ("--points", "write:1", "--actions", "eio")
SIZES = ("--actions", "size")
HASTE = ("--hang-deadline", "1")

BROKEN: dict[str, tuple[str, tuple[str, ...]]] = {
    "drop 2": ("COMPLETE", ()),
    "half 1": ("COMPLETE", ()),
    "zero 1": ("NO-FOREIGN", ()),
    "wrong 2": ("NO-FOREIGN", ()),
    "torn 1": ("NO-FOREIGN", ()),
    "shift 2": ("NEIGHBOUR", ()),
    "spill 2": ("NEIGHBOUR", ()),
    "move 1": ("SOURCE", ()),
    "overstate 1": ("PREFIX", ()),
    "swallow": ("SIGNALLED", EIO),
    "emulate 2": ("OFFLOADED", ()),
    "late 1 1500": ("NO-HANG", HASTE),
    "warn 1": ("NO-HANG", ()),
    "stuck": ("RECOVERS", ()),
    "stale-source": ("COHERENT", ()),
    "stale-target": ("COHERENT", ()),
    "unlimited": ("LIMITS", SIZES),
    "strict": ("LIMITS", SIZES),
    # A power cut would show that this QEMU ignores FUA, too, with which XFS writes its log.
    "unsynced": ("DURABLE", ("--actions", "kill", "--points", "completed")),
}
"""What the driver is told, the rule that must notice (OFFLOADED by `fell back`: the caller has its
data), and what else shows it.  `rename` is not among them, which only a comparison with another
path can tell, see below."""

FAILURES = {"fail 2 28": "ENOSPC", "short 2": "EIO"}
"""What the driver is told, and what the copy's caller is told then, which is true."""

QUICK = ("drop 2", "spill 2", "overstate 1", "stale-target")
"""One for each way to be wrong; the others take their time."""


@pytest.fixture(scope="module")
def model(lab: Lab) -> Iterator[str]:
    """A guest with the reference; its module is compiled where that was not done before."""
    lab("up", NAME, deadline=1800)
    yield NAME
    lab("down", NAME)


def copies(lab: Lab, *args: str, status: int | None = 0) -> dict[str, Any]:
    """A run of copy-faults there, of two ranges of eight blocks: its JSON."""
    done = lab(
        "run", NAME, "copy-faults", "--json", "--on", NAME, "--",
        "--path", "copyref", "--ranges", "2", "--blocks", "8", *args,
        status=status, deadline=900,
    )  # fmt: skip
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["error"] is None
    return document


def tell(lab: Lab, fault: str) -> None:
    """Tell the driver what to do wrong from now on."""
    lab("ssh", NAME, "--", "sh", "-c", f"echo {fault} >{KNOB}")


def test_a_copy_is_a_reflink_and_refused_above_each_limit(lab: Lab, model: str) -> None:
    run = apart(copies(lab, "--actions", "resume,size"))
    assert run["verdicts"] == {"holds": len(run["cases"])}
    assert (
        "no write on the disk below carried" in run["rehearsal"]["rules"]["OFFLOADED"]["evidence"]
    )
    assert run["rehearsal"]["rules"]["COHERENT"]["verdict"] == "holds"
    sizes = {case["name"]: case["outcome"]["completion"] for case in run["cases"]}
    for limit in ("mssrl", "mcl", "msrc"):
        assert sizes[f"at {limit}"]["status"] == 0
        assert sizes[f"above {limit}"]["error"] == "EINVAL"


def test_copies_at_once_hold_and_what_is_wrong_with_them_is_noticed(lab: Lab, model: str) -> None:
    run = copies(lab, "--actions", "concurrent")
    # Whether two of a crowd run at the same time is the guest's scheduler's to say.
    assert run["verdicts"].keys() <= {"holds", "not exercised"} and run["verdicts"]["holds"] > 1
    tell(lab, "drop 1")
    try:
        run = copies(lab, "--actions", "concurrent", status=1)
    finally:
        tell(lab, "none")
    crowds = [case for case in run["cases"] if case["rivals"]]
    assert any("COMPLETE" in broken(case) for case in crowds)


def test_a_disk_that_forbids_copies_meanwhile_allows_them_again(lab: Lab, model: str) -> None:
    before = lab("ssh", NAME, "--", "cat", "/sys/block/copyref-model/limits").stdout
    run = copies(lab, "--points", "write:1", "--actions", "copies-forbidden")
    (case,) = apart(run)["cases"]
    assert case["verdict"] == "holds"
    assert case["outcome"]["disturbed"] == "the disk was told to allow no copies"
    assert lab("ssh", NAME, "--", "cat", "/sys/block/copyref-model/limits").stdout == before


@pytest.mark.parametrize("fault", BROKEN)
def test_what_the_driver_does_wrong_is_noticed(lab: Lab, model: str, fault: str) -> None:
    if fault not in QUICK and not os.environ.get("LAB_COPYREF"):
        pytest.skip("LAB_COPYREF=1 makes all faults of the driver")
    rule, args = BROKEN[fault]
    tell(lab, fault)
    try:
        run = copies(lab, *(args or ("--actions", "rehearsal")), status=1)
    finally:
        tell(lab, "none")
    told = "fell back" if rule == "OFFLOADED" else "violated"
    assert told in {case["rules"].get(rule, {}).get("verdict") for case in run["cases"]}


@pytest.mark.parametrize("fault", FAILURES)
def test_a_copy_that_fails_half_way_says_so(lab: Lab, model: str, fault: str) -> None:
    if not os.environ.get("LAB_COPYREF"):
        pytest.skip("LAB_COPYREF=1 makes all faults of the driver")
    tell(lab, fault)
    try:
        run = copies(lab, "--actions", "rehearsal", status=1)
    finally:
        tell(lab, "none")
    assert run["not_supported"].startswith(FAILURES[fault])


def test_every_fault_of_the_driver_is_made() -> None:
    assert {fault.split()[0] for fault in (*BROKEN, *FAILURES)} == set(FAULTS) - {"rename"}


def test_another_errno_than_the_file_systems_is_a_difference_from_the_reference(lab: Lab) -> None:
    if not os.environ.get("LAB_COPYREF"):
        pytest.skip("LAB_COPYREF=1 makes all faults of the driver")
    done = lab(
        "run", NAME, "conformance", "--json", "--set", "layers[model].fault=rename 0 28",
        "--", "--actions", "eio",
        status=1, deadline=1800,
    )  # fmt: skip
    (difference,) = json.loads(done.stdout)["differences"]
    assert (difference["rule"], difference["situation"]) == ("ERROR-CLASS", "write eio")
    assert difference["here"]["evidence"] == "the caller is told ENOSPC"


GIB = 1 << 30

RACE = f"""
import array, fcntl, json, os, sys, time
sys.path += ["/run/lab/copies", "/run/lab/layers"]
import copyrefs
from direct import Direct
piece, size = 1 << 20, {GIB}
with Direct("/dev/copyref-model") as disk:
    for at in range(0, size, piece):
        disk.write(at, (b"%16d" % at) * (piece // 16))
    disk.sync()
    start = time.monotonic()
    ranges = [[at, size // 64] for at in range(0, size, size // 64)]
    copyrefs.by_ioctl(disk.fd, ranges, size)
    offloaded = time.monotonic() - start
    assert disk.read(2 * size - piece, piece) == disk.read(size - piece, piece) != bytes(piece)
    start = time.monotonic()
    for at in range(0, size, piece):
        disk.write(2 * size + at, disk.read(at, piece))
    disk.sync()
    print(json.dumps([offloaded, time.monotonic() - start]))
"""


def test_a_gibibyte_is_copied_fifty_times_as_fast_as_by_reading_and_writing(lab: Lab) -> None:
    if not os.environ.get("LAB_COPYREF"):
        pytest.skip("LAB_COPYREF=1 copies 1 GiB by a reflink, and by reading and writing")
    limits = f"{{mssrl: {GIB // 64 // 512}, mcl: {GIB // 512}, msrc: 64}}"
    lab(
        "up", NAME, "--name", "race", "--set", "devices[0].namespaces[0].size=5G",
        "--set", "layers[model].size=3G",
        "--set", f"layers[model].copy={limits}",
        deadline=1800,
    )  # fmt: skip
    try:
        done = lab("ssh", "race", "--", f"/usr/bin/python3 -IS -c '{RACE}'", deadline=1800)
    finally:
        lab("down", "race")
    offloaded, by_hand = json.loads(done.stdout)
    print(f"1 GiB: {offloaded:.3f} s by reflink, {by_hand:.1f} s by reading and writing")
    assert by_hand >= 50 * offloaded
