# SPDX-License-Identifier: GPL-2.0-or-later
"""Making the faults of a plan in a guest while a suite's command runs, and taking them back."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from lab.errors import GuestError, LabError
from lab.faults.stepper import counting
from lab.faults.tables import struck
from lab.guest import retries
from lab.guest.guest import Guest
from lab.guest.meanwhile import Meanwhile
from lab.guest.session import Channel, Session
from lab.profile.models import Profile
from lab.suites.fstests.faults.plan import FaultPlan, Window
from lab.suites.fstests.faults.recovery import FileSystemRecovery
from lab.suites.guest import GuestLost
from lab.suites.upstream.sitting import Excuse
from lab.vm.disks import find_disks

_WINDOWS = "/run/lab/bin/fault-windows"
_WORD = "lab: fault: "
"""What a window's beginning is called in the kernel's log, before its own words."""
_FAILED = re.compile(r"(?:critical )?[A-Za-z/ -]+ error, dev (\w+), sector \d+")
"""A request that failed (block/blk-mq.c, blk_print_req_error)."""

_DEADLINE = 120.0


class _Opener:
    """guest-scripts/suites/fault-windows on one layer; it ends with its session, or when closed,
    and leaves the layer as it was."""

    def __init__(self, session: Session, window: Window) -> None:
        self.window = window
        self.opened = 0
        """How many windows there were; known once it is closed."""
        good = session.run(["dmsetup", "table", window.layer], deadline=_DEADLINE).stdout
        bad = struck(good, window.action)
        times = (str(window.every - window.length), str(window.length))
        words = f"{window.action} of {window.layer}"
        self._process = session.process
        self._channel: Channel = session.channel([_WINDOWS, window.layer, good, bad, *times, words])

    def begin(self) -> None:
        """Open the first window in its time from now.  Raises GuestError."""
        try:
            self._channel.sendall(b".")
        except OSError as error:
            raise GuestError(f"faults: {self.window}: {error}") from error

    def close(self) -> None:
        """End it, and wait until the layer is whole.  Raises GuestError when that fails."""
        with suppress(OSError):
            self._channel.shutdown_write()
        opening = Meanwhile(self._channel, self._process)
        if problem := opening.ended(_DEADLINE):
            raise GuestError(f"faults: {self.window}: {problem}")
        self.opened = int(opening.said)


@dataclass
class GuestFaults:
    """What is done to one guest of a profile, as it is booted, while a suite's cases run there."""

    plan: FaultPlan
    profile: Profile
    recovery: FileSystemRecovery
    """The suite of the cases that follow each."""

    def __post_init__(self) -> None:
        self._lies: list[str] = []
        """What was reported written and was not, in the case before."""
        self._begin: list[Callable[[], object]] = []
        """What is still to be done when the case begins."""

    @contextmanager
    def made(self, guest: Guest, session: Session) -> Iterator[None]:
        """Make the faults in the body, from begin() on.

        If the guest is lost to it they are lost with it.  Raises GuestError when one cannot be
        made, or taken back.
        """
        self._lies = [str(window) for window in self.plan.windows if window.lies]
        with ExitStack() as healing:
            try:
                openers = [self._opener(session, window, healing) for window in self.plan.windows]
                self._begin = [opener.begin for opener in openers]
                self._begin += self._requests(guest, session, healing)
                yield
            except GuestLost:
                # Nobody answers there any more.
                healing.pop_all()
                raise
            except BaseException:
                with suppress(LabError):
                    healing.close()
                raise
            finally:
                self._begin = []
        self._lies = [str(each.window) for each in openers if each.opened and each.window.lies]

    def begin(self) -> None:
        """The case has begun: windows open from now on, and requests count.  Raises GuestError."""
        for begin in self._begin:
            begin()
        self._begin = []

    def _opener(self, session: Session, window: Window, healing: ExitStack) -> _Opener:
        opener = _Opener(session, window)
        healing.callback(opener.close)
        return opener

    def _requests(
        self, guest: Guest, session: Session, healing: ExitStack
    ) -> Iterator[Callable[[], object]]:
        """What makes the fault layers count."""
        if self.plan.requests:
            # A driver that tries again would make nothing of a request that fails once.
            retries.let_errors_through(session)
            healing.callback(retries.restore, session)
        there = find_disks(self.profile)
        exchange = guest.machine.exchange_fault_layer
        for request in self.plan.requests:
            drive = there[request.disk].drive
            healing.callback(exchange, drive)
            yield partial(exchange, drive, more=counting(request.at, request.error))

    def excuse(self, session: Session, *, recovery: bool) -> Excuse:
        """What a failure is put down to: of a case, the faults that the kernel's log tells of; of
        what follows it, lies alone."""
        if recovery:
            return lambda _: "; ".join(self._lies)
        there = find_disks(self.profile)
        nodes = [there[request.disk].node for request in self.plan.requests]
        names = [
            session.run(["readlink", "-e", node], deadline=_DEADLINE).stdout.strip()
            for node in nodes
        ]
        return partial(seen, [name.rpartition("/")[2] for name in names])


def seen(disks: Sequence[str], messages: Sequence[str]) -> str:
    """What the kernel's messages tell of faults, in words; '' if nothing.

    `disks` are those whose requests fail, as the kernel calls them.
    """
    windows = Counter(m.removeprefix(_WORD) for m in messages if m.startswith(_WORD))
    failed = Counter(match[1] for m in messages if (match := _FAILED.match(m)))
    found = [f"{words}{_times(number)}" for words, number in windows.items()]
    found += [
        f"a request of {disk} failed{_times(number)}"
        for disk, number in failed.items()
        if disk in disks
    ]
    return "; ".join(found)


def _times(number: int) -> str:
    return f" {number} times" if number > 1 else ""
