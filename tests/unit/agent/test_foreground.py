# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab ssh` of a command over the port: pipes and status are those of the lab's process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.agent.conftest import DEADLINE, Served

ATTEND = """\
import sys
from pathlib import Path
from lab.guest.foreground import attend
from lab.guest.port import PortSession
with PortSession(Path(sys.argv[1]), deadline=60) as session:
    channel = session.channel(["bash", "-c", sys.argv[2]])
    try:
        status = attend(channel)
    finally:
        channel.close()
sys.exit(status)
"""


def words(served: Served, line: str) -> list[str | Path]:
    """A process that attends to a line of shell."""
    return [sys.executable, "-c", ATTEND, served.directory, line]


@pytest.mark.parametrize(
    ("line", "stdin", "stdout", "stderr", "status"),
    [
        ("cat; echo bad >&2; exit 7", b"a\0b\n", b"a\0b\n", b"bad\n", 7),
        ("exit 0", b"x" * 100_000, b"", b"", 0),
        ("kill -9 $$", b"", b"", b"", 128 + signal.SIGKILL),
        # What is started stays, and so does whoever reads what it says.
        ("(cat >/dev/null; echo late) <&0 & exit 3", b"y" * 3_000_000, b"late\n", b"", 3),
        ("head -c 3000000 /dev/zero", b"", bytes(3_000_000), b"", 0),
    ],
)
def test_all_of_it_comes_through(
    served: Served, line: str, stdin: bytes, stdout: bytes, stderr: bytes, status: int
) -> None:
    done = subprocess.run(
        words(served, line), input=stdin, capture_output=True, check=False, timeout=DEADLINE
    )
    assert (done.returncode, done.stderr) == (status, stderr)
    assert done.stdout == stdout


def test_a_closed_stdin_is_empty(served: Served) -> None:
    argv = ["sh", "-c", 'exec "$@" <&-', "sh", *words(served, "wc -c")]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True, timeout=DEADLINE)
    assert done.stdout.strip() == b"0"


def test_a_closed_stdout_ends_nothing(served: Served) -> None:
    argv = ["sh", "-c", 'exec "$@" >&-', "sh", *words(served, "seq 100000; echo done >&2; exit 5")]
    done = subprocess.run(argv, stderr=subprocess.PIPE, check=False, timeout=DEADLINE)
    assert (done.returncode, done.stderr) == (5, b"done\n")


def test_a_reader_that_goes_ends_it_and_the_program_too(served: Served) -> None:
    line = "yes; echo $? >ended"
    with subprocess.Popen(words(served, line), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(DEADLINE) == 128 + signal.SIGPIPE
    served.until((served.scripts / "ended").exists)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_one_that_is_ended_closes_the_pipes_of_the_program(
    served: Served, how: signal.Signals
) -> None:
    line = "echo here; cat; echo >ended"
    argv = words(served, line)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        os.kill(process.pid, how)
        assert process.wait(DEADLINE) != 0
    served.until((served.scripts / "ended").exists)
