# SPDX-License-Identifier: GPL-2.0-or-later
"""The relay in the guest, run on this host: commands, files and the kernel's messages."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.guest.relay import CommandEnd, CommandOutput, File, KernelMessages, Read, _event
from tests import ROOT

RELAY = ROOT / "guest-scripts/suites/relay"


def _may_read_kmsg() -> bool:
    try:
        os.close(os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


pytestmark = pytest.mark.skipif(not _may_read_kmsg(), reason="/dev/kmsg cannot be read here")


class Local:
    """A relay on this host."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def send(self, **request: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def run(self, script: str, **env: str) -> None:
        self.send(op="run", argv=["sh", "-c", script], cwd="/tmp", env=env)

    def next(self) -> Any:
        """The next event but for what this host's kernel says meanwhile."""
        assert self._process.stdout
        while True:
            event = json.loads(self._process.stdout.readline())
            if event["event"] != "kernel":
                return event

    def until_exit(self) -> tuple[str, int]:
        said = ""
        while (event := self.next())["event"] == "output":
            said += event["text"]
        return said, event["status"]


@contextmanager
def relay(*words: str) -> Iterator[Local]:
    argv = [sys.executable, "-IS", str(RELAY), *words]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Local(process)
        finally:
            assert process.stdin
            process.stdin.close()
            assert process.wait(10) == 0


def test_one_command_after_the_other() -> None:
    with relay() as one:
        assert one.next() == {"event": "ready"}
        one.run("echo $GREETING; echo oops >&2; pwd; exit 7", GREETING="hello")
        assert one.until_exit() == ("hello\noops\n/tmp\n", 7)
        one.run("kill -9 $$")
        assert one.until_exit() == ("", 137)
        one.send(op="run", argv=["no-such-program"], cwd="/", env={})
        said, status = one.until_exit()
        assert "no-such-program" in said and status == 127


def test_what_a_command_leaves_running_does_not_delay_its_end() -> None:
    with relay() as one:
        one.next()
        start = time.monotonic()
        one.run("sleep 30 & echo $!")
        said, status = one.until_exit()
        os.kill(int(said), 9)
        assert status == 0 and time.monotonic() - start < 15


def test_a_command_that_closes_its_output_is_waited_for() -> None:
    with relay() as one:
        one.next()
        one.run("echo before; exec >&- 2>&-; sleep 0.3; exit 3")
        assert one.until_exit() == ("before\n", 3)


def test_its_command_ends_with_it() -> None:
    with relay() as one:
        one.next()
        one.run("echo $$; exec sleep 600")
        pid = int(one.next()["text"])
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.05)
    os.kill(pid, 9)
    raise AssertionError("the command outlived the relay")


def test_files_come_whole_or_by_their_end_and_missing_ones_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    with relay() as one:
        one.next()
        paths = [str(tmp_path / name) for name in ("a", "none")]
        one.send(op="read", tag="t", paths=paths, limit=4)
        answer = one.next()
        assert (answer["size"], base64.b64decode(answer["data"])) == (10, b"6789")
        assert one.next() == {"event": "read", "tag": "t"}


def test_files_are_found_by_patterns(tmp_path: Path) -> None:
    for name in ("b.full", "a.full", "a.out"):
        (tmp_path / name).write_text(name)
    with relay() as one:
        one.next()
        one.send(op="read", tag="t", paths=[f"{tmp_path}/*.full", f"{tmp_path}/*.none"], limit=9)
        assert [one.next()["path"] for _ in "ab"] == [f"{tmp_path}/{a}.full" for a in "ab"]
        assert one.next() == {"event": "read", "tag": "t"}


def test_the_speed_is_measured_if_asked_for() -> None:
    with relay("--speed") as one:
        assert one.next()["speed"] >= 1


def test_every_event_is_understood() -> None:
    found = [
        _event({"event": "output", "text": "x"}),
        _event({"event": "kernel", "messages": [[1.5, "m"]]}),
        _event({"event": "exit", "status": 1}),
        _event({"event": "file", "tag": "t", "path": "/p", "size": 1, "data": "eA=="}),
        _event({"event": "read", "tag": "t"}),
    ]
    assert found == [
        CommandOutput("x"), KernelMessages(((1.5, "m"),)), CommandEnd(1),
        File("t", "/p", 1, b"x"), Read("t"),
    ]  # fmt: skip


def test_a_command_ignores_no_signal_that_python_does() -> None:
    """A command would go on to ignore them: generic/564 of fstests is about the end by SIGXFSZ.
    Others may be ignored since whoever runs this does (nohup)."""
    with relay() as one:
        one.next()
        one.run("grep SigIgn /proc/self/status")
        said, _ = one.until_exit()
        ignored = int(said.split()[1], 16)
        assert not ignored & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)
