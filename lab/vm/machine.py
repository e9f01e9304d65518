# SPDX-License-Identifier: GPL-2.0-or-later
"""One QEMU process and the way to speak to it."""

import contextlib
import json
import re
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.errors import GuestError, GuestGone, HostError, LabError
from lab.host.command import end_group, uninterrupted
from lab.host.patience import Patience
from lab.host.process import Process
from lab.vm import trace
from lab.vm.argv import CONSOLE_SOCKET, PID_FILE, PORT_SOCKET, QMP_SOCKET, TRACE_LOG
from lab.vm.bound import bounded
from lab.vm.ending import EXIT_STATUS, STDERR, ending, exit_status, said
from lab.vm.graph import Drive, Rule
from lab.vm.qmp import EventSink, Qmp, QmpLost, QmpTimeout
from lab.vm.start import DEADLINE, LateStart, await_pid, launch_error, supervised
from lab.vm.walls import Reach, walled

ARGV = "argv.json"
PLUGGED = "plugged.json"
"""What was plugged into a machine that began from a checkpoint, as blockdev-add and device_add take
it."""
_DEATH_THROES = 2.0
"""Seconds between a guest's connection breaking and the end of its QEMU, core dump included."""
_CRASHES = {
    128 + number
    for number in (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
}

_NO_TRACE = "use a QEMU that was built with --enable-trace-backends=log, its default"


class Machine:
    """A QEMU that was started in `directory`; attach to it from any process."""

    def __init__(self, directory: Path, process: Process, on_event: EventSink | None = None):
        self.directory = directory
        self.process = process
        self.holding = False
        """A request is suspended: whatever drains now would hang QEMU for good."""
        self._on_event = on_event
        self._qmp: Qmp | None = None

    @classmethod
    def launch(
        cls,
        directory: Path,
        argv: Sequence[str],
        reach: Reach,
        on_event: EventSink | None = None,
    ) -> "Machine":
        """Start QEMU in `directory`, within walls where this host has some and with so much memory
        and no more, and wait until its QMP socket answers.

        Raises HostError with QEMU's exit status and stderr when it ends instead.
        """
        (directory / ARGV).write_text(json.dumps(list(argv), indent=1))
        for leftover in (PID_FILE, EXIT_STATUS, QMP_SOCKET, CONSOLE_SOCKET, PORT_SOCKET, PLUGGED):
            (directory / leftover).unlink(missing_ok=True)
        words = [*bounded(reach.memory), *walled(directory, reach), *argv]
        with contextlib.ExitStack() as unless_up:
            with uninterrupted():
                supervisor = supervised(directory, words)
                unless_up.callback(end_group, supervisor)
            process = await_pid(directory, supervisor, argv[0])
            machine = cls(directory, process, on_event)
            unless_up.callback(machine.kill)
            machine._connect(Patience(process, DEADLINE))
            unless_up.pop_all()
        return machine

    def _connect(self, patience: Patience) -> None:
        """Connect to a QEMU that has its pid file, but may not listen yet."""
        while True:
            try:
                self._qmp = Qmp(self.directory, self._on_event, self.process)
                return
            except HostError as error:
                if not self.alive():
                    raise launch_error(self.directory, "QEMU") from error
                if patience.over():
                    raise LateStart(
                        f"QEMU does not answer: {error.message}", detail=self.said()
                    ) from error
            time.sleep(0.005)

    @property
    def qmp(self) -> Qmp:
        """The QMP connection, made at first use."""
        if self._qmp is None:
            self._qmp = Qmp(self.directory, self._on_event, self.process)
        return self._qmp

    def hear(self, on_event: EventSink) -> None:
        """Be told of QEMU's events from now on."""
        self.close()
        self._on_event = on_event

    def alive(self) -> bool:
        """Whether QEMU still runs."""
        return self.process.alive()

    def execute(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        *,
        deadline: float = 10.0,
    ) -> Any:
        """A QMP command.  If QEMU does not answer while a request is held, it hangs in a drain
        that nothing but SIGKILL ends: it is killed, and the HostError says so."""
        try:
            return self.qmp.execute(command, arguments, deadline=deadline)
        except QmpTimeout as error:
            if not self.holding:
                raise
            self.kill()
            raise HostError(
                f"{error.message} while a request was held: QEMU (pid {self.process.pid}) hung "
                "in a drain and was killed",
                hint="release a held copy before anything that drains: stop, reset, quit, unplug",
            ) from error
        except HostError as error:
            raise self._blamed(error) from error.__cause__

    @contextlib.contextmanager
    def talked_to(self) -> Iterator[None]:
        """While its guest is talked to: raises HostError with QEMU's end in place of an error that
        this has brought about."""
        try:
            yield
        except GuestError as error:
            raise self._blamed(error) from error.__cause__

    def _blamed(self, error: LabError) -> LabError:
        """QEMU's end, if an error came of that, or the error itself."""
        # A connection breaks a moment before its QEMU is gone.
        throes = _DEATH_THROES if isinstance(error, (QmpLost, GuestGone)) else 0.0
        return error if self._outlives(throes) else self.died()

    def _outlives(self, seconds: float) -> bool:
        """Whether QEMU still runs after so many seconds; returns as soon as it does not."""
        end = time.monotonic() + seconds
        while self.alive() and time.monotonic() < end:
            time.sleep(0.01)
        return self.alive()

    def _monitor(self, line: str) -> str:
        """A line of the human monitor, for what QMP has no command for; what it prints."""
        return str(self.execute("human-monitor-command", {"command-line": line}))

    def qemu_io(self, drive: str, command: str) -> None:
        """A qemu-io command on a drive.  It is addressed by qdev id: by node name QEMU would
        deadlock while a request is suspended.  What qemu-io prints goes to QEMU's stdout."""
        self.order(f'qemu-io -d {drive} "{command}"')

    def order(self, line: str) -> None:
        """A line of the human monitor that says nothing when all is well.  Raises HostError with
        what it says."""
        said = self._monitor(line).strip()
        if said:
            raise HostError(f"{line}: {said}")

    def exchange_fault_layer(
        self,
        drive: Drive,
        rules: Sequence[Rule] = (),
        fragment: int = 0,
        more: Mapping[str, object] | None = None,
    ) -> str:
        """Put a new blkdebug with these rules above the write log, in place of the present one;
        its node name.

        Nothing may be held.  For `fragment` see Drive.fault_layer; `more` are further options of
        blkdebug, as `blockdev-add` takes them.
        """
        present = self.fault_layers(drive)
        layer = drive.fault_layer(present[-1] + 1, rules, fragment)
        layer[0] |= more or {}
        for node in layer:
            self.execute("blockdev-add", node)
        self.execute(
            "qom-set",
            {
                "path": f"/machine/peripheral/{drive.id}",
                "property": "drive",
                "value": layer[-1]["node-name"],
            },
        )
        # More than one, and one of them in part, where a lab was killed in the middle of this.
        names = self._node_names()
        for generation in present:
            for old in reversed(drive.fault_layer(generation)):
                if old["node-name"] in names:
                    self.execute("blockdev-del", {"node-name": old["node-name"]})
        return str(layer[0]["node-name"])

    def failed_requests(self, drive: Drive) -> int:
        """How many reads and writes of a disk have failed since QEMU began, whoever made them.

        Each of the devices that the lab has counts them (QEMU block/accounting.c).  Raises
        HostError.
        """
        found = [
            each["stats"]
            for each in self.execute("query-blockstats")
            if drive.id in each.get("qdev", "").split("/")
        ]
        if len(found) != 1:
            raise HostError(f"QEMU counts the requests of {len(found)} disks called {drive.id}")
        return sum(int(found[0][f"failed_{kind}_operations"]) for kind in ("rd", "wr"))

    def fault_layers(self, drive: Drive) -> list[int]:
        """The numbers of the drive's fault layers, which any lab process may have set; the
        present one is the last, unless a lab was killed while it exchanged them."""
        prefix = f"{drive.id}-fault"
        found = (name for name in self._node_names() if name.startswith(prefix))
        return sorted(int(name.removeprefix(prefix)) for name in found)

    def _node_names(self) -> set[str]:
        nodes = self.execute("query-named-block-nodes", {"flat": True})
        return {node["node-name"] for node in nodes}

    def trace(self, patterns: Iterable[str]) -> None:
        """Let trace events that match the patterns be written to the trace log.

        Raises HostError when this QEMU has none that match one, or writes none to the log.
        """
        for pattern in patterns:
            self._enable(pattern)
            found = self.execute("trace-event-get-state", {"name": pattern})
            if not any(event["state"] == "enabled" for event in found):
                raise HostError(
                    f"this QEMU does not trace {pattern}: trace-event-get-state says {found}",
                    hint=_NO_TRACE,
                )
        self._prove_trace()

    def trace_again(self, patterns: Iterable[str], *, wanted: bool = True) -> None:
        """Let trace events be written that were before, or be written no more."""
        for pattern in patterns:
            self._enable(pattern, wanted=wanted)

    def _prove_trace(self) -> None:
        """Have a QMP command traced, and look for it in the log: a QEMU that was built with
        another trace backend enables events as well, and writes them elsewhere."""
        log = self.directory / TRACE_LOG
        before = log.stat().st_size if log.exists() else 0
        self._enable(trace.PROOF)
        self._enable(trace.PROOF, wanted=False)
        written = log.read_bytes()[before:].decode(errors="replace") if log.exists() else ""
        if not any(line.event == trace.PROOF for line in trace.parse(written)):
            raise HostError(
                f"this QEMU writes no trace events to its log ({TRACE_LOG})", hint=_NO_TRACE
            )

    def _enable(self, pattern: str, *, wanted: bool = True) -> None:
        self.execute("trace-event-set-state", {"name": pattern, "enable": wanted})

    def ssh_port(self) -> int:
        """The loopback port that QEMU forwards to the guest's port 22."""
        answer = self._monitor("info usernet")
        match = re.search(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)", answer)
        if not match:
            raise HostError("QEMU forwards no port to the guest", detail=answer)
        return int(match[1])

    def kill(self) -> None:
        """SIGKILL QEMU and wait for its end.  SIGTERM would drain first: with a request held,
        or a power cut wanted, that is just what must not happen."""
        self.process.kill()
        # Written a moment later: it must not be taken for the end of the QEMU that comes next.
        exit_status(self.directory)
        self.holding = False
        self.close()

    def close(self) -> None:
        """Let go of QEMU without touching it."""
        if self._qmp:
            self._qmp.close()
            self._qmp = None

    def crash(self) -> str:
        """How QEMU ended by a fault of its own (assertion, segmentation fault), in words; empty
        if it runs, or was ended from outside."""
        if self._outlives(_DEATH_THROES) or exit_status(self.directory) not in _CRASHES:
            return ""
        lines = (self.directory / STDERR).read_text(errors="replace").splitlines()
        last = lines[-1] if lines else "it said nothing"
        return f"QEMU {ending(self.directory)}: {last}"

    def said(self) -> str:
        """The end of QEMU's stderr and of the guest's console."""
        return said(self.directory)

    def died(self) -> HostError:
        """The error that reports a QEMU that is gone, with its exit status and last words."""
        return HostError(
            f"QEMU (pid {self.process.pid}) {ending(self.directory)}", detail=self.said()
        )
