# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest says, changed at random or made to do harm: the lab says so, and goes on.

LAB_FUZZ=N takes N inputs for each channel.
"""

import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

import pytest
from sqlalchemy import select

from lab.errors import GuestError, HostError, LabError
from lab.guest import lastwords, oops
from lab.guest.executor import Executor
from lab.guest.frames import BadFrame, Frame, FrameKind, Frames, Greeted
from lab.guest.keys import Keys
from lab.guest.kmsg import oopsed
from lab.guest.portchannel import PortChannel
from lab.guest.relay import Read, Relay
from lab.guest.session import Session
from lab.guest.ssh import SshSession
from lab.guest.stack import Expected, StackPart, collect
from lab.host.process import me
from lab.results import junit
from lab.results.cases import Case, CaseStatus
from lab.results.run import Run
from lab.results.store.database import session as store_session
from lab.results.store.feed import feed
from lab.results.store.schema import CaseRow
from lab.suites.blktests.output import BlktestsReader
from lab.suites.cryptsetup.run import judge
from lab.suites.fstests.output import FstestsReader
from lab.suites.ledger import Ledger
from lab.suites.upstream.driver import Batch
from lab.suites.upstream.marks import MarkReader
from lab.suites.upstream.sitting import FileRequest, Sitting, kept
from lab.suites.upstream.watchdog import Watchdog
from lab.vm.argv import CONSOLE_LOG, LAYERS_LOG
from lab.vm.ending import said
from tests.fuzz import INPUTS, documents, endure, fit, mutants
from tests.unit.test_store import judged, write_run

EVIL = "\x1b]0;pwned\x07\x1b[2J\x9b31m\u202eevil\r<script>\0\ud800\uffff|`\n# heading"
"""What a terminal, a page, an XML file, a table and a database should never get as it is."""

KERNEL = {"event": "kernel", "messages": [[1.5, "EXT4-fs (vda): mounted"], [2, "Oops: 0000"]]}
FILE = {
    "event": "file", "tag": "generic/001", "path": "/r/generic/001.out.bad", "size": 3,
    "data": base64.b64encode(b"abc").decode(),
}  # fmt: skip
EVENTS: tuple[dict[str, Any], ...] = (
    {"event": "output", "text": "generic/001  5s\n"}, KERNEL, FILE, {"event": "exit", "status": 0},
    {"event": "read", "tag": "generic/001"},
)  # fmt: skip


class Said:
    """A channel to a program in the guest that has said all it ever will."""

    closed = True
    eof_received = True

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    def settimeout(self, timeout: float | None) -> None: ...
    def sendall(self, data: bytes) -> None: ...
    def close(self) -> None: ...
    def recv_stderr_ready(self) -> bool:
        return False

    def recv_ready(self) -> bool:
        return bool(self._data)

    def recv(self, size: int) -> bytes:
        piece, self._data = self._data[:size], self._data[size:]
        return bytes(piece)


class Talks:
    """A session whose programs say what they were given."""

    process = None

    def __init__(self, data: bytes) -> None:
        self._data = data

    def channel(self, _argv: object) -> Said:
        return Said(self._data)


def talking(data: bytes) -> Session:
    return cast(Session, Talks(data))


def lines(*events: object) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def hear(data: bytes) -> list[object]:
    """All events of a relay that says this, up to its end, which is an error of its own."""
    relay = Relay(talking(data))
    heard: list[object] = []
    while event := relay.event(1.0):
        heard.append(event)
    return heard


READY = {"event": "ready", "speed": 12.5}


def test_whatever_a_relay_says_is_an_event_or_its_fault() -> None:
    right = [lines(READY, event) for event in EVENTS] + [lines(READY, *EVENTS)]
    endure(hear, mutants(right), errors=(GuestError,))

    def changed() -> Iterator[bytes]:
        for seed, event in enumerate(EVENTS):
            yield from (lines(READY, each) for each in documents(event, INPUTS // 10, seed))
        yield from (lines(each, EVENTS[0]) for each in documents(READY, INPUTS // 10))

    endure(hear, changed(), errors=(GuestError,))


@pytest.mark.parametrize(
    "said",
    [
        b"[" * 10_000 + b"\n",
        b'{"event": "exit", "status": ' + b"9" * 10**6 + b"}\n",
        lines([READY]),
        lines({"event": "ready", "speed": float("inf")}),
        lines(READY, {**FILE, "data": "no base64"}),
        lines(READY, {"event": "kernel", "messages": [[1]]}),
        lines(READY, {"event": "kernel", "messages": [["soon", "x"]]}),
    ],
)
def test_what_is_no_event_of_a_relay_is_told_as_the_guests_fault(said: bytes) -> None:
    with pytest.raises(GuestError, match="relay in the guest says") as caught:
        hear(said)
    assert len(str(caught.value)) < 1000


def test_a_line_of_a_relay_without_an_end_is_not_kept() -> None:
    with pytest.raises(GuestError, match="a line of more than"):
        Relay(talking(b"x" * (20 << 20)))


def test_a_file_that_nobody_asked_for_is_kept_nowhere() -> None:
    asked = {"out.bad": "/r/generic/001.out.bad", "*": "/r/generic/001.*"}
    assert kept(asked, "/r/generic/001.full") == "full"
    for path in ("/etc/passwd", "/r/generic/001.../..", "/r/generic/001...", "/r/generic/001.\0"):
        with pytest.raises(KeyError):
            kept(asked, path)


def answer(data: bytes) -> object:
    executor = Executor(talking(data), ("x",))
    executor.send(op="x")
    return executor.answer(1.0)


def test_whatever_an_executor_says_is_an_answer_or_its_fault() -> None:
    right = {"number": 1, "status": 0, "seconds": 0.5, "ranges_done": 2, "map": [1, 2], "said": "x"}
    endure(answer, mutants([lines(right), lines({"number": 7}, right)]), errors=(GuestError,))
    endure(answer, (lines(each) for each in documents(right)), errors=(GuestError,))


@pytest.mark.parametrize(
    "said",
    [
        b"[" * 10_000 + b"\n",
        b'{"number": ' + b"1" * 10**6 + b"}\n",
        lines({"number": 2, "status": 0}),
        lines({"status": 0}),
        b"null\n7\n",
    ],
)
def test_what_is_no_answer_of_an_executor_is_passed_over(said: bytes) -> None:
    right = lines({"number": 1, "status": 3})
    assert answer(said + right) == {"status": 3}
    with pytest.raises(GuestError, match="ended"):
        answer(said)


def test_a_second_answer_is_of_nobody() -> None:
    executor = Executor(talking(lines({"number": 1, "a": 1}, {"number": 1, "a": 2})), ("x",))
    executor.send(op="x")
    assert executor.answer(1.0) == {"a": 1}
    executor.send(op="y")
    with pytest.raises(GuestError, match="ended"):
        executor.answer(1.0)


def test_an_answer_without_what_it_must_have_is_the_guests_fault() -> None:
    found = answer(lines({"number": 1}))
    with pytest.raises(GuestError, match="without status"):
        cast(dict[str, Any], found)["status"]


def test_an_answer_without_an_end_is_not_kept() -> None:
    with pytest.raises(GuestError, match="says more than"):
        answer(b"x" * (20 << 20))


def test_an_answer_of_millions_of_values_is_not_decoded() -> None:
    flood = b'{"number": 1, "a": [' + b"[]," * (5 << 20) + b"0]}\n"
    for hearing, word in ((answer, "executor"), (hear, "relay")):
        with pytest.raises(GuestError, match=f"{word} in the guest says .*more than 262144 values"):
            hearing(flood)


def test_a_flood_of_output_ends_a_command() -> None:
    with pytest.raises(GuestError, match="says more than 64 MiB"):
        Session.run(talking(b"x" * (80 << 20)), ["yes"], deadline=60)


def port(data: bytes) -> None:
    """What a connection to the agent makes of bytes behind its greeting."""
    changed = threading.Condition()
    channel = PortChannel(changed, lambda _kind, _payload: None)
    with changed:
        for frame in Frames().feed(data):
            if frame.channel == 1:
                channel.take(frame)
        channel.lose()
    for receive in (channel.recv, channel.recv_stderr):
        while receive(1 << 16):
            pass
    channel.recv_exit_status()


FRAMES = [
    Frame(1, FrameKind.DATA, b"said"), Frame(1, FrameKind.STDERR, b"oh"), Frame(1, FrameKind.EOF),
    Frame(1, FrameKind.CREDIT, b"\0\0\4\0"), Frame(1, FrameKind.EXIT, b"\0\0\0\1"),
    Frame(1, FrameKind.ANSWER, b'{"a": [1, "b"]}'), Frame(1, FrameKind.REFUSED, b'"no"'),
    Frame(7, FrameKind.DATA, b"of nobody"),
]  # fmt: skip


def test_whatever_comes_from_the_port_is_frames_or_none() -> None:
    stream = b"".join(frame.bytes() for frame in FRAMES)
    endure(port, mutants([stream, *(frame.bytes() for frame in FRAMES)]), errors=(BadFrame,))


@pytest.mark.parametrize(
    "frames",
    [
        [Frame(1, FrameKind.ANSWER, b"[" * 10_000)],
        [Frame(1, FrameKind.ANSWER, b"9" * 100_000)],
        [Frame(1, FrameKind.EXIT, b"\1" * 100_000)],
        [Frame(1, FrameKind.CREDIT, b"\1" * 9)],
        [Frame(1, FrameKind.DATA, b"x" * (1 << 18))] * 40,
    ],
)
def test_what_no_agent_says_ends_the_connection(frames: list[Frame]) -> None:
    with pytest.raises(BadFrame):
        port(b"".join(frame.bytes() for frame in frames))


def test_whoever_waits_for_a_greeting_keeps_little() -> None:
    waiting = Greeted("0" * 32)
    for _ in range(200):
        assert waiting.feed(b"x" * (1 << 16)) is None
    assert len(waiting._data) < 100


def layers(directory: Path) -> Callable[[bytes], object]:
    """What is made of the words on the second serial port."""

    class Ended:
        """A machine whose QEMU has ended."""

        def __init__(self) -> None:
            self.directory = directory
            self.process = me()

        def alive(self) -> bool:
            return False

        def died(self) -> HostError:
            return HostError("QEMU is gone", detail=said(directory))

    def take(data: bytes) -> object:
        (directory / LAYERS_LOG).write_bytes(data)
        wanted = Expected(frozenset({"xfs"}), 1)
        return collect(cast(Any, Ended()), lambda _: None, wanted)

    (directory / CONSOLE_LOG).write_text("")
    return take


PART = {
    "event": "layer", "name": "xfs", "type": "xfs", "status": "up", "devices": {"": "/dev/vda"},
    "mount": "/mnt", "size": 4096, "capabilities": [{"capability": "reflink", "supported": True}],
}  # fmt: skip
SETTING = {"event": "setting", "name": "a.b", "asked": "1", "status": "holds"}
LAST = b"lab: layers up ended 0\n"


def test_whatever_is_said_of_layers_is_a_part_or_the_guests_fault(tmp_path: Path) -> None:
    take = layers(tmp_path)
    whole = lines({"event": "starting", "name": "xfs"}, PART, SETTING) + LAST
    take(whole)
    endure(take, mutants([whole]), errors=(GuestError, HostError))
    for right in (PART, SETTING):
        given = (lines(each) + LAST for each in documents(right, INPUTS // 2))
        endure(take, given, errors=(GuestError, HostError))


@pytest.mark.parametrize("said", [b"[" * 10_000 + b"\n", b"x" * (3 << 20), b"null\n", b"{}\n"])
def test_what_is_no_part_is_quoted_in_short(tmp_path: Path, said: bytes) -> None:
    with pytest.raises(GuestError) as caught:
        layers(tmp_path)(said + LAST)
    assert len(str(caught.value)) < 20_000


@pytest.mark.parametrize(
    ("steps", "wrong"),
    [
        ([PART] * 2, "tells of xfs twice"),
        ([{**PART, "name": "other" * 1000}], "tells of other.*, which the profile has not"),
        ([SETTING] * 2, "more than 1 settings"),
        ([{"event": "starting", "x": "y" * 1_000_000}] * 20, "says more than"),
        ([{**PART, "keep": {str(key): [] for key in range(30_000)}}], "layers up failed"),
    ],
)
def test_no_more_is_kept_of_layers_than_the_profile_has(
    tmp_path: Path, steps: list[dict[str, Any]], wrong: str
) -> None:
    with pytest.raises(GuestError, match=wrong):
        layers(tmp_path)(lines(*steps) + LAST)


def test_what_a_part_says_can_be_shown(tmp_path: Path) -> None:
    (part,) = cast(
        tuple[StackPart, ...], layers(tmp_path)(lines({**PART, "said": EVIL, "mount": EVIL}) + LAST)
    )
    assert fit(part.said)
    assert fit(part.mount or "")


def test_a_console_of_gigabytes_is_read_at_its_end(tmp_path: Path) -> None:
    log = tmp_path / CONSOLE_LOG
    with log.open("wb") as file:
        file.truncate(10 << 30)
        file.seek(0, 2)
        file.write(b"\nKernel panic - not syncing: VFS\n[    1.000000] Oops: 0000 [#1] SMP\n")

    class Ended:
        directory = tmp_path

    assert lastwords.panic(lastwords.console(cast(Any, Ended()))) == (
        "Kernel panic - not syncing: VFS"
    )
    console = oops.Console(log)
    assert [*filter(oopsed, console.news())][:1] == ["Kernel panic - not syncing: VFS"]
    assert not any(map(oopsed, console.news()))
    assert "Kernel panic" in said(tmp_path)


def test_a_console_without_ends_of_lines_is_not_kept(tmp_path: Path) -> None:
    log = tmp_path / CONSOLE_LOG
    console = oops.Console(log)
    for _ in range(8):
        with log.open("ab") as file:
            file.write(b"x" * (1 << 20))
        console.news()
    assert len(console._rest) <= 1 << 20


@pytest.mark.parametrize(
    "garbage",
    [
        b"", b"HTTP/1.1 400\r\n\r\n", b"\0" * 4096, b"SSH-2.0-x\r\n" + b"\xff" * 4096,
        b"SSH-2.0-x\r\n\0\0\0\x0c\x0a\x14" + bytes(10), b"SSH-1.5-old\r\n", b"x" * 70_000,
    ],
)  # fmt: skip
def test_an_sshd_that_says_garbage_is_told_as_such(tmp_path: Path, garbage: bytes) -> None:
    host = tmp_path / "host"
    host.with_suffix(".pub").write_text("ssh-ed25519 AAAA lab\n")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.sendall(garbage)
                client.recv(1 << 16)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(GuestError, match="SSH to 127"):
            SshSession(server.getsockname()[1], Keys(host, host, host), deadline=5)


def test_evil_words_of_a_case_reach_nobody(tmp_path: Path) -> None:
    case = Case(EVIL, CaseStatus.FAIL, 1.0, EVIL, EVIL, known="", output=EVIL)
    assert fit(case.title.replace("\n", ""))
    assert fit(case.reason)
    ElementTree.fromstring(junit.xml("r", "s", [case], {"kernel": EVIL}))


@pytest.mark.parametrize("reader", [FstestsReader, BlktestsReader])
def test_whatever_a_suite_prints_becomes_cases(reader: Callable[[Any], Any]) -> None:
    right = (
        b"generic/001  5s\ngeneric/002 4s ...  [not run] no\ngeneric/003 - output mismatch\n"
        b"    --- a\n    +++ b\nblock/001 (a test)  [passed]\n    runtime  0.1s  ...  0.2s\n"
        b"block/002 => nvme0n1 (b)  [failed]\n    exited with status 1\nRan: generic/001\n"
    )
    names = ["generic/001", "generic/002", "generic/003", "block/001", "block/002"]

    def read(data: bytes) -> None:
        reading = reader(names)
        for line in data.decode(errors="replace").splitlines(keepends=True):
            for step in reading.feed(line):
                assert step.name in names
        for step in reading.finish():
            assert step.name in names

    endure(read, mutants([right]), errors=())


class Printing:
    """A suite of which there is only what reads its output."""

    def __init__(self, reader: Callable[[Any], Any]) -> None:
        self.reader = reader

    def evidence(self, section: str, name: str) -> dict[str, str]:
        return {"full": f"/r/{section}/{name}.full"}


@pytest.mark.parametrize(
    "reader",
    [FstestsReader, BlktestsReader, lambda _: MarkReader(judge)],
    ids=["fstests", "blktests", "marks"],
)
def test_whatever_a_suite_prints_leaves_a_sitting_with_its_cases(
    reader: Callable[[Any], Any],
) -> None:
    names = ["generic/001", "generic/002", "block/001", "block/002"]
    right = b"".join(
        b"%(name)s  5s\n%(name)s - bad\n    x\n%(name)s (a)  [failed]\n%(name)s (a)  [passed]\n"
        b"== %(name)s begins\nwhy\n== %(name)s ends 1\n== other ends 0\n" % {b"name": name.encode()}
        for name in names
    )

    with Run("p", "s") as run:

        def sit(data: bytes) -> None:
            ledger = Ledger(run, cast(Any, Unwatched()))
            suite, left = cast(Any, Printing(reader)), list(names)
            sitting = Sitting(suite, Batch("", tuple(names)), left, ledger, Watchdog())
            for line in data.decode(errors="replace").splitlines(keepends=True):
                for step in sitting.read(line):
                    if isinstance(step, FileRequest):
                        sitting.file(Read(step.tag))
            for step in sitting.end(0):
                if isinstance(step, FileRequest):
                    sitting.file(Read(step.tag))
            found = [case.name for case in ledger.cases]
            assert sorted([*found, *left]) == sorted(names)

        endure(sit, mutants([right]), errors=())


class Unwatched:
    """Nobody watches."""

    def on_begin(self, title: str) -> None: ...
    def on_case(self, case: Case) -> None: ...


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "a\0b", "", "."])
def test_evidence_stays_in_the_directory_of_its_run(name: str) -> None:
    with Run("p", "s") as run:
        before = set(run.directory.parent.rglob("*"))
        for put in (
            partial(run.save, name, b"x"),
            partial(run.keep, run.directory / "timeline.jsonl", name),
        ):
            with pytest.raises(LabError, match="no place"):
                put()
        assert set(run.directory.parent.rglob("*")) == before


def test_evil_words_of_a_run_reach_no_database() -> None:
    write_run(1, [judged(EVIL) | {"reason": EVIL}])
    with store_session() as store:
        feed(store)
        (row,) = store.scalars(select(CaseRow))
        assert fit(row.name.replace("\n", ""))
        assert fit(row.reason)
