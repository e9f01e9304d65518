# SPDX-License-Identifier: GPL-2.0-or-later
"""What the ways into a fresh guest cost: `python -m benchmarks.ways_in`.

Seconds by the clock and CPU-seconds of QEMU for each step of an SSH connection, for `lab ssh` of a
command, and for programs of which sshd is made.  The guests are of nvme-copy, and new.
"""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko

from lab.guest import guests, keys
from lab.guest.guest import PORT_DEADLINE, Guest
from lab.guest.openssh import CONFIG
from lab.guest.port import PortSession

LAB = str(Path(sys.executable).with_name("lab"))
NAME = "ways-in"
ROUNDS = 2
PARTS = (
    ["/bin/true"],
    ["/bin/bash", "-c", "true"],
    ["/bin/bash", "-lc", "true"],
    ["/usr/sbin/sshd", "-V"],
    ["/usr/sbin/sshd", "-t", "-f", "/run/lab/sshd_config"],
    ["/usr/lib/openssh/sshd-session", "-V"],
    ["/usr/lib/openssh/sshd-auth", "-V"],
)

Row = tuple[str, float, float]
"""What was done, seconds, and CPU-seconds of QEMU."""


class Stopwatch:
    """Measures one step after the other."""

    def __init__(self, guest: Guest) -> None:
        self._threads = Path(f"/proc/{guest.record.qemu.pid}/task")
        self.rows: list[Row] = []
        self._last = self._now()

    def mark(self, what: str) -> None:
        """A step is done."""
        clock, cpu = self._now()
        self.rows.append((what, clock - self._last[0], cpu - self._last[1]))
        self._last = self._now()

    def _now(self) -> tuple[float, float]:
        # proc(5): schedstat begins with the nanoseconds on a CPU.
        spent = (int(path.read_text().split()[0]) for path in self._threads.glob("*/schedstat"))
        return time.monotonic(), sum(spent) / 1e9


@contextmanager
def fresh() -> Iterator[Guest]:
    """A guest that nobody has spoken to since it came up."""
    subprocess.run([LAB, "up", "nvme-copy", "--name", NAME], check=True, capture_output=True)
    try:
        yield guests.attach(NAME)
    finally:
        subprocess.run([LAB, "down", NAME], check=True, capture_output=True)


def over_ssh(guest: Guest) -> list[Row]:
    """Each step of a connection, a command, another one, and a shell's prompt."""
    key = paramiko.Ed25519Key(filename=str(keys.of(guest.directory).client))
    watch = Stopwatch(guest)
    with socket.create_connection(("127.0.0.1", guest.record.port)) as connection:
        connection.recv(1, socket.MSG_PEEK)
        watch.mark("SSH: banner")
        transport = paramiko.Transport(connection)
        transport.start_client(timeout=60)
        watch.mark("SSH: key exchange, host key")
        transport.auth_publickey("root", key)
        watch.mark("SSH: authentication")
        for which in ("first", "second"):
            channel = transport.open_session(timeout=60)
            channel.exec_command("true")
            channel.recv_exit_status()
            watch.mark(f"SSH: {which} command")
        channel = transport.open_session(timeout=60)
        channel.get_pty()
        channel.invoke_shell()
        channel.recv(1000)
        watch.mark("SSH: a shell's prompt")
        transport.close()
    return watch.rows


def by_lab_ssh(guest: Guest) -> list[Row]:
    """`lab ssh` of a command, which goes over the port."""
    return _twice(guest, "lab ssh", [LAB, "ssh", NAME, "--", "true"])


def by_openssh(guest: Guest) -> list[Row]:
    """The same command with OpenSSH."""
    return _twice(guest, "ssh", ["ssh", "-F", str(guest.directory / CONFIG), NAME, "true"])


def _twice(guest: Guest, name: str, argv: list[str]) -> list[Row]:
    watch = Stopwatch(guest)
    for which in ("first", "second"):
        subprocess.run(argv, check=True)
        watch.mark(f"{name}: {which} command")
    return watch.rows


def in_parts(guest: Guest) -> list[Row]:
    """Programs, each started over the port, once what they need was read and translated."""
    with PortSession(guest.directory, deadline=PORT_DEADLINE) as session:
        for argv in PARTS:
            session.run(argv, deadline=60, check=False)
        watch = Stopwatch(guest)
        for argv in PARTS:
            session.run(argv, deadline=60, check=False)
            watch.mark(" ".join(argv))
    return watch.rows


def main() -> None:
    """Print a line for each step: the least of all rounds, since others only add."""
    found: dict[str, list[tuple[float, float]]] = {}
    ways: tuple[Callable[[Guest], list[Row]], ...] = (over_ssh, by_lab_ssh, by_openssh, in_parts)
    for _ in range(ROUNDS):
        for way in ways:
            with fresh() as guest:
                for what, clock, cpu in way(guest):
                    found.setdefault(what, []).append((clock, cpu))
    for what, each in found.items():
        clock, cpu = (min(figures) for figures in zip(*each, strict=True))
        print(f"{what:45} {clock:6.2f} s {cpu:6.2f} CPU-s")


if __name__ == "__main__":
    main()
