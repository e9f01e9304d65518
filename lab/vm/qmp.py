"""A blocking QMP client with deadlines, over qemu.qmp's asyncio one.

One event-loop thread per client, owned by it; everything else in the lab is plain blocking
code.  qemu.qmp's `execute()` has no timeout of its own: here every call has one.
"""

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from qemu.qmp import ExecuteError, Message, QMPClient, QMPError

from lab.errors import HostError
from lab.vm.argv import QMP_SOCKET

T = TypeVar("T")
EventSink = Callable[[str, dict[str, Any]], None]

# The library logs what it also raises; the raised error reaches the user, the log need not.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL + 1)


class QmpTimeout(HostError):
    """QEMU did not answer in time."""


class QmpLost(HostError):
    """The connection to QEMU has broken; mostly since QEMU is dying."""


class Qmp:
    """A connection to the QMP socket in a guest's directory; close it, or use it as a context."""

    def __init__(self, directory: Path, on_event: EventSink | None = None) -> None:
        """Connect.  Raises HostError when nobody listens or no greeting comes in 10 s."""
        self._directory = directory
        self._on_event = on_event
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="qmp", daemon=True)
        self._thread.start()
        self._client = QMPClient("lab")
        try:
            self._run(self._connect(), 10.0, "connect")
            self._watcher = asyncio.run_coroutine_threadsafe(self._watch(), self._loop)
        except BaseException:
            self._stop_loop()
            raise

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

    def close(self) -> None:
        """Disconnect; never raises, whatever became of QEMU."""
        with contextlib.suppress(HostError):
            self._run(self._client.disconnect(), 2.0, "disconnect")
        self._stop_loop()

    def __enter__(self) -> "Qmp":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _connect(self) -> None:
        # A Unix socket address holds 107 bytes; through /proc any directory is short enough.
        fd = os.open(self._directory, os.O_PATH | os.O_DIRECTORY)
        try:
            await self._client.connect(f"/proc/self/fd/{fd}/{QMP_SOCKET}")
        finally:
            os.close(fd)

    async def _watch(self) -> None:
        async for event in self._client.events:
            self._emit(event)

    def _emit(self, event: Message) -> None:
        if self._on_event:
            data = event.get("data")
            self._on_event(str(event["event"]), data if isinstance(data, dict) else {})

    def _run(self, work: Coroutine[Any, Any, T], deadline: float, what: str) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(deadline)
        except TimeoutError as error:
            future.cancel()
            raise QmpTimeout(f"QMP {what}: no answer from QEMU within {deadline:.0f} s") from error
        except ExecuteError as error:
            raise HostError(f"QMP {what}: {error}") from error
        except (QMPError, OSError, EOFError, asyncio.CancelledError) as error:
            raise QmpLost(f"QMP {what}: {error or type(error).__name__}") from error

    def _stop_loop(self) -> None:
        def cancel_all() -> None:
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.call_soon(self._loop.stop)

        self._loop.call_soon_threadsafe(cancel_all)
        self._thread.join(5.0)
        if not self._thread.is_alive():
            self._loop.close()
