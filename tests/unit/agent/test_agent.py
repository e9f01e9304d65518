# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent, and the lab's PortSession, to each other."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab.errors import GuestError
from lab.guest.frames import Frame, FrameKind
from lab.guest.port import PortBusy, PortSession
from lab.guest.portchannel import PortChannel
from tests.unit.agent.conftest import DEADLINE, Raw, Served

SEVERAL_MIB = os.urandom(3 << 20)
"""Three times the window."""


def test_a_program_has_stdin_stdout_stderr_and_a_status(served: Served) -> None:
    line = "cat; echo complaint >&2; exit 7"
    with served.session() as session:
        found = session.run(["sh", "-c", line], deadline=DEADLINE, check=False, stdin=b"given")
    assert (found.status, found.stdout, found.stderr) == (7, "given", "complaint\n")


@pytest.mark.parametrize(
    ("argv", "status", "complaint"),
    [
        (["sh", "-c", "kill -9 $$"], 128 + signal.SIGKILL, ""),
        (["no such program"], 127, "no such program: command not found\n"),
        (["/etc/passwd"], 127, "/etc/passwd: "),
    ],
)
def test_a_status_is_as_a_shell_counts(
    served: Served, argv: list[str], status: int, complaint: str
) -> None:
    with served.session() as session:
        found = session.run(argv, deadline=DEADLINE, check=False)
    assert found.status == status
    assert found.stderr.startswith(complaint)


def whole(receive: Callable[[int], bytes]) -> bytes:
    """All that comes."""
    return b"".join(iter(lambda: receive(1 << 16), b""))


def test_more_than_the_window_goes_both_ways(served: Served) -> None:
    with served.session() as session:
        channel = session.channel(["sh", "-c", "cat >seen; cat seen; cat seen >&2"])
        channel.settimeout(DEADLINE)
        channel.sendall(SEVERAL_MIB)
        channel.shutdown_write()
        with ThreadPoolExecutor() as pool:
            out, err = pool.map(whole, (channel.recv, channel.recv_stderr))
        assert channel.recv_exit_status() == 0
    assert out == err == SEVERAL_MIB


def test_a_program_that_says_more_than_anybody_hears_waits(
    served: Served, raw: Callable[[], Raw]
) -> None:
    client = raw()
    client.greet()
    client.say(1, FrameKind.OPEN, json.dumps({"argv": ["yes"]}).encode())
    heard = 0
    while heard < 1 << 20:
        heard += len(client.hear().payload)
    assert heard == 1 << 20
    # Others are served all the same, and nothing more of it comes before.
    client.say(2, FrameKind.ASK, json.dumps({"do": "clock", "by": 5.0}).encode())
    answer = client.hear()
    assert (answer.channel, answer.kind, answer.payload) == (2, FrameKind.ANSWER, b"5.0")
    client.say(1, FrameKind.CREDIT, (5).to_bytes(4))
    more = client.hear()
    assert (more.channel, more.kind, len(more.payload)) == (1, FrameKind.DATA, 5)


def test_what_a_program_does_not_read_is_not_taken(served: Served) -> None:
    with served.session() as session:
        channel = session.channel(["sh", "-c", "read line <&0; kill -STOP $$"])
        channel.settimeout(0.0)
        with pytest.raises(TimeoutError):
            channel.sendall(SEVERAL_MIB)
        channel.close()
        # One that has stopped reads nothing, and does not stand in the way of others.
        assert session.run(["echo", "here"], deadline=DEADLINE).stdout == "here\n"
    for pid in served.children():
        os.kill(int(pid), signal.SIGKILL)


def test_a_guest_that_stands_still_holds_nobody_up(served: Served) -> None:
    os.kill(served.pid, signal.SIGSTOP)
    try:
        with pytest.raises(GuestError, match="does not answer"):
            PortSession(served.directory, deadline=0.5)
        os.kill(served.pid, signal.SIGCONT)
        with served.session() as session:
            assert session.run(["true"], deadline=DEADLINE).status == 0
            os.kill(served.pid, signal.SIGSTOP)
            with pytest.raises(GuestError, match="no end within its deadline"):
                # Less than the agent takes without being asked, more than a socket does.
                session.run(["cat"], stdin=SEVERAL_MIB[: 1 << 20], deadline=0.5)
            begun = time.monotonic()
        # Far less than the deadlines of what goes on in guests.
        assert time.monotonic() - begun < DEADLINE / 2
    finally:
        os.kill(served.pid, signal.SIGCONT)
    # What was cut short by that is behind whoever comes next.
    with served.session() as session:
        assert session.run(["echo", "here"], deadline=DEADLINE).stdout == "here\n"


def test_what_was_said_before_a_guest_went_away_is_heard() -> None:
    def send(kind: FrameKind, payload: bytes) -> None:
        raise BrokenPipeError(f"{kind} {payload!r}: nobody is there")

    changed = threading.Condition()
    channel = PortChannel(changed, send)
    with changed:
        channel.take(Frame(1, FrameKind.DATA, b"x"))
        channel.take(Frame(1, FrameKind.STDERR, b"y"))
    assert (channel.recv(10), channel.recv_stderr(10)) == (b"x", b"y")


def test_a_program_that_ends_before_it_has_read_all_breaks_the_pipe(served: Served) -> None:
    with served.session() as session:
        channel = session.channel(["true"])
        channel.settimeout(DEADLINE)
        assert channel.recv_exit_status() == 0
        with pytest.raises(BrokenPipeError, match="the program has ended"):
            channel.sendall(b"x")


def test_programs_run_beside_each_other(served: Served) -> None:
    with served.session() as session:
        first, second = session.channel(["cat"]), session.channel(["cat"])
        for channel in (second, first):
            channel.settimeout(DEADLINE)
            channel.sendall(b"x")
            assert channel.recv(10) == b"x"
        second.shutdown_write()
        assert second.recv_exit_status() == 0
        assert not first.exit_status_ready()


def test_a_closed_channel_closes_the_pipes_of_its_program(served: Served) -> None:
    with served.session() as session:
        channel = session.channel(["sh", "-c", "cat; echo ended >done"])
        channel.settimeout(DEADLINE)
        channel.sendall(b"x")
        assert channel.recv(1) == b"x"
        channel.close()
    served.until((served.scripts / "done").exists)


def test_ended_programs_are_collected_also_when_nobody_is_there(served: Served) -> None:
    with served.session() as session:
        channel = session.channel(["cat"])
        channel.settimeout(DEADLINE)
        channel.sendall(b"x")
        assert channel.recv(1) == b"x"
        assert len(served.children()) == 1
    served.until(lambda: not served.children())
    with served.session() as session:
        for _ in range(3):
            session.run(["true"], deadline=DEADLINE)
        assert served.children() == []


def test_one_lab_after_the_other_but_not_two_at_once(served: Served) -> None:
    with served.session(), pytest.raises(PortBusy, match="its agent is talked to already"):
        served.session()
    with served.session() as session:
        assert session.run(["echo", "second"], deadline=DEADLINE).stdout == "second\n"


def test_who_is_told_late_that_the_one_before_has_gone_keeps_the_next(served: Served) -> None:
    with served.session() as session:
        channel = session.channel(["cat"])
        channel.settimeout(DEADLINE)
        channel.sendall(b"x")
        assert channel.recv(1) == b"x"
        served.port.late.set()
        served.until(lambda: not served.port.late.is_set())
        channel.sendall(b"y")
        assert channel.recv(1) == b"y"


def test_what_one_lab_was_told_no_other_hears(served: Served, raw: Callable[[], Raw]) -> None:
    client = raw()
    client.greet()
    client.say(1, FrameKind.OPEN, json.dumps({"argv": ["yes", "secret"]}).encode())
    client.hear()
    client.close()
    with served.session() as session:
        assert session.run(["echo", "mine"], deadline=DEADLINE).stdout == "mine\n"


@pytest.mark.parametrize("length", [1, 8, 9, 20])
def test_a_lab_that_was_cut_off_in_a_frame_does_not_harm_the_next(
    served: Served, raw: Callable[[], Raw], length: int
) -> None:
    client = raw()
    client.greet()
    request = json.dumps({"argv": ["sh", "-c", "echo >done"]}).encode()
    client.say(1, FrameKind.OPEN, request)
    served.until((served.scripts / "done").exists)
    client.socket.sendall(Frame(7, FrameKind.OPEN, request).bytes()[:length])
    client.close()
    with served.session() as session:
        assert session.run(["echo", "next"], deadline=DEADLINE).stdout == "next\n"


@pytest.mark.parametrize(
    ("do", "words", "said"),
    [
        ("fly", {}, "AttributeError: .*do_fly"),
        ("clock", {"when": 1}, "TypeError: .*unexpected keyword"),
        ("adopt", {"files": {}, "seed": "no base64"}, "Error: "),
    ],
)
def test_what_the_agent_cannot_do_it_says_and_lives_on(
    served: Served, do: str, words: dict[str, object], said: str
) -> None:
    with served.session() as session:
        with pytest.raises(GuestError, match=f"the guest's agent: {do}: .*{said}"):
            session.ask(do, deadline=DEADLINE, **words)
        assert session.ask("clock", deadline=DEADLINE, by=1.5) == 1.5


def test_the_agents_end_is_told_to_whoever_waits(served: Served) -> None:
    # In a guest the host sees nothing of that; the connection is QEMU's, which ends with it.
    with served.session() as session:
        channel = session.channel(["cat"])
        channel.settimeout(DEADLINE)
        session._socket.shutdown(socket.SHUT_RDWR)
        assert channel.recv_exit_status() == -1
        assert channel.recv(1) == b""
        with pytest.raises(OSError, match="gone"):
            channel.sendall(b"x" * (2 << 20))
        with pytest.raises(GuestError, match=r"cannot start true: the connection .* is gone"):
            session.channel(["true"])
        assert not session.is_open


OWN = """\
#!/usr/bin/python3 -IS
import json, os, signal, sys
from beside import NAME
if sys.argv[1:] == ["fail"]:
    sys.exit("a reason")
if sys.argv[1:] == ["random"]:
    import random
    print(random.random())
    sys.exit()
if sys.argv[1:] == ["break"]:
    raise ValueError("broken")
print(json.dumps({
    "name": NAME, "argv": sys.argv, "said": sys.stdin.read(), "cwd": os.getcwd(),
    "env": os.environ.get("MINE"), "session": os.getsid(0) == os.getpid(),
    "open": sorted(map(int, os.listdir("/proc/self/fd")))[:-1],
    "wakes": signal.set_wakeup_fd(-1),
}))
"""


def own(served: Served, raw: Callable[[], Raw], *words: str) -> tuple[int, str, str]:
    """Run a program of the lab's: status, stdout, stderr."""
    program = served.scripts / "bin/own"
    program.write_text(OWN)
    program.with_name("beside.py").write_text("NAME = 'beside'\n")
    client = raw()
    client.greet()
    client.say(1, FrameKind.OPEN, json.dumps({"argv": ["own", *words]}).encode())
    client.say(1, FrameKind.DATA, b"given")
    client.say(1, FrameKind.EOF)
    out, status, ended = {FrameKind.DATA: b"", FrameKind.STDERR: b""}, -1, False
    while status < 0 or not ended:
        frame = client.hear()
        ended |= frame.kind is FrameKind.EOF
        if frame.kind is FrameKind.EXIT:
            status = int.from_bytes(frame.payload)
        elif frame.kind in out:
            out[frame.kind] += frame.payload
    client.close()
    return status, out[FrameKind.DATA].decode(), out[FrameKind.STDERR].decode()


def test_a_program_of_the_labs_is_forked_and_finds_what_any_program_finds(
    served: Served, raw: Callable[[], Raw]
) -> None:
    status, out, err = own(served, raw, "a", "b")
    assert (status, err) == (0, "")
    assert json.loads(out) == {
        "name": "beside",
        "argv": [str(served.scripts / "bin/own"), "a", "b"],
        "said": "given",
        "cwd": str(served.scripts),
        "env": "yes",
        "session": True,
        "open": [0, 1, 2],
        "wakes": -1,
    }


def test_no_two_of_them_have_the_same_random_numbers(
    served: Served, raw: Callable[[], Raw]
) -> None:
    _, one, _ = own(served, raw, "random")
    _, other, _ = own(served, raw, "random")
    assert 0 < float(one) < 1 and one != other


@pytest.mark.parametrize(("word", "said"), [("fail", "a reason\n"), ("break", "ValueError: br")])
def test_a_program_of_the_labs_fails_as_in_a_python_of_its_own(
    served: Served, raw: Callable[[], Raw], word: str, said: str
) -> None:
    status, _, err = own(served, raw, word)
    assert status == 1
    assert said in err


def test_whoever_comes_to_the_door_is_answered_by_an_sshd_of_their_own(served: Served) -> None:
    visitors = [socket.create_connection(("127.0.0.1", served.door)) for _ in range(2)]
    for word, visitor in zip((b"abc\n", b"xyz\n"), visitors, strict=True):
        visitor.sendall(word)
    assert [visitor.recv(10) for visitor in visitors] == [b"cba\n", b"zyx\n"]
    for visitor in visitors:
        assert visitor.recv(10) == b""
        visitor.close()
    served.until(lambda: not served.children())
