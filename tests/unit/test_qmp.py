# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU that does not answer: the lab says so, and nothing else reaches a user."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

CLIENT = """
import os, signal, socket, sys, threading
from pathlib import Path
from lab.errors import HostError
from lab.vm import qmp

directory, greets, what = Path(sys.argv[1]), sys.argv[2] == "greets", sys.argv[3]
qmp.CONNECT_DEADLINE = 0.3
server = socket.socket(socket.AF_UNIX)
os.chdir(directory)
server.bind(qmp.QMP_SOCKET)
server.listen()

def serve():
    while True:
        client, _ = server.accept()
        clients.append(client)
        if greets:
            client.sendall(b'{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7},'
                           b' "package": ""}, "capabilities": []}}\\r\\n')
            client.recv(4096)
            client.sendall(b'{"return": {}, "id": "__lab#00000"}\\r\\n')

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

clients = []
threading.Thread(target=serve, daemon=True).start()
if what.startswith("ctrl-c"):
    qmp.CONNECT_DEADLINE = 20.0
    threading.Timer(0.5, interrupt).start()
try:
    connection = qmp.Qmp(directory)
    if what == "ctrl-c, left open":
        connection.execute("query-status", deadline=20.0)
    with connection:
        connection.execute("query-status", deadline=20.0 if what == "ctrl-c" else 0.3)
except HostError as error:
    print(error.message)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize(
    ("greets", "what", "said"),
    [
        ("silent", "wait", "QMP connect: no answer from QEMU within"),
        ("silent", "ctrl-c", "interrupted"),
        ("greets", "wait", "QMP query-status: no answer from QEMU within"),
        ("greets", "ctrl-c", "interrupted"),
        ("greets", "ctrl-c, left open", "interrupted"),
    ],
)
def test_nothing_of_asyncio_is_said_beside_the_message(
    tmp_path: Path, greets: str, what: str, said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", CLIENT, tmp_path, greets, what],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.startswith(said)
    assert done.stderr == ""
    assert done.returncode == 0
