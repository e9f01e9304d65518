"""The bench of a run from boot to take-down."""

from lab.copy.paths.base import CopyPath
from lab.errors import LabError
from lab.guest import guest as guests
from lab.guest.boot import Platform, Progress
from lab.guest.guest import Guest
from lab.host.process import me
from lab.profile.models import Profile
from lab.results.run import Run
from lab.suites.copy_faults.bench import Bench


class Booted:
    """The bench of a run, from boot to take-down; evidence is kept whatever happens."""

    def __init__(
        self,
        run: Run,
        profile: Profile,
        platform: Platform,
        path: CopyPath,
        progress: Progress,
        on: Guest | None,
    ) -> None:
        self._run = run
        self._profile = profile
        self._platform = platform
        self._path = path
        self._progress = progress
        self._on = on
        self._guest: Guest | None = on
        self._bench: Bench | None = None

    def __enter__(self) -> Bench:
        if self._guest is None:
            self._guest = guests.start(
                f"run-{self._run.id}", self._profile, self._progress,
                owner=me(), platform=self._platform, on_event=self._run.qmp_event,
            )  # fmt: skip
        try:
            self._bench = Bench(self._run, self._guest, self._platform, self._path)
        except BaseException:
            self._take_down()
            raise
        return self._bench

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        assert self._guest is not None and self._bench is not None
        died = None
        if isinstance(error, LabError) and not self._guest.machine.alive():
            # Whatever broke first, this is what the user must know.
            died = self._guest.machine.died()
        self._bench.close()
        self._take_down()
        if died and str(died) != str(error):
            raise died from error

    def _take_down(self) -> None:
        assert self._guest is not None
        if self._on is None:
            self._guest.down()
        else:
            self._guest.machine.close()
