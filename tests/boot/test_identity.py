# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that begin at once from one checkpoint: no two are alike, and each has the right time.

Four of them; LAB_MANY=1 starts twenty.
"""

import json
import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab.guest.port import PortSession
from tests.boot.conftest import Lab, wait_for
from tests.boot.test_guest import MISTAKEN

NAMES = [f"clone{number}" for number in range(20 if "LAB_MANY" in os.environ else 4)]

LOOK = """\
hostname
cat /proc/sys/kernel/random/boot_id /proc/sys/kernel/random/uuid
cat /etc/machine-id /etc/nvme/hostid /etc/nvme/hostnqn
head -c 32 /dev/urandom | sha256sum
python3 -c 'import os; print(os.getrandom(32).hex())'
sha256sum </run/lab/ssh_host_ed25519_key
"""
WHAT = (
    *("hostname", "boot id", "uuid", "machine id", "NVMe host id", "NVMe host name"),
    *("/dev/urandom", "getrandom", "host key"),
)

CLOCK = "while read -r _; do echo $EPOCHREALTIME; done"
RIGHT = 0.01
"""Seconds by which a clock may be wrong when it was set."""
RUNS = 0.0005
"""Part of a second by which it may be wrong after each, besides what the kernel says it makes of
`tsc_early_khz`."""
TOLD, REFINED = r"tsc: Detected ([0-9.]+) MHz", r"tsc: Refined TSC .* ([0-9.]+) MHz"
TRIPS = 50


def directory(lab: Lab, name: str) -> Path:
    return lab.state / "lab/guests" / name


def cold(lab: Lab, name: str) -> str | None:
    """Why the guest was booted; None if it began from a checkpoint."""
    why: str | None = json.loads((directory(lab, name) / "guest.json").read_text())["cold"]
    return why


def begins_from_a_checkpoint(lab: Lab, profile: str, name: str) -> bool:
    """Whether a guest does now that is started; the first one is followed by a checkpoint."""
    lab("up", profile, "--name", name)
    found = cold(lab, name) is None
    lab("down", name)
    return found


@pytest.fixture(scope="module")
def clones(lab: Lab) -> Iterator[list[str]]:
    """Guests that were all started at once."""
    wait_for(lambda: begins_from_a_checkpoint(lab, "nvme-copy", NAMES[0]), "a checkpoint", 300)
    started = [lab.start("up", "nvme-copy", "--name", name) for name in NAMES]
    for process in started:
        _, stderr = process.communicate(timeout=600)
        assert process.returncode == 0, stderr
    assert {name: cold(lab, name) for name in NAMES} == dict.fromkeys(NAMES)
    yield NAMES
    for name in NAMES:
        lab("down", name)


def test_no_two_are_alike(lab: Lab, clones: list[str]) -> None:
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda name: lab("ssh", name, "--", LOOK).stdout, clones))
    rows = [dict(zip(WHAT, text.splitlines(), strict=True)) for text in said]
    assert [row["hostname"] for row in rows] == clones
    for what in WHAT:
        found = {row[what] for row in rows}
        assert len(found) == len(clones) and "" not in found, what
    for row in rows:
        assert row["NVMe host name"].endswith(row["NVMe host id"])


def test_the_host_key_is_that_by_which_the_guest_is_known(lab: Lab, clones: list[str]) -> None:
    keys = set()
    for name in clones[:4]:
        shown = lab("ssh", name, "--", "ssh-keygen -y -f /run/lab/ssh_host_ed25519_key").stdout
        host, kind, key = (directory(lab, name) / "known_hosts").read_text().split()
        assert (host, [kind, key]) == (name, shown.split()[:2])
        keys.add(key)
    assert len(keys) == 4


def wrong(session: PortSession) -> tuple[float, float]:
    """By how many seconds a guest's clock is wrong, and how many may be said wrongly of that."""
    channel = session.channel(["bash", "-c", CLOCK])
    channel.settimeout(60)
    trips = []
    for _ in range(TRIPS):
        before = time.time()
        channel.sendall(b"\n")
        said = b""
        while not said.endswith(b"\n"):
            said += channel.recv(100)
        after = time.time()
        trips.append((after - before, float(said) - (before + after) / 2))
    channel.close()
    took, difference = min(trips)
    return difference, took / 2


def runs_fast(session: PortSession) -> float:
    """By which part of a second a guest's clock gains one in each: its kernel counts a little more
    or less than it was told."""
    said = session.run(["dmesg"], deadline=60).stdout
    told, refined = re.search(TOLD, said), re.search(REFINED, said)
    assert told, said
    return float(told[1]) / float((refined or told)[1]) - 1


def test_each_has_the_right_time(lab: Lab, clones: list[str]) -> None:
    found = {}
    for name in clones:
        with PortSession(directory(lab, name), deadline=60) as session:
            difference, doubt = wrong(session)
            fast = runs_fast(session)
        age = time.time() - json.loads((directory(lab, name) / "guest.json").read_text())["started"]
        # The record is written a moment after the clock is set.
        difference -= fast * age
        if abs(difference) > RIGHT + doubt + RUNS * age + abs(fast):
            found[name] = difference, doubt, age
    assert found == {}


def test_what_the_kernel_was_given_holds_in_each(lab: Lab, clones: list[str]) -> None:
    listed = lab.ls()
    for name in clones:
        (timeout,) = listed[name]["settings"]
        assert (timeout["name"], timeout["status"], timeout["said"]) == (
            "nvme_core.io_timeout", "holds", "3600",
        )  # fmt: skip
    found = lab("ssh", clones[0], "--", "cat /sys/block/nvme0n1/queue/io_timeout").stdout
    assert int(found) == 3600_000


@pytest.mark.skipif("LAB_MANY" not in os.environ, reason="LAB_MANY is not set")
def test_every_setting_is_read_back_in_a_guest_that_was_not_booted(
    lab: Lab, tmp_path: Path
) -> None:
    profile = tmp_path / "mistaken.yaml"
    profile.write_text(MISTAKEN)
    booted = lab("up", str(profile), "--name", "mistaken", "--set", "guest.boot=cold")
    settings = lab.ls()["mistaken"]["settings"]
    lab("down", "mistaken")
    assert {each["status"] for each in settings} == {"holds", "not there", "later"}
    wait_for(lambda: begins_from_a_checkpoint(lab, str(profile), "mistaken"), "a checkpoint", 300)
    restored = lab("up", str(profile), "--name", "mistaken")
    assert cold(lab, "mistaken") is None
    assert lab.ls()["mistaken"]["settings"] == settings
    assert warnings(restored.stderr) == warnings(booted.stderr) != []
    # What was not loaded when the checkpoint was taken gets it when it is.
    look = "modprobe loop && cat /sys/module/loop/parameters/max_loop"
    assert lab("ssh", "mistaken", "--", look).stdout == "3\n"
    lab("down", "mistaken")


def warnings(said: str) -> list[str]:
    """What did not take effect, without the times at which that was told."""
    return re.findall(r"warning: (.* did not take effect.*)", said)
