# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that is up, as a program has it."""

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import UsageError
from lab.face.hold import HeldRequest, hold
from lab.face.kernellog import KernelLog
from lab.foreign import end_of, harmless
from lab.guest import keys, readback, registry
from lab.guest.guest import Guest
from lab.guest.session import Result, Session
from lab.host.command import tail
from lab.vm.argv import CONSOLE_LOG
from lab.vm.machine import Machine

if TYPE_CHECKING:
    from lab.face.connection import Connection

_CONSOLE_READ = 1 << 20
"""Bytes of a console that are looked at, its last ones."""


class GuestHandle:
    """A guest that is up.  Several threads may use it, one of them `hold`.

    At the end of a `with` block the guest is taken down, unless it was up before or is to be kept.
    """

    def __init__(self, guest: Guest, *, own: bool) -> None:
        self._found = guest
        self._own = own
        self._lock = threading.RLock()
        self._session: Session | None = None
        self._connection: Connection | None = None

    def __repr__(self) -> str:
        return f"<guest {self.name} of {self.profile}>"

    @property
    def _guest(self) -> Guest:
        """The guest as it is now: a run in it may have booted it again."""
        with self._lock:
            found = self._found
            if not found.machine.alive():
                record = registry.read(found.directory)
                if record and record.alive():
                    self._close()
                    found.record, found.machine = record, Machine(found.directory, record.qemu)
            return found

    @property
    def name(self) -> str:
        """What commands call it: `lab ssh NAME`."""
        return self._found.record.name

    @property
    def profile(self) -> str:
        """The name of its profile."""
        return self._guest.record.profile.name

    @property
    def kernel(self) -> str:
        """Its kernel's release."""
        return self._guest.record.kernel

    @property
    def accelerator(self) -> str:
        """`kvm` or `tcg`."""
        return self._guest.record.accelerator

    @property
    def directory(self) -> Path:
        """Its files on the host, with the media of its disks; they go with it."""
        return self._found.directory

    @property
    def notes(self) -> list[str]:
        """What it has otherwise than its profile asks for, and why it is slow if it is."""
        record = self._guest.record
        found = [f"{one.feature} of device {one.device}: {one.said}" for one in record.missing]
        found += [one.why() for one in readback.found(self.directory) if one.failed]
        if record.accelerator_note:
            found.append(f"no KVM, slow TCG emulation instead: {record.accelerator_note}")
        return found

    def alive(self) -> bool:
        """Whether its QEMU runs; a guest whose kernel panics ends it."""
        return self._guest.machine.alive()

    def console(self, lines: int = 40, *, since: int = 0) -> str:
        """The last lines of its serial console, also of a guest that has died; of what came since
        console_size() was `since`, or of all that is kept if it was shortened meanwhile."""
        self._require_not_down()
        size = self.console_size()
        new = size - since if since <= size else size
        said = end_of(self.directory / CONSOLE_LOG, min(new, _CONSOLE_READ))
        return tail(harmless(said), lines)

    def console_size(self) -> int:
        """Bytes that its serial console has said; fewer once it had said too much to be kept."""
        self._require_not_down()
        return (self.directory / CONSOLE_LOG).stat().st_size

    def run(
        self,
        argv: Sequence[str],
        *,
        deadline: float = 60.0,
        check: bool = True,
        stdin: bytes | None = None,
    ) -> Result:
        """Run a command to its end, with `stdin` to read unless that is None.

        Raises GuestError when it takes longer than `deadline` seconds, and, if `check`, when its
        exit status is not 0; HostError when QEMU has died; UsageError for what is no command.
        """
        # pytest shows the line of the test instead.
        __tracebackhide__ = True
        _require_words(argv)
        with self._guest.machine.talked_to():
            result = self._opened().run(argv, deadline=deadline, check=False, stdin=stdin)
        if check:
            result.require_success()
        return result

    @property
    def connection(self) -> "Connection":
        """A fabric.Connection to it, open, the same for all; see connect()."""
        with self._lock:
            _ = self._guest
            if self._connection is None or not self._connection.is_connected:
                self._connection = self.connect()
            return self._connection

    def connect(self) -> "Connection":
        """A fabric.Connection of the caller's own.  Raises GuestError, or HostError when QEMU has
        died."""
        from lab.face import connection

        self._require_not_down()
        with self._guest.machine.talked_to():
            return connection.connect(self._guest.record.port, keys.of(self._guest.directory))

    def hold(self, point: str, *, disk: str | None = None) -> AbstractContextManager[HeldRequest]:
        """Hold a request, as `lab fault` does: `write:2` is the second write of the disk from the
        beginning of the `with` block on, at whose end it is let go.

        `disk` is SERIAL or SERIAL:NSID, the first one unless it is said.  Raises UsageError where
        there is no such point or disk, or something is held already, HostError when QEMU has died.
        """
        self._require_not_down()
        if not self.alive():
            raise self._guest.machine.died()
        return hold(self._guest, point, disk)

    def kernel_log(self) -> KernelLog:
        """What the kernel says from now on.  Raises GuestError."""
        return KernelLog(self._opened())

    def keep(self) -> None:
        """Let the guest stay until `lab down`, whatever becomes of this process."""
        self._require_not_down()
        self._guest.release()
        self._own = False

    def down(self) -> None:
        """Take the guest down, dead or alive; its media are gone with it."""
        self._close()
        self._found.down()
        self._own = False

    def __enter__(self) -> "GuestHandle":
        return self

    def __exit__(self, *_: object) -> None:
        if self._own:
            self.down()
        else:
            self._close()

    def _require_not_down(self) -> None:
        if not self.directory.exists():
            raise UsageError(
                f"guest {self.name} was taken down", hint="lab.guest() boots another one"
            )

    def _opened(self) -> Session:
        self._require_not_down()
        with self._lock:
            guest = self._guest
            if self._session is None or not self._session.is_open:
                self._session = guest.connect()
            return self._session

    def _close(self) -> None:
        with self._lock:
            for one in (self._connection, self._session):
                if one is not None:
                    one.close()
            self._connection = self._session = None
            self._found.close()


def _require_words(argv: Sequence[str]) -> None:
    if isinstance(argv, str):
        raise UsageError(
            f"guest.run({argv!r}): a command is a list of words",
            hint=f'["sh", "-c", {argv!r}] has the guest\'s shell read it',
        )
    # The guest's SSH server hangs up on a NUL, which no argument can have.
    if not argv or not all(isinstance(word, str) and "\0" not in word for word in argv):
        raise UsageError(
            f"guest.run({argv!r}): a command is a list of words",
            hint="one str at least, none with a NUL",
        )
