# SPDX-License-Identifier: GPL-2.0-or-later
"""A running guest, and every way into it."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.vm import bound
from tests.boot.conftest import Lab

SERIAL = "LABNVME0"


@pytest.fixture
def ssh_config(lab: Lab, guest: str, tmp_path: Path) -> str:
    """A file with what `lab ssh-config` prints."""
    path = tmp_path / "ssh_config"
    path.write_text(lab("ssh-config", guest).stdout)
    return str(path)


def test_a_command_runs_in_the_guest_with_its_own_words(lab: Lab, guest: str) -> None:
    done = lab("ssh", guest, "--", "printf", "%s|", "a b", "$HOME", "'", "*")
    assert done.stdout == "a b|$HOME|'|*|"


def test_a_single_word_is_given_to_the_guests_shell(lab: Lab, guest: str) -> None:
    assert lab("ssh", guest, "--", "echo $((6 * 7)) | cat").stdout == "42\n"


def test_the_commands_exit_status_comes_back(lab: Lab, guest: str) -> None:
    lab("ssh", guest, "--", "exit 7", status=7)


def test_an_agent_that_ends_is_told_at_once_and_another_one_answers(lab: Lab, guest: str) -> None:
    # Whoever waits for the rest would wait for ever.
    done = lab(
        "ssh", guest, "--", "pkill -9 -f '^/usr/bin/python3 -IS /run/lab/agent'; cat", status=3
    )
    assert "the guest went away, or its agent, during: pkill" in done.stderr
    assert lab("ssh", guest, "--", "echo $((6 * 7))").stdout == "42\n"


def test_plain_openssh_scp_and_rsync_reach_it(ssh_config: str, guest: str, tmp_path: Path) -> None:
    sent, back, synced = tmp_path / "sent", tmp_path / "back", tmp_path / "synced"
    sent.write_bytes(bytes(range(256)) * 64)
    for argv in (
        ["ssh", "-F", ssh_config, guest, "true"],
        ["scp", "-q", "-F", ssh_config, str(sent), f"{guest}:/tmp/file"],
        ["scp", "-q", "-F", ssh_config, f"{guest}:/tmp/file", str(back)],
        ["rsync", "-e", f"ssh -F {ssh_config}", f"{guest}:/tmp/file", str(synced)],
    ):
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        assert done.stderr == ""
    assert back.read_bytes() == sent.read_bytes() == synced.read_bytes()


def test_up_twice_says_it_is_already_up(lab: Lab, guest: str) -> None:
    before = lab.ls()[guest]["pid"]
    assert "already up" in lab("up", "nvme-copy", "--name", guest).stdout
    assert lab.ls()[guest]["pid"] == before


def test_ls_shows_it(lab: Lab, guest: str) -> None:
    row = next(line for line in lab("ls").stdout.splitlines() if line.startswith(guest))
    assert "nvme-copy" in row
    assert all(len(line) <= 80 for line in lab("ls").stdout.splitlines())
    assert lab.ls()[guest]["state"] == "up"


def test_the_device_is_there_by_serial_with_the_profiles_copy_limits(lab: Lab, guest: str) -> None:
    device = lab(
        "ssh", guest, "--", f"readlink -f /dev/disk/by-id/nvme-*_{SERIAL}_1"
    ).stdout.strip()
    found = json.loads(lab("ssh", guest, "--", "nvme", "id-ns", "-o", "json", device).stdout)
    assert (found["mssrl"], found["mcl"], found["msrc"]) == (256, 4096, 127)


@pytest.mark.parametrize("shell", ["sh -c", "bash -lc"])
def test_the_labs_scripts_are_on_the_path_of_every_shell(lab: Lab, guest: str, shell: str) -> None:
    done = lab("ssh", guest, "--", f"{shell} 'command -v nvme-copy'")
    assert done.stdout == "/run/lab/bin/nvme-copy\n"


def test_the_nvme_driver_waits_as_long_as_the_profile_says(lab: Lab, guest: str) -> None:
    """nvme_core is a module of the initramfs, whose insmod does not read the command line."""
    look = f"cat /sys/block/$(basename $(readlink -f /dev/lab/{SERIAL}))/queue/io_timeout"
    assert lab("ssh", guest, "--", look).stdout == "3600000\n"
    (timeout,) = lab.ls()[guest]["settings"]
    assert timeout["name"] == "nvme_core.io_timeout"
    assert (timeout["asked"], timeout["status"], timeout["said"]) == ("3600", "holds", "3600")


def test_what_opens_a_node_finds_it_before_its_module(lab: Lab, guest: str) -> None:
    listed = lab("ssh", guest, "--", "grep -v '^#' /lib/modules/$(uname -r)/modules.devname")
    nodes = {line.split()[1]: line.split()[2] for line in listed.stdout.splitlines()}
    assert {"loop-control", "btrfs-control", "mapper/control"} <= set(nodes)
    look = "cd /dev; stat -c '%n %Hr:%Lr' " + " ".join(nodes)
    found = dict(line.split() for line in lab("ssh", guest, "--", look).stdout.splitlines())
    assert found == {name: number[1:] for name, number in nodes.items()}
    loop = "truncate -s 4M /tmp/disk; losetup --find --show /tmp/disk"
    device = lab("ssh", guest, "--", loop).stdout.strip()
    assert device.startswith("/dev/loop")
    lab("ssh", guest, "--", "losetup", "-d", device)


MISTAKEN = """\
extends: nvme-copy
guest:
  kernel_args: [nvme.poll_queues=2, nvme_core.io_timout=3, nosuch.thing=1, sysctl.vm.swappiness=11,
                labword=1, loop.max_loop=3]
"""


def test_settings_that_do_not_take_effect_are_told(lab: Lab, tmp_path: Path) -> None:
    profile = tmp_path / "mistaken.yaml"
    profile.write_text(MISTAKEN)
    said = lab("up", str(profile), "--name", "mistaken").stderr
    settings = {each["name"]: each["status"] for each in lab.ls()["mistaken"]["settings"]}
    lab("down", "mistaken")
    assert settings == {
        "nvme_core.io_timeout": "holds",
        "nvme.poll_queues": "holds",
        "nvme_core.io_timout": "not there",
        "nosuch.thing": "not there",
        "sysctl.vm.swappiness": "holds",
        "labword=1": "not there",
        "loop.max_loop": "later",
    }
    told = [line for line in said.splitlines() if line.startswith("lab: warning: ")]
    assert [line.split()[2] for line in told if "did not take effect" in line] == [
        "nvme_core.io_timout=3", "nosuch.thing=1", "labword=1",
    ]  # fmt: skip


def test_nvme_copy_by_hand_copies_and_reports(lab: Lab, guest: str) -> None:
    script = f"""
        set -e
        device=$(readlink -f /dev/disk/by-id/nvme-*_{SERIAL}_1)
        yes old | dd of=$device bs=512 count=64 oflag=direct status=none
        yes new | dd of=$device bs=512 seek=100 count=12 oflag=direct status=none
        nvme-copy --serial {SERIAL} --to 8 100+4 104+8
        dd if=$device bs=512 skip=8 count=12 iflag=direct status=none | sort -u
        dd if=$device bs=512 count=8 iflag=direct status=none | sort -u
        dd if=$device bs=512 skip=20 count=8 iflag=direct status=none | sort -u
    """
    answer, *data = lab("ssh", guest, "--", script).stdout.splitlines()
    completion = json.loads(answer)
    assert completion["status"] == 0
    assert 0 < completion["seconds"] < 10
    assert data == ["new", "old", "old"]


def test_nvme_copy_by_hand_reports_a_refusal(lab: Lab, guest: str) -> None:
    done = lab("ssh", guest, "--", f"nvme-copy --serial {SERIAL} --to 8 999999999+4")
    # Which status it is differs between versions of QEMU: Internal Error, or LBA Out of Range.
    assert json.loads(done.stdout)["status"] in (0x06, 0x80)
    assert (
        "no namespace"
        in lab("ssh", guest, "--", "nvme-copy --serial NONE --to 8 1+4", status=1).stderr
    )


@pytest.fixture
def listener() -> Iterator[int]:
    """A server on the host's loopback; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_the_guest_is_cut_off_from_the_network(lab: Lab, guest: str, listener: int) -> None:
    done = lab(
        "ssh", guest, "--", f"timeout 5 bash -c 'echo >/dev/tcp/10.0.2.2/{listener}'", status=None
    )
    assert done.returncode != 0


def test_the_console_shows_the_boot(lab: Lab, guest: str) -> None:
    assert "lab: ready" in lab("console", guest).stdout


def test_a_guests_kernel_says_over_the_console_whatever_it_is_asked(lab: Lab, guest: str) -> None:
    """A distribution's kernel is built to tell no tasks there (CONFIG_MAGIC_SYSRQ_DEFAULT_ENABLE),
    and a guest that hangs can be asked nowhere else."""
    script = f"""
from lab.guest import guests, sysrq
print(sysrq.blocked(guests.attach({guest!r}).machine, 60.0))
"""
    argv = [sys.executable, "-c", script]
    done = subprocess.run(argv, env=lab.env, capture_output=True, text=True, check=False)
    assert "sysrq: Show Blocked State" in done.stdout, done


def test_qemu_is_sandboxed_and_the_first_to_go_when_memory_runs_out(lab: Lab, guest: str) -> None:
    process = Path("/proc") / str(lab.ls()[guest]["pid"])
    assert int((process / "oom_score_adj").read_text()) >= 800
    assert "Seccomp:\t2" in (process / "status").read_text()


@pytest.mark.skipif(bool(bound.why_not()), reason=bound.why_not())
def test_qemu_gets_no_more_memory_than_its_guest_needs(lab: Lab, guest: str) -> None:
    """What comes of that stands in tests/unit/test_bound.py."""
    limits = (Path("/proc") / str(lab.ls()[guest]["pid"]) / "limits").read_text()
    size = (1 << 30) + bound.SPARE
    assert re.search(rf"^Max data size +{size} +{size} +bytes", limits, re.MULTILINE)


def test_unknown_guest_is_a_usage_error(lab: Lab, guest: str) -> None:
    for command in ("ssh", "down", "console", "ssh-config"):
        done = lab(command, "nobody", status=2)
        assert "no guest nobody" in done.stderr
        assert guest in done.stderr
