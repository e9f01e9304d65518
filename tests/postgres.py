# SPDX-License-Identifier: GPL-2.0-or-later
"""A PostgreSQL of the tests' own: a cluster in a temporary directory, on a loopback port, run by an
ordinary user."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

_PLACES = Path("/usr/lib/postgresql")
"""Where Debian's packages have the server's programs, which are not on the PATH."""

_SETTINGS = """\
listen_addresses = '127.0.0.1'
fsync = off
max_connections = 300
shared_buffers = 64MB
unix_socket_directories = ''
"""


def programs() -> Path | None:
    """The directory of the newest server's programs; None where it is not installed."""
    found = [path.parent for path in _PLACES.glob("*/bin/postgres")]
    return max(found, key=lambda path: int(path.parent.name), default=None)


class Cluster:
    """A server that can be killed and started again."""

    def __init__(self, place: Path, port: int) -> None:
        self._place = place
        self._server: subprocess.Popen[bytes] | None = None
        self.port = port

    def url(
        self, database: str = "postgres", port: int | None = None, host: str = "127.0.0.1"
    ) -> str:
        """As LAB_STORE takes it."""
        return f"postgresql://lab@{host}:{port or self.port}/{database}"

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        argv = [str(_bin() / "postgres"), "-D", str(self._place), "-p", str(self.port)]
        with (self._place.parent / "log").open("ab") as log:
            self._server = subprocess.Popen(
                argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, **_somebody()
            )
        end = time.monotonic() + 60
        while True:
            with suppress(psycopg.OperationalError):
                psycopg.connect(self.url()).close()
                return
            assert self._server.poll() is None, (self._place.parent / "log").read_text()
            assert time.monotonic() < end, "no PostgreSQL after 60 s"
            time.sleep(0.05)

    def kill(self) -> None:
        """As a power cut ends it, but for what the kernel has of its files."""
        assert self._server is not None
        # Its processes notice that the first of them is gone, and end.
        self._server.kill()
        self._server.wait()

    def stop(self) -> None:
        """End the server."""
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait(60)

    def database(self, name: str, template: str = "template1") -> str:
        """A new database, like another; its URL."""
        command = SQL("create database {} template {}").format(
            Identifier(name), Identifier(template)
        )
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(command)
        return self.url(name)


@contextmanager
def cluster(more: str = "", clients: str = "127.0.0.1/32") -> Iterator[Cluster]:
    """A cluster that runs, with `more` settings, and is gone afterwards; it lets `clients` in, a
    network, besides those of the loopback interface."""
    place = Path(tempfile.mkdtemp(prefix="lab-postgres-"))
    try:
        if user := _somebody().get("user"):
            shutil.chown(place, user)
        place.chmod(0o700)
        data = place / "data"
        argv = [str(_bin() / "initdb"), "-D", str(data), "--auth=trust", "--username=lab",
                "--no-sync", "--encoding=UTF8", "--locale=C"]  # fmt: skip
        subprocess.run(argv, check=True, capture_output=True, timeout=120, cwd=place, **_somebody())
        with (data / "postgresql.conf").open("a") as settings:
            settings.write(_SETTINGS + more)
        with (data / "pg_hba.conf").open("a") as allowed:
            allowed.write(f"host all all {clients} trust\n")
        made = Cluster(data, free_port())
        made.start()
        try:
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def free_port() -> int:
    """A port of the loopback interface that nobody has."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def _bin() -> Path:
    found = programs()
    assert found is not None
    return found


def _somebody() -> dict[str, Any]:
    """Who runs the server: it refuses to be root's, and the package brings a user for it."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres").pw_name
    return {"user": user, "group": user}
