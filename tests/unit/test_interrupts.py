# SPDX-License-Identifier: GPL-2.0-or-later
"""Ctrl-C and SIGTERM in the very moment in which a program is started: it has an owner, and ends.

They come when the program runs, and whoever starts it has not been told so yet.
"""

import signal
from pathlib import Path

import pytest

from lab.host.command import uninterrupted
from tests.unit.builders import python, until

LATE = """
import os, signal, subprocess, sys
from pathlib import Path

signals = [signal.SIGINT, signal.SIGTERM]
at, number, place = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]

class Interrupt(BaseException):
    pass

def interrupt(number, frame):
    for each in signals:
        signal.signal(each, signal.SIG_IGN)
    raise Interrupt

class Popen(subprocess.Popen):
    started = 0
    def __init__(self, *words, **more):
        super().__init__(*words, **more)
        Popen.started += 1
        if Popen.started == at:
            os.kill(os.getpid(), number)

for each in signals:
    signal.signal(each, interrupt)
signal.alarm(60)
SLEEPS = (sys.executable, "-c", "import time; time.sleep(50)", place)
def start():
    {start}
subprocess.Popen = Popen
try:
    start()
except Interrupt:
    assert Popen.started == at, Popen.started
    sys.exit(7)
"""

RUN = "from lab.host.command import run; run(SLEEPS, deadline=40)"
STREAM = "from lab.host.command import stream; stream(SLEEPS, print, deadline=40, env=os.environ)"
JOB = """
    from lab.farm import job
    from lab.suites.request import Request
    job.LAB = SLEEPS
    job.run_job(Request("p", "s"), "token", Path(place))
"""
LAUNCH = """
    from lab.vm import bound, walls
    from lab.vm.machine import Machine
    from lab.vm.walls import Reach
    os.environ.update(LAB_BOUND="no", LAB_LANDLOCK="no")
    Machine.launch(Path(place), [f"{place}/qemu"], Reach((), (), 1 << 30))
"""
GDB = "from lab.inside import debugging; debugging._run(SLEEPS, os.open(place, os.O_PATH))"


def left(place: Path) -> list[int]:
    """The processes that have a path on their command lines."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(place).encode() in words:
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize(
    ("start", "at"),
    [(RUN, 1), (STREAM, 1), (STREAM, 2), (JOB, 1), (JOB, 2), (LAUNCH, 1), (GDB, 1)],
    ids=["run", "stream", "stream, its watcher", "job", "job, its watcher", "launch", "gdb"],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_interrupted_while_it_starts_a_program_leaves_none(
    start: str, at: int, number: signal.Signals, tmp_path: Path
) -> None:
    if start == GDB and number == signal.SIGINT:
        pytest.skip("Ctrl-C is gdb's own")
    qemu = tmp_path / "qemu"
    qemu.write_text("#!/bin/sh\nsleep 50\n")
    qemu.chmod(0o755)
    code = LATE.replace("{start}", start.strip())
    with python(code, str(at), str(int(number)), tmp_path) as lab:
        out, err = lab.communicate(timeout=40)
        assert lab.returncode == 7, out + err
    until(lambda: left(tmp_path) == [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_not_lost_where_the_start_fails(number: signal.Signals) -> None:
    came = []
    before = signal.signal(number, lambda *_: came.append(number))
    try:
        with pytest.raises(FileNotFoundError), uninterrupted():
            signal.raise_signal(number)
            assert came == []
            raise FileNotFoundError
        assert came == [number]
    finally:
        signal.signal(number, before)
