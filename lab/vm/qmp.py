# SPDX-License-Identifier: GPL-2.0-or-later
"""A blocking QMP client with deadlines, over qemu.qmp's asyncio one.

One event-loop thread per client, owned by it; everything else in the lab is plain blocking
code.  qemu.qmp's `execute()` has no timeout of its own: here every call has one.
"""

import asyncio
import atexit
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from qemu.qmp import ExecuteError, Message, QMPClient, QMPError

from lab.errors import HostError, TooSlow
from lab.host import dirs
from lab.host.patience import Patience
from lab.host.process import Process
from lab.vm.argv import QMP_SOCKET

CONNECT_DEADLINE = 10.0
"""Seconds for QEMU to greet: it talks to one client at a time."""
_LOOK = 0.02
"""Seconds at least between two looks at whether QEMU had a processor."""
_GRACE = 0.5
"""Seconds for a task to end by itself."""
_PARTING = 5.0
"""Seconds for what is under way to end, when the connection is closed."""

T = TypeVar("T")
EventSink = Callable[[str, dict[str, Any]], None]

# The library logs what it also raises; the raised error reaches the user, the log need not.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL + 1)


class QmpTimeout(HostError, TooSlow):
    """QEMU did not answer in time."""


class QmpLost(HostError):
    """The connection to QEMU has broken; mostly since QEMU is dying."""


class Qmp:
    """A connection to the QMP socket in a guest's directory; close it, or use it as a context."""

    def __init__(
        self, directory: Path, on_event: EventSink | None = None, process: Process | None = None
    ) -> None:
        """Connect.  Raises HostError when nobody listens or no greeting comes in time; time does
        not count in which QEMU, `process`, had no processor."""
        self._directory = directory
        self._process = process
        self._on_event = on_event
        self._loop = asyncio.new_event_loop()
        # What a task fails with is raised where it is awaited; nobody else need read of it.
        self._loop.set_exception_handler(lambda _loop, _context: None)
        self._thread = threading.Thread(target=self._loop.run_forever, name="qmp", daemon=True)
        self._thread.start()
        self._client = QMPClient("lab")
        self._watcher: Future[None] | None = None
        try:
            self._run(self._connect(), CONNECT_DEADLINE, "connect")
            self._watcher = asyncio.run_coroutine_threadsafe(self._watch(), self._loop)
        except BaseException:
            self._stop_loop()
            raise
        # Python's end would find tasks that nobody runs any more, and say so.
        atexit.register(self.close)

    def execute(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        *,
        deadline: float = 10.0,
    ) -> Any:
        """Run one command and return its answer.

        Raises HostError with QEMU's own words when it refuses or has gone, and QmpTimeout when
        it does not answer in `deadline` seconds.
        """
        return self._run(
            self._client.execute(command, dict(arguments) if arguments else None), deadline, command
        )

    def give(self, fd: int, command: str, arguments: Mapping[str, object] | None = None) -> Any:
        """Run a command that takes an open file (getfd, add-fd), and return its answer.  Raises
        HostError, as execute() does."""

        async def given() -> Any:
            self._client.send_fd_scm(fd)
            return await self._client.execute(command, dict(arguments) if arguments else None)

        return self._run(given(), CONNECT_DEADLINE, command)

    def close(self) -> None:
        """Disconnect; never raises, whatever became of QEMU."""
        atexit.unregister(self.close)
        with contextlib.suppress(HostError):
            self._run(self._client.disconnect(), 2.0, "disconnect")
        self._stop_loop()

    def __enter__(self) -> "Qmp":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _connect(self) -> None:
        with dirs.short(self._directory) as short:
            await self._client.connect(str(short / QMP_SOCKET))

    async def _watch(self) -> None:
        async for event in self._client.events:
            self._emit(event)

    def _emit(self, event: Message) -> None:
        if self._on_event:
            data = event.get("data")
            self._on_event(str(event["event"]), data if isinstance(data, dict) else {})

    def _run(self, work: Coroutine[Any, Any, T], deadline: float, what: str) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        patience = Patience(self._process, deadline)
        try:
            while (left := patience.left()) > 0:
                with contextlib.suppress(TimeoutError):
                    return future.result(max(left, _LOOK))
            future.cancel()
            raise QmpTimeout(f"QMP {what}: no answer from QEMU within {patience}")
        except ExecuteError as error:
            raise HostError(f"QMP {what}: {error}") from error
        except (QMPError, OSError, EOFError, asyncio.CancelledError) as error:
            raise QmpLost(f"QMP {what}: {error or type(error).__name__}") from error

    def _stop_loop(self) -> None:
        """End every task before the loop, which is then closed; never raises."""
        if self._watcher:
            self._watcher.cancel()
        with contextlib.suppress(TimeoutError, asyncio.CancelledError):
            asyncio.run_coroutine_threadsafe(_end_all(), self._loop).result(2 * _PARTING)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PARTING)
        if not self._thread.is_alive():
            self._loop.close()


async def _end_all() -> None:
    """Let all other tasks of this loop end, and cancel those that do not.

    A connection that is given up while it comes about closes its socket in a task that it starts
    then (qemu.qmp, protocol.py); were that cancelled at once, the socket would stay open.
    """
    mine, end = asyncio.current_task(), time.monotonic() + _PARTING
    while (others := asyncio.all_tasks() - {mine}) and time.monotonic() < end:
        _, left = await asyncio.wait(others, timeout=_GRACE)
        for task in left:
            task.cancel()
    # What was closed is let go of in the loop's next round.
    await asyncio.sleep(0)
