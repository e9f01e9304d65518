# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab fault`: a copy of a running guest, held and failed by hand."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.faults.arming import held
from tests.boot.conftest import Lab, wait_for

TO, BLOCKS, SECTOR = 4096, 64, 512
NEW, OLD = b"n", b"o"


class Copying:
    """A guest whose copies can be held: two ranges of 64 blocks, or as many as asked for."""

    def __init__(self, lab: Lab, name: str) -> None:
        self._lab = lab
        self.name = name
        self.directory = lab.state / "lab/guests" / name
        self.medium = self.directory / "LABNVME0-1.raw"

    def __call__(self, *words: str, status: int = 0) -> dict[str, Any]:
        """`lab fault NAME WORDS --json`; its document, or the error in words."""
        done = self._lab("fault", self.name, *words, "--json", status=status)
        return json.loads(done.stdout) if status == 0 else {"error": done.stderr}

    def prepare(self, ranges: int = 2) -> None:
        """Sources and destination of the copy, on an idle disk."""
        with self.medium.open("r+b") as file:
            file.write(NEW * BLOCKS * SECTOR * ranges)
            file.seek(TO * SECTOR)
            file.write(OLD * BLOCKS * SECTOR * ranges)

    def start(self, ranges: int = 2) -> subprocess.Popen[str]:
        """Begin a copy in the guest."""
        sources = [f"{at * BLOCKS}+{BLOCKS}" for at in range(ranges)]
        return self._lab.start(
            "ssh", self.name, "--", "nvme-copy", "--serial", "LABNVME0", "--to", str(TO), *sources
        )

    def found(self, ranges: int = 2) -> list[bytes]:
        """What each range of the destination consists of."""
        with self.medium.open("rb") as file:
            file.seek(TO * SECTOR)
            parts = [file.read(BLOCKS * SECTOR) for _ in range(ranges)]
        return [bytes(sorted(set(part))) for part in parts]

    def await_state(self, state: str) -> dict[str, Any]:
        """The status, once it is so."""
        wait_for(lambda: self("status")["state"] == state, state)
        return self("status")

    def suspended(self) -> list[str]:
        """The tags that QEMU says it holds."""
        return held((self.directory / "qemu.out").read_text())


def ended(copy: subprocess.Popen[str]) -> dict[str, Any]:
    """The completion that the copying process was told."""
    out, err = copy.communicate(timeout=60)
    assert copy.returncode == 0, err
    document: dict[str, Any] = json.loads(out)
    return document


@pytest.fixture
def by_hand(lab: Lab, guest: str) -> Iterator[Copying]:
    """The shared guest, prepared for a copy, and free of faults before and after."""
    hand = Copying(lab, guest)
    assert hand("status")["state"] == "nothing"
    hand.prepare()
    yield hand
    if hand("status")["state"] != "nothing":
        hand("release")


def test_a_write_is_held_failed_and_released(by_hand: Copying) -> None:
    assert by_hand("hold", "--at", "write:2")["state"] == "armed"
    copy = by_hand.start()
    status = by_hand.await_state("held")
    assert (status["disk"], status["point"]) == ("LABNVME0:1", "write:2")
    assert status["io_timeout"] == 3600
    assert by_hand.found() == [NEW, OLD]
    assert by_hand("inject", "eio")["error"] == "EIO"
    assert copy.poll() is None
    assert by_hand("release") == {"released": ["write:2 of LABNVME0:1"]}
    completion = ended(copy)
    assert completion["status"] != 0
    assert completion["dw0"] == 1
    assert by_hand.found() == [NEW, OLD]
    assert by_hand("status")["state"] == "nothing"
    assert ended(by_hand.start())["status"] == 0
    assert by_hand.found() == [NEW, NEW]


def test_stepping_comes_by_every_point_of_a_copy(by_hand: Copying) -> None:
    by_hand("hold", "--at", "read:1")
    copy = by_hand.start()
    seen = [by_hand.await_state("held")["point"]]
    media = [by_hand.found()]
    for _ in range(5):
        seen.append(by_hand("step")["point"])
        media.append(by_hand.found())
    assert seen == ["read:1", "write:1", "written:1", "read:2", "write:2", "written:2"]
    assert media == [[OLD, OLD]] * 2 + [[NEW, OLD]] * 3 + [[NEW, NEW]]
    assert by_hand("step", "--deadline", "1")["state"] == "armed"
    assert ended(copy)["status"] == 0
    assert by_hand("release") == {"released": []}


def test_an_injected_read_fails_and_no_other_request(by_hand: Copying) -> None:
    by_hand("hold", "--at", "read:1")
    copy = by_hand.start()
    by_hand.await_state("held")
    by_hand("inject", "enospc")
    by_hand("inject", "61")
    by_hand("release")
    assert ended(copy)["dw0"] == 0
    assert by_hand.found() == [OLD, OLD]
    assert ended(by_hand.start())["status"] == 0


def test_an_error_that_was_taken_back_does_not_come(by_hand: Copying) -> None:
    by_hand("hold", "--at", "write:1")
    copy = by_hand.start()
    by_hand.await_state("held")
    by_hand("inject", "eio")
    assert by_hand("inject", "none")["error"] is None
    by_hand("release")
    assert ended(copy)["status"] == 0


def test_what_the_guest_reads_and_flushes_arms_nothing(lab: Lab, by_hand: Copying) -> None:
    by_hand("hold", "--at", "written:9")
    script = """
        device=$(readlink -f /dev/disk/by-id/nvme-*_LABNVME0_1)
        for i in 1 2 3 4 5 6 7 8; do
            dd if=$device of=/dev/null bs=4096 count=$i iflag=direct status=none || exit 1
            sync $device || exit 1
        done
    """
    lab("ssh", by_hand.name, "--", script)
    assert ended(by_hand.start())["status"] == 0
    by_hand("release")


def test_a_held_copy_can_be_released_by_a_command_that_knows_nothing(by_hand: Copying) -> None:
    """The file is gone, or a run that used a stepper was killed: QEMU's own words are left."""
    by_hand("hold", "--at", "write:1")
    copy = by_hand.start()
    by_hand.await_state("held")
    (by_hand.directory / "fault.json").unlink()
    status = by_hand("status")
    assert (status["state"], status["point"]) == ("held", None)
    assert "left" in by_hand("step", status=2)["error"]
    assert by_hand("release") == {"released": ["a request of LABNVME0:1"]}
    assert ended(copy)["status"] == 0


def test_a_killed_follower_is_replaced(by_hand: Copying) -> None:
    by_hand("hold", "--at", "write:2")
    follower = json.loads((by_hand.directory / "fault.json").read_text())["follower"]["pid"]
    os.kill(follower, signal.SIGKILL)
    copy = by_hand.start()
    wait_for(by_hand.suspended, "the first write is suspended")
    assert by_hand.await_state("held")["point"] == "write:2"
    assert by_hand.found() == [NEW, OLD]
    by_hand("release")
    assert ended(copy)["status"] == 0


@pytest.mark.parametrize("words", [("hold", "--at", "write:1"), ("step",), ("release",)])
def test_a_command_killed_at_any_moment_leaves_what_the_next_one_understands(
    lab: Lab, by_hand: Copying, words: tuple[str, ...]
) -> None:
    for delay in (0.3, 0.4, 0.5, 0.6):
        copy = None
        if words[0] != "hold":
            by_hand("hold", "--at", "write:1")
            copy = by_hand.start()
            by_hand.await_state("held")
        command = lab.start("fault", by_hand.name, *words)
        time.sleep(delay)
        command.kill()
        command.communicate()
        state = by_hand("status")["state"]
        assert (state == "held") == bool(by_hand.suspended())
        if state != "nothing":
            by_hand("release")
        assert by_hand("status")["state"] == "nothing"
        assert by_hand.suspended() == []
        assert copy is None or ended(copy)["status"] == 0
        # No breakpoint is left behind that would hold this one.
        assert ended(by_hand.start())["status"] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("hold", "--at", "flushed"), "no request to hold"),
        (("hold", "--at", "write:1", "--disk", "NONE"), "disks: LABNVME0:1"),
        (("step",), "nothing is armed or held"),
        (("release",), "nothing is armed or held"),
        (("inject", "eio"), "nothing is armed or held"),
        (("inject", "EBOGUS"), "eio, enospc"),
    ],
)
def test_what_cannot_be_done_is_said(by_hand: Copying, words: tuple[str, ...], said: str) -> None:
    assert said in by_hand(*words, status=2)["error"]


def test_a_run_is_refused_while_something_is_held(lab: Lab, by_hand: Copying) -> None:
    by_hand("hold", "--at", "write:1")
    done = lab("run", "nvme-copy", "copy-faults", "--on", by_hand.name, status=2)
    assert "write:1 of LABNVME0:1 is armed" in done.stderr
    assert f"lab fault {by_hand.name} release" in done.stderr


def test_only_one_thing_is_held_and_a_written_write_cannot_fail(by_hand: Copying) -> None:
    by_hand("hold", "--at", "written:1")
    assert "release" in by_hand("hold", "--at", "read:1", status=2)["error"]
    assert "hold at write:K" in by_hand("inject", "eio", status=2)["error"]


def test_down_ends_a_guest_that_holds_and_its_follower(lab: Lab) -> None:
    lab("up", "nvme-copy", "--name", "held", deadline=900)
    hand = Copying(lab, "held")
    hand("hold", "--at", "write:1")
    copy = hand.start()
    hand.await_state("held")
    lab("down", "held", deadline=30)
    copy.kill()
    copy.communicate()
    assert not Path(hand.directory).exists()


def test_down_ends_the_follower(lab: Lab) -> None:
    lab("up", "nvme-copy", "--name", "followed", deadline=900)
    Copying(lab, "followed")("hold", "--at", "write:3")
    assert any("follower" in line for line in lab.processes())
    lab("down", "followed", deadline=30)
    assert not any("follower" in line for line in lab.processes())
