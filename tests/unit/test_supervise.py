# SPDX-License-Identifier: GPL-2.0-or-later
"""The shell that runs QEMU: its record of how that ended, and whose words are in stderr."""

import subprocess
from pathlib import Path

import pytest

from lab.host.process import Process
from lab.vm.ending import STDERR
from lab.vm.machine import SUPERVISOR, Machine

# As QEMU 11.1.3 said it under a name that has no "qemu" in it.
WORDS = "q11.sh: block/accounting.c:243: block_account_one_io: Assertion `x' failed."


def supervised(directory: Path, shell: str, *argv: str) -> Machine:
    """A machine whose program has run to its end."""
    with (directory / STDERR).open("wb") as err:
        words = [shell, str(SUPERVISOR), *argv]
        subprocess.run(words, cwd=directory, stderr=err, timeout=20, check=True)
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
