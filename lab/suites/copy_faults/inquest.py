# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose failure an error in a case is: that of the guest's kernel or of QEMU, or the lab's own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lab.errors import KernelHang, LabError
from lab.guest.kmsg import fatal
from lab.guest.lastwords import hear_out
from lab.guest.oops import Console
from lab.guest.traces import where
from lab.results.run import Run
from lab.suites.copy_faults.failures import DeviceFailure
from lab.vm.argv import CONSOLE_LOG
from lab.vm.machine import Machine
from lab.vm.qmp import QmpTimeout

_AFTERMATH = 2.0
"""Seconds without a word after which the trace of a kernel that failed is complete."""


class Inquest:
    """What is looked at when something fails in one boot of a guest; `dump` keeps its memory."""

    def __init__(self, run: Run, machine: Machine, dump: Callable[[str], None]) -> None:
        self._run = run
        self._machine = machine
        self._dump = dump
        self._console = Console(machine.directory / CONSOLE_LOG)

    @contextmanager
    def device_may_fail(self) -> Iterator[None]:
        """What goes wrong inside because QEMU or the guest's kernel crashed, or hangs, is raised as
        DeviceFailure; of such a kernel the memory is kept, and it is killed."""
        self.forget()
        with self.guest_may_fail():
            yield

    def forget(self) -> None:
        """What the kernel has said until now came before, or was provoked: nothing fails by it."""
        self._console.news()

    @contextmanager
    def guest_may_fail(self) -> Iterator[None]:
        """The same, by all that the kernel has said in this boot and nobody has looked at."""
        try:
            yield
        except LabError as error:
            self.hold(error)
            raise

    def hold(self, error: LabError) -> None:
        """Raise DeviceFailure if QEMU or the guest's kernel is what came to an error."""
        if crash := self._crash(error):
            self._run.emit("guest", "crash", text=crash)
            raise DeviceFailure(crash) from error

    def _crash(self, error: LabError) -> str:
        """How QEMU or the guest's kernel came to an error; '' if neither did."""
        if crash := self._machine.crash():
            return crash
        if isinstance(error, QmpTimeout):
            return f"QEMU hangs: {error.message}"
        news = self._console.news()
        if any(map(fatal, news)):
            hear_out(self._machine, _AFTERMATH)
            return self._failed([*news, *self._console.news()])
        if isinstance(error, KernelHang):
            self._end(error.message)
            return error.message
        return ""

    def _failed(self, news: list[str]) -> str:
        """What a kernel has come to that says so among its messages."""
        said = next(filter(fatal, news))
        self._end(said)
        place = where(news[news.index(said) :])
        return f"the guest's kernel: {said}" + (f"; in {place}" if place else "")

    def _end(self, why: str) -> None:
        self._dump(why)
        self._machine.kill()
