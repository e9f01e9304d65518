# SPDX-License-Identifier: GPL-2.0-or-later
"""What goes wrong on real hosts: one clear line with cause and cure, and nothing left behind."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import cgroup
from tests.boot.conftest import Lab, make_lab, wait_for


def first_line(done: subprocess.CompletedProcess[str]) -> str:
    """The line of stderr that reports the error."""
    return next(line for line in done.stderr.splitlines() if line.startswith("lab: "))


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Lab]:
    """A lab whose state directory nobody shares; nothing may be left in it."""
    lab = make_lab(tmp_path / "state")
    yield lab
    lab("down", "--all", status=None)
    assert lab.leftovers() == []


def guest_pid(lab: Lab) -> int | None:
    """The pid of the one QEMU below the state directory, as soon as there is one."""
    for path in lab.state.glob("lab/guests/*/qemu.pid"):
        text = path.read_text().strip()
        return int(text) if text else None
    return None


def test_no_qemu(own: Lab) -> None:
    done = own("up", "nvme-copy", status=3, env={"LAB_QEMU": "qemu-that-is-not-there"})
    assert "qemu-that-is-not-there: not found" in first_line(done)
    done = own("up", "nvme-copy", status=3, env={"PATH": "/nowhere"})
    assert "qemu-system-x86_64: not found" in first_line(done)
    assert "apt-get install qemu-system-x86" in first_line(done)


def test_qemu_without_nvme(own: Lab, tmp_path: Path) -> None:
    # The real QEMU, asked for a device that it does not have.
    wrapper = tmp_path / "qemu"
    wrapper.write_text(
        '#!/bin/bash\nexec qemu-system-x86_64 "${@/#nvme,/nvme-of-another-build,}"\n'
    )
    wrapper.chmod(0o755)
    done = own(
        "up", "nvme-copy", status=3, env={"LAB_QEMU": str(wrapper), "LAB_ACCEL": "tcg"}
    )  # fmt: skip
    assert "QEMU ended with exit status 1" in first_line(done)
    assert "install the distribution's qemu-system-x86" in first_line(done)
    assert "not a valid device model name" in done.stderr


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a tmpfs with options; only root can."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a full and a read-only file system")
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        path = tmp_path / f"mount{len(mounted)}"
        path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], check=True)
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        subprocess.run(["umount", str(path)], check=True)


def test_full_state_directory(tmpfs: Callable[[str], Path]) -> None:
    lab = make_lab(tmpfs("size=4m") / "state")
    done = lab("up", "nvme-copy", status=3)
    assert "MiB free" in first_line(done)
    assert "XDG_STATE_HOME" in first_line(done)
    assert lab.leftovers() == []


def test_read_only_state_directory(tmpfs: Callable[[str], Path]) -> None:
    lab = Lab(Path("/nowhere"), {**os.environ, "XDG_STATE_HOME": str(tmpfs("ro"))})
    for words in (("up", "nvme-copy"), ("ls",), ("run", "nvme-copy", "copy-faults")):
        done = lab(*words, status=3)
        assert "read-only" in first_line(done).lower()
        assert "XDG_STATE_HOME" in first_line(done)


def test_state_directory_fills_up_during_a_run(tmpfs: Callable[[str], Path]) -> None:
    mount = tmpfs("size=120m")
    lab = make_lab(mount / "state")
    run = lab.start("run", "nvme-copy", "copy-faults", "--", "--actions", "power-cut")
    try:
        wait_for(lambda: list(mount.glob("state/lab/guests/*/guest.json")), "guest", 120)
        # Without a buffer, of which something would be left for the end.
        filling = (mount / "filler").open("wb", buffering=0)
        with filling as filler, pytest.raises(OSError, match="No space"):
            while True:
                filler.write(bytes(1 << 16))
        _, stderr = run.communicate(timeout=600)
    finally:
        run.kill()
    assert run.returncode == 3
    assert "Traceback" not in stderr
    (mount / "filler").unlink()
    lab("ls")
    assert lab.leftovers() == []


def test_guest_that_panics(own: Lab, profile_with: Callable[[str], str]) -> None:
    done = own("up", profile_with("  kernel_args: [rdinit=/nothing, root=/dev/nothing]"), status=3)
    assert "Kernel panic - not syncing" in first_line(done)
    assert own.leftovers() == []


def test_guest_that_never_answers(own: Lab, profile_with: Callable[[str], str]) -> None:
    # An init that waits for input on the console.
    arguments = '  kernel_args: ["rdinit=/busybox", "--", sh, -i]\n  boot_deadline: 8s'
    done = own("up", profile_with(arguments), status=3)
    assert "was not ready within 8 s" in first_line(done)
    assert "boot_deadline" in first_line(done)
    assert own.leftovers() == []
    assert (own.state / "lab/failed/changed/console.log").exists()


def test_two_ups_of_one_name_at_once(own: Lab) -> None:
    both = [own.start("up", "nvme-copy") for _ in range(2)]
    ends = [(process.communicate(timeout=120), process.returncode) for process in both]
    (_, lost), (_, won) = sorted(ends, key=lambda end: -end[1])
    ((_, stderr), _) = max(ends, key=lambda end: end[1])
    assert (lost, won) == (3, 0)
    assert "another lab process is starting or stopping it" in stderr
    assert "--name" in stderr
    assert own.ls()["nvme-copy"]["state"] == "up"


def test_down_leaves_nothing(own: Lab) -> None:
    own("up", "nvme-copy")
    assert len(own.processes()) >= 1
    own("down", "nvme-copy")
    assert own.leftovers() == []
    assert "no guest" in own("down", "nvme-copy", status=2).stderr


def test_qemu_that_died_is_reported_and_cleared(own: Lab) -> None:
    own("up", "nvme-copy")
    os.kill(own.ls()["nvme-copy"]["pid"], signal.SIGKILL)
    wait_for(lambda: own.ls()["nvme-copy"]["state"] == "died", "state died")
    done = own("ssh", "nvme-copy", "--", "true", status=3)
    assert "was killed by signal 9" in first_line(done)
    assert "lab: ready" in done.stderr  # the console's last lines
    own("up", "nvme-copy")
    assert own.ls()["nvme-copy"]["state"] == "up"


@pytest.mark.skipif(bool(cgroup.why_not()), reason=cgroup.why_not())
def test_a_host_short_of_memory_loses_the_guest_and_that_is_told(own: Lab) -> None:
    with cgroup.memory(512 << 20) as group:
        # No checkpoint of it is made, which would be a guest more.
        words = cgroup.inside(group, own.program, "up", "nvme-copy", "--boot", "cold")
        subprocess.run(words, env=own.env, capture_output=True, timeout=300, check=True)
        fill = "cat /dev/zero >/dev/shm/all; cat /dev/zero >/run/all"
        done = own("ssh", "nvme-copy", "--", fill, status=3)
        assert "was killed by signal 9, as the host had run out of memory" in done.stderr
        assert own.ls()["nvme-copy"]["state"] == "died"
        own("down", "nvme-copy")


def test_qemu_that_segfaults_in_its_boot_is_started_once_more(own: Lab) -> None:
    """QEMU 7.2 does so by itself, in one boot of very many."""
    up = own.start("up", "nvme-copy", "--set", "guest.boot=cold")
    wait_for(lambda: guest_pid(own), "QEMU")
    pid = guest_pid(own)
    assert pid
    # Long before the guest's first words, whether the lab has reached QMP by now or not.
    os.kill(pid, signal.SIGSEGV)
    _, stderr = up.communicate(timeout=240)
    assert up.returncode == 0, stderr
    assert "once more: QEMU broke the first boot" in stderr
    assert "was killed by signal 11" in stderr
    assert own.ls()["nvme-copy"]["state"] == "up"


NEVER_UP = """\
description: a layer that is never up, since what is below answers after minutes
devices: [{type: nvme, serial: D, namespaces: [{size: 320M}]}]
layers:
- {name: slow, type: dm-delay, over: D, read: 600s, write: 600s}
- {name: fs, type: xfs, over: slow}
"""


def test_an_oops_while_layers_come_up_ends_the_wait(own: Lab, tmp_path: Path) -> None:
    """The message is the kernel's own, though nothing is wrong with this one."""
    profile = tmp_path / "slow.yaml"
    profile.write_text(NEVER_UP)
    up = own.start("up", str(profile))
    wait_for((own.state / "lab/guests/slow/guest.json").exists, "its record", deadline=240)
    oops = "BUG: kernel NULL pointer dereference, address: 0000000000000008"
    own("ssh", "slow", "--", f"echo '<1>{oops}' >/dev/kmsg")
    _, stderr = up.communicate(timeout=120)
    assert up.returncode == 3, stderr
    assert f"lab: the guest's kernel failed while its layers came up: {oops}" in stderr
    assert oops in (own.state / "lab/failed/slow/console.log").read_text()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_up_cleans_up(own: Lab, number: signal.Signals, status: int) -> None:
    up = own.start("up", "nvme-copy")
    wait_for(lambda: guest_pid(own), "QEMU")
    up.send_signal(number)
    _, stderr = up.communicate(timeout=30)
    assert up.returncode == status, stderr
    assert own.leftovers() == []


def test_killed_up_is_swept_by_the_next_command(own: Lab) -> None:
    up = own.start("up", "nvme-copy")
    wait_for(lambda: guest_pid(own), "QEMU")
    up.kill()
    up.communicate()
    assert own.leftovers() != []
    assert "left behind by a lab that was killed" in own("ls").stderr
    assert own.leftovers() == []


def started_run(lab: Lab) -> tuple["subprocess.Popen[str]", Path]:
    """A run in progress that has judged a case, and its directory."""
    run = lab.start("run", "nvme-copy", "copy-faults", "--", "--ranges", "60", "--blocks", "8")

    def timeline() -> Path | None:
        for path in lab.state.glob("lab/runs/*/timeline.jsonl"):
            if '"event": "verdict"' in path.read_text():
                return path
        return None

    return run, wait_for(timeline, "a judged case", 120).parent


def test_qemu_killed_in_the_middle_of_a_run(own: Lab) -> None:
    run, directory = started_run(own)
    pid = guest_pid(own)
    assert pid
    os.kill(pid, signal.SIGKILL)
    _, stderr = run.communicate(timeout=60)
    assert run.returncode == 3
    assert f"lab: QEMU (pid {pid}) was killed by signal 9" in stderr
    assert "Traceback" not in stderr
    document: dict[str, Any] = json.loads((directory / "run.json").read_text())
    assert document["cases"]
    assert all(case["verdict"] == "holds" for case in document["cases"])
    assert "signal 9" in document["error"]
    assert own.leftovers() == []


def test_interrupted_run_cleans_up_and_keeps_its_cases(own: Lab) -> None:
    run, directory = started_run(own)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=60)
    assert run.returncode == 130
    assert json.loads((directory / "run.json").read_text())["cases"]
    assert own.leftovers() == []


def test_killed_run_is_swept_by_the_next_command(own: Lab) -> None:
    run, _ = started_run(own)
    run.kill()
    run.communicate()
    assert own.leftovers() != []
    own("ls")
    assert own.leftovers() == []
