# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest's kernel counts, put down to cases as they are carried out.

The kernel counts all the time.  Whenever something else begins, what was counted until then is
taken, and belongs to what went on before.
"""

import io
import threading
import zipfile

from lab.coverage.counters import Count, Counters
from lab.errors import GuestError
from lab.guest.session import Session
from lab.host.dirs import not_writable
from lab.results import coverage
from lab.results.coverage import Circumstance, CountRecord
from lab.results.run import Run

_APPEND = threading.Lock()
"""A run can have several guests."""


class Collection:
    """The counts of one guest of a run, which may begin several times.

    `number`: which of several guests it is.
    """

    def __init__(self, run: Run, number: int) -> None:
        self._run = run
        self._number = number
        self._taken = 0
        self._case, self._circumstance = "", Circumstance.OUTSIDE
        self._counters: Counters | None = None
        self._begun = False
        """What was counted until the guest was there has been taken."""
        self._over = False
        """This boot is not asked any more."""

    def work_for(self, case: str, circumstance: Circumstance) -> None:
        """From now on the kernel works for a case, or for none ('')."""
        self._case, self._circumstance = case, circumstance

    def begin(self, session: Session, deadline: float) -> None:
        """The guest is there: what it has counted, or the guest did whose checkpoint it began from,
        was outside of cases, whichever it began for."""
        if not self._begun:
            self.take(session, deadline)

    def take(self, session: Session, deadline: float) -> None:
        """Put down what was counted until now.  Never raises GuestError: what cannot be had is put
        down as lost, once."""
        if self._over:
            return
        try:
            if self._counters is None:
                self._counters = Counters(session)
            count = self._counters.take(deadline)
        except GuestError as error:
            self.lose(str(error))
            return
        if self._begun:
            self._keep(self._case, self._circumstance, count)
        else:
            self._keep("", Circumstance.OUTSIDE, count)
        self._begun = True

    def end(self, session: Session, deadline: float) -> None:
        """The same, for the last time: the guest is about to be ended on purpose."""
        self.take(session, deadline)
        self._over = True

    def lose(self, why: str) -> None:
        """What this boot has counted is gone, or will never be told."""
        if not self._over:
            self._over = True
            lost = CountRecord(case=self._case, circumstance=self._circumstance, lost=why)
            self._note(lost)

    def forget(self) -> None:
        """The guest begins again: what it counts is anew, and another program tells it."""
        self._counters, self._begun, self._over = None, False, False

    def _keep(self, case: str, circumstance: Circumstance, count: Count) -> None:
        name = ""
        if count.files:
            self._taken += 1
            name = f"{self._number}-{self._taken:05}.zip"
            self._run.save(f"{coverage.DIRECTORY}/{name}", _zipped(count))
        record = CountRecord(
            case=case, circumstance=circumstance, file=name, seconds=round(count.seconds, 4)
        )
        self._note(record)

    def _note(self, record: CountRecord) -> None:
        path = self._run.directory / coverage.DIRECTORY / coverage.COUNTS
        try:
            with _APPEND:
                path.parent.mkdir(exist_ok=True)
                with path.open("a") as file:
                    file.write(record.model_dump_json() + "\n")
        except OSError as error:
            raise not_writable(path, error) from error


def _zipped(count: Count) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in sorted(count.files.items()):
            archive.writestr(path.lstrip("/"), content)
    return data.getvalue()
