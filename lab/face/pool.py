# SPDX-License-Identifier: GPL-2.0-or-later
"""The guests of a pytest session: shared within a scope, and what a failed test's has to say."""

import re
from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.face.faulting import FaultedCopy, faulted
from lab.face.guests import guest as boot
from lab.face.handle import GuestHandle
from lab.face.kernellog import KernelLog
from lab.face.outcome import RunOutcome
from lab.face.suites import run
from lab.guest.guests import keep_words
from lab.host import dirs

_SHOWN = 60
"""Lines of the console and of kernel messages in a report; the evidence has them all."""


@dataclass(frozen=True)
class GuestRequest:
    """What a guest is made of, as lab.guest() takes it."""

    profile: str
    kernel: str | None = None
    qemu: str | None = None
    set: tuple[str, ...] = ()

    def asked(self) -> dict[str, Any]:
        """Keyword arguments of lab.guest() and lab.run()."""
        return {"kernel": self.kernel, "qemu": self.qemu, "set": self.set}


class Pool:
    """The guests of a scope, at whose end they are taken down."""

    def __init__(self) -> None:
        self._guests: dict[GuestRequest, GuestHandle] = {}

    def use(
        self,
        profile: str,
        kernel: str | None = None,
        qemu: str | None = None,
        set: str | Iterable[str] = (),
    ) -> "GuestUse":
        """A guest for a test: one that is there and answers, or a new one.  Raises LabError."""
        changes = (set,) if isinstance(set, str) else tuple(set)
        wanted = GuestRequest(str(profile), kernel, qemu, changes)
        if guest := self._guests.get(wanted):
            with suppress(LabError):
                # In this order: what the kernel had to say before has reached the console then.
                log = guest.kernel_log()
                return GuestUse(self, wanted, guest, log, guest.console_size())
            # An earlier test has ended it, or its kernel hangs.
            self._guests.pop(wanted).down()
        guest = self._guests[wanted] = boot(wanted.profile, **wanted.asked())
        return GuestUse(self, wanted, guest, guest.kernel_log())

    def leave_up(self, wanted: GuestRequest) -> None:
        """Let a guest stay as it is; who wants one like it gets another."""
        self._guests.pop(wanted).keep()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as cleanup:
            for guest in self._guests.values():
                cleanup.callback(guest.down)


@dataclass
class GuestUse:
    """A guest while one test has it."""

    pool: Pool
    wanted: GuestRequest
    guest: GuestHandle
    log: KernelLog
    console: int = 0
    """What console_size() was when the test began; 0 in a guest that was booted for it."""
    kept: bool = False
    runs: list[Path] = field(default_factory=list)
    """Directories of the runs that the test made in it."""

    def copy(self, **options: Any) -> RunOutcome:
        """One copy without any fault, or what copy-faults' options ask for, judged."""
        if not options.keys() & {"points", "actions", "cases", "sweep"}:
            options["actions"] = ["rehearsal"]
        return self._run(**options)

    def fault(
        self, point: str, action: str = "eio", **options: Any
    ) -> AbstractContextManager[FaultedCopy]:
        """A copy that is held at a point in the block, and struck behind it."""
        return faulted(self._run, point, action, options)

    def _run(self, **options: Any) -> RunOutcome:
        outcome = run(
            self.wanted.profile, "copy-faults", on=self.guest, **self.wanted.asked(), **options
        )
        self.runs.append(outcome.directory)
        return outcome

    def keep(self) -> str:
        """Leave the guest up as it is; how to get in."""
        if not self.kept:
            self.kept = True
            self.pool.leave_up(self.wanted)
        name = self.guest.name
        if self.guest.alive():
            return f"lab ssh {name} goes in, lab down {name} ends it"
        return f"its QEMU has ended; {self.guest.directory} is there until lab down {name}"

    def sections(self, test: str) -> list[tuple[str, str]]:
        """Of a test that failed: what its guest's kernel said during it, the end of what the
        console did (since the boot if that was for this test), and where more is kept."""
        said = self._kernel_messages()
        try:
            place = self._save(test, said)
            console = self.guest.console(_SHOWN, since=self.console)
        except (OSError, LabError) as error:
            # Its state directory is full, or the test has taken it down.
            return [(f"lab: guest {self.guest.name}", str(error))]
        where = [str(place), *(f"run: {directory}" for directory in self.runs)]
        return [
            (f"lab: kernel messages of this test, guest {self.guest.name}", _last(said)),
            ("lab: console", console),
            ("lab: evidence", "\n".join(where)),
        ]

    def _save(self, test: str, said: list[str]) -> Path:
        """Keep what the guest leaves; where.  Raises OSError and HostError."""
        place = dirs.state("failed", self.guest.name, re.sub(r"[^\w.-]+", "-", test)[-100:])
        keep_words(self.guest.directory, place)
        (place / "kernel.log").write_text("".join(f"{line}\n" for line in said))
        return place

    def _kernel_messages(self) -> list[str]:
        try:
            return self.log.read()
        except LabError as error:
            return [f"the guest does not tell: {error.message}"]


def _last(lines: list[str]) -> str:
    left_out = len(lines) - _SHOWN
    shown = lines[-_SHOWN:]
    return "\n".join([f"({left_out} more before)", *shown] if left_out > 0 else shown)
