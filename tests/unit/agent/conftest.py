# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent as a process of this host, behind a port that is like the guest's."""

import os
import pty
import select
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.guest.frames import LIMIT, Frame, FrameKind, Frames, greeting
from lab.guest.port import PortSession
from lab.vm.argv import PORT_SOCKET
from tests.unit.agent import AGENT

DEADLINE = 60.0
"""Seconds after which nothing is expected any more, on a host however busy."""

_SERVE = """\
import errno, os, random, sys
agent, port, lab = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sys.path.insert(0, agent)
sys.dont_write_bytecode = True
import adoption, door, programs
programs.LAB = lab
programs.PATH = os.environ["PATH"]
programs.HOME = lab
programs.ENVIRONMENT["MINE"] = "yes"
door.PORT = 0
door.SSHD = [sys.executable, "-c", "print(input()[::-1], flush=True)", "sshd"]
from importlib.machinery import SourceFileLoader
served = SourceFileLoader("served", f"{agent}/__main__.py").load_module()
os.chdir(lab)
class Here(served.Agent):
    def _hear(self):
        try:
            super()._hear()
        except OSError as problem:
            # What a terminal says that nobody has open; the port reads nothing then.
            if problem.errno != errno.EIO:
                raise
here = Here(port, door.Door())
adoption.set_clock = lambda by: by
print(here.door.socket.getsockname()[1], flush=True)
while True:
    here.turn()
"""
"""main() of the agent, for what is not there on a host, and must not be touched on one."""


@dataclass(frozen=True)
class Served:
    """An agent: the directory of its guest, where a lab finds its port, its scripts, its pid, and
    the TCP port of its door."""

    directory: Path
    scripts: Path
    pid: int
    door: int
    port: "Port"

    def session(self) -> PortSession:
        """The lab's connection to it."""
        return PortSession(self.directory, deadline=DEADLINE)

    def children(self) -> list[str]:
        """The pids of its children, ended ones that nobody has collected among them."""
        return Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what must become so.  Others run meanwhile: no test knows when it will."""
        for _ in range(int(DEADLINE * 100)):
            if condition():
                return
            threading.Event().wait(0.01)
        raise AssertionError("it never was")


class Raw:
    """A client of the port that says what it likes."""

    def __init__(self, directory: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(DEADLINE)
        self.socket.connect(str(directory / PORT_SOCKET))
        self._frames = Frames()
        self._found: list[Frame] = []

    def greet(self, digits: str = "0" * 32) -> None:
        """Greet, and read what comes up to the answer."""
        self.socket.sendall(greeting(digits))
        said = b""
        while not said.endswith(digits.encode() + b"\n"):
            said += self.socket.recv(1)

    def say(self, channel: int, kind: FrameKind, payload: bytes = b"") -> None:
        """Send a frame."""
        self.socket.sendall(Frame(channel, kind, payload).bytes())

    def hear(self) -> Frame:
        """The next frame."""
        while not self._found:
            data = self.socket.recv(LIMIT)
            assert data, "closed"
            self._found += self._frames.feed(data)
        return self._found.pop(0)

    def close(self) -> None:
        """Go."""
        self.socket.close()


class Port(threading.Thread):
    """What QEMU is to a guest's port: one client at a time, and the guest sees whether there is
    one.  A pseudo-terminal does: its master has POLLHUP while nobody has the other end open."""

    def __init__(self, directory: Path) -> None:
        super().__init__(name="port", daemon=True)
        self.guest, slave = pty.openpty()
        tty.setraw(slave)
        self._name = os.ttyname(slave)
        os.close(slave)
        os.set_blocking(self.guest, False)
        self._listens = socket.socket(socket.AF_UNIX)
        self._listens.bind(str(directory / PORT_SOCKET))
        self._listens.listen()
        self.late = threading.Event()
        """Set: the guest is told once more that the client before this one has gone."""

    def run(self) -> None:
        """Serve one client after the other, until `close`."""
        with suppress(OSError):
            while True:
                client, _ = self._listens.accept()
                slave = os.open(self._name, os.O_RDWR | os.O_NOCTTY)
                waiting = bytearray(), bytearray()
                with client, suppress(OSError):
                    while self._relay(client, slave, *waiting):
                        os.close(slave)
                        time.sleep(0.1)
                        slave = os.open(self._name, os.O_RDWR | os.O_NOCTTY)
                        self.late.clear()
                os.close(slave)

    def _relay(
        self, client: socket.socket, slave: int, to_guest: bytearray, to_client: bytearray
    ) -> bool:
        """Pass on what both say, until `late` or the client's end; whether it goes on."""
        os.set_blocking(slave, False)
        client.setblocking(False)
        while not self.late.is_set():
            poll = select.poll()
            poll.register(client, (0 if to_guest else select.POLLIN) | _out(to_client))
            poll.register(slave, (0 if to_client else select.POLLIN) | _out(to_guest))
            for fd, event in poll.poll(10):
                if fd == slave and event & select.POLLIN:
                    to_client += os.read(slave, LIMIT)
                elif fd == slave and to_guest:
                    with suppress(BlockingIOError):
                        del to_guest[: os.write(slave, to_guest)]
                elif event & select.POLLIN:
                    data = client.recv(LIMIT)
                    if not data:
                        return False
                    to_guest += data
                elif event & (select.POLLHUP | select.POLLERR):
                    return False
                else:
                    del to_client[: client.send(to_client)]
        return True

    def close(self) -> None:
        """Listen no more."""
        self._listens.shutdown(socket.SHUT_RDWR)
        self._listens.close()
        os.close(self.guest)


def _out(waiting: bytearray) -> int:
    return select.POLLOUT if waiting else 0


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """An agent that serves."""
    scripts, directory = tmp_path / "lab", tmp_path / "guest"
    (scripts / "bin").mkdir(parents=True)
    directory.mkdir()
    port = Port(directory)
    port.start()
    process = subprocess.Popen(
        [sys.executable, "-IS", "-c", _SERVE, AGENT, str(port.guest), scripts],
        stdout=subprocess.PIPE,
        pass_fds=[port.guest],
        text=True,
    )
    with process:
        assert process.stdout is not None
        yield Served(directory, scripts, process.pid, int(process.stdout.readline()), port)
        process.kill()
    port.close()


@pytest.fixture
def raw(served: Served) -> Iterator[Callable[[], Raw]]:
    """Makes clients that say what they like."""
    made = []

    def connect() -> Raw:
        made.append(Raw(served.directory))
        return made[-1]

    yield connect
    for one in made:
        one.close()
