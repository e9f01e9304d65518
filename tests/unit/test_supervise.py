# SPDX-License-Identifier: GPL-2.0-or-later
"""The shell that runs QEMU: its record of how that ended, and whose words are in stderr."""

import subprocess
import sys
from pathlib import Path

import pytest

from lab.host.process import Process
from lab.vm.argv import CONSOLE_LOG, LAYERS_LOG
from lab.vm.ending import EXIT_STATUS, OUT_OF_MEMORY, STDERR
from lab.vm.machine import Machine
from lab.vm.start import SUPERVISOR
from tests import cgroup

# As QEMU 11.1.3 said it under a name that has no "qemu" in it.
WORDS = "q11.sh: block/accounting.c:243: block_account_one_io: Assertion `x' failed."


def supervised(directory: Path, shell: str, *argv: str) -> Machine:
    """A machine whose program has run to its end."""
    with (directory / STDERR).open("wb") as err:
        words = [shell, str(SUPERVISOR), *argv]
        subprocess.run(words, cwd=directory, stderr=err, timeout=120, check=True)
    return Machine(directory, Process(1, 1))


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_the_last_words_of_a_crash_are_qemus_own(shell: str, tmp_path: Path) -> None:
    script = 'echo "$1" >&2; kill -ABRT $$'
    machine = supervised(tmp_path, shell, "sh", "-c", script, "sh", WORDS)
    assert machine.crash() == f"QEMU was killed by signal 6: {WORDS}"
    assert (tmp_path / STDERR).read_text() == f"{WORDS}\n"


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_a_crash_without_a_word_is_told_as_such(shell: str, tmp_path: Path) -> None:
    machine = supervised(tmp_path, shell, "sh", "-c", "kill -SEGV $$")
    assert machine.crash() == "QEMU was killed by signal 11: it said nothing"


def test_an_exit_status_is_no_crash(tmp_path: Path) -> None:
    machine = supervised(tmp_path, "sh", "sh", "-c", "exit 1")
    assert machine.crash() == ""
    assert "ended with exit status 1" in machine.died().message


def test_what_the_sandbox_kills_is_told_as_such(tmp_path: Path) -> None:
    machine = supervised(tmp_path, "sh", "sh", "-c", "kill -SYS $$")
    assert "was killed by signal 31 (SIGSYS): its sandbox denies" in machine.died().message


@pytest.mark.parametrize("log", [CONSOLE_LOG, LAYERS_LOG])
def test_a_guest_that_floods_does_not_fill_the_disk(log: str, tmp_path: Path) -> None:
    # As QEMU has it open, it goes on behind what was there.
    flood = (
        f"exec >>{log}; head -c 280000000 /dev/zero; echo more;"
        f" while [ $(stat -c %b {log}) -gt 524288 ]; do sleep 0.1; done; echo last words"
    )
    supervised(tmp_path, "sh", "sh", "-c", flood)
    assert (tmp_path / log).stat().st_blocks < 1000
    said = (tmp_path / log).read_text()
    assert said.startswith("lab: more than 256 MiB were said here")
    assert said.endswith("last words\n")
    assert int((tmp_path / EXIT_STATUS).read_text()) == 0


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_nothing_of_the_supervisor_is_left(shell: str, tmp_path: Path) -> None:
    # Whenever the program ends: before its logs are looked at, and while they are.
    for milliseconds in (0, 1, 2, 4, 8, 16, 32, 300):
        supervised(tmp_path, shell, "sleep", str(milliseconds / 1000))
        left = [entry.name for entry in Path("/proc").iterdir() if works_in(entry, tmp_path)]
        assert left == []


def works_in(process: Path, directory: Path) -> bool:
    try:
        return (process / "cwd").readlink() == directory
    except OSError:
        return False


@pytest.mark.parametrize(("after", "words"), [(8, ", as the host had run out of memory"), (7, "")])
def test_what_the_host_killed_for_want_of_memory_is_told_as_such(
    after: int, words: str, tmp_path: Path
) -> None:
    machine = supervised(tmp_path, "sh", "sh", "-c", "kill -KILL $$")
    before, now = map(int, (tmp_path / OUT_OF_MEMORY).read_text().split())
    assert before <= now
    (tmp_path / OUT_OF_MEMORY).write_text(f"7 {after}\n")
    assert machine.died().message.endswith(f"was killed by signal 9{words}")


@pytest.mark.skipif(bool(cgroup.why_not()), reason=cgroup.why_not())
def test_of_who_is_short_of_memory_the_guest_dies_first_and_it_is_told(tmp_path: Path) -> None:
    """The kernel takes what stands for QEMU here, although that has less than its neighbour."""
    waits = "import sys; held = b'1' * (80 << 20); print(flush=True); sys.stdin.read()"
    grows = "held = [b'1' * (1 << 20)]\nwhile True: held.append(b'1' * (1 << 20))"
    with cgroup.memory(160 << 20) as group, (tmp_path / STDERR).open("wb") as err:
        words = cgroup.inside(group, sys.executable, "-c", waits)
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as neighbour:
            assert neighbour.stdin
            assert neighbour.stdout
            try:
                assert neighbour.stdout.readline() == b"\n"
                words = cgroup.inside(group, str(SUPERVISOR), sys.executable, "-c", grows)
                subprocess.run(words, cwd=tmp_path, stderr=err, timeout=120, check=True)
                assert neighbour.poll() is None
            finally:
                neighbour.stdin.close()
    told = Machine(tmp_path, Process(1, 1)).died().message
    assert told.endswith("was killed by signal 9, as the host had run out of memory")
