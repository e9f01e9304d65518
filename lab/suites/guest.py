"""The guest that a suite of the lab's own has for a run."""

from lab.guest import guest as guests
from lab.guest import stack
from lab.guest.boot import Platform, Progress
from lab.guest.ssh import Session
from lab.host.process import me
from lab.profile.models import Profile
from lab.results.run import Run
from lab.suites.outcome import Outcome
from lab.vm.argv import CONSOLE_LOG
from lab.vm.machine import STDERR

_DEADLINE = 120.0


class OwnGuest:
    """A guest booted for a run, again when a case has ended or spoilt it, and taken down at the
    end of a `with` block; what each boot leaves on the host is kept."""

    def __init__(
        self, record: Run, profile: Profile, platform: Platform, progress: Progress
    ) -> None:
        self.progress = progress
        self._record = record
        self._platform = platform
        self._session: Session | None = None
        self.guest = guests.start(
            f"run-{record.id}", profile, progress,
            owner=me(), platform=platform, on_event=record.qmp_event,
        )  # fmt: skip

    def __enter__(self) -> "OwnGuest":
        return self

    def __exit__(self, *_: object) -> None:
        self._disconnect()
        self.guest.down()

    def connect(self) -> Session:
        """The connection of this boot, made once, after which its tasks can be asked for."""
        self._session = self.guest.connect()
        self._session.run(["sysctl", "-q", "-w", "kernel.sysrq=1"], deadline=_DEADLINE)
        return self._session

    def describe(self, outcome: Outcome) -> None:
        """Tell what the guest's kernel offers, and how long it took to boot."""
        outcome.capabilities = stack.table(
            stack.found(self.guest.directory), self.guest.record.missing
        )
        outcome.boot = self.guest.boot_seconds

    def reboot(self) -> None:
        """Boot the guest again, dead or alive, on its media; it is to be connected to again."""
        self._disconnect()
        self.guest.machine.kill()
        self.guest.reboot(self._platform, self.progress, self._record.qmp_event)

    def _disconnect(self) -> None:
        if self._session:
            self._session.close()
            self._session = None
        for name in (CONSOLE_LOG, STDERR):
            self._record.keep(self.guest.directory / name, name)
