# SPDX-License-Identifier: GPL-2.0-or-later
"""A request of a guest that is held, as a program holds it: `lab fault` without the terminal."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from lab.errors import GuestError, LabError
from lab.faults import choice
from lab.faults.byhand import Hand
from lab.faults.model import Point
from lab.faults.status import FaultStatus, find_drive
from lab.guest.guest import Guest


class HeldRequest:
    """A request that is held, or will be when it comes."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._hand = Hand(guest)

    def status(self) -> FaultStatus:
        """What is armed or held, for how long, and what it will get."""
        return self._hand.status()

    def wait(self, deadline: float = 60.0) -> None:
        """Wait until the request is held.  Raises GuestError when none comes in `deadline`
        seconds."""
        if not self._hand.await_held(deadline):
            now = self.status()
            raise GuestError(
                f"guest {self._guest.record.name}: nothing came to {now.point or 'that point'} of "
                f"{now.disk or 'its disk'} within {deadline:g} s",
                hint="hold first, and start what is to be held in the background",
            )

    def fail(self, error: str | int) -> None:
        """Choose what the request gets when it goes on: `eio`, `enospc`, …, an errno, or `none`.

        Raises UsageError where it can no longer fail.
        """
        self._hand.inject(choice.parse(str(error)))

    def step(self, deadline: float = 5.0) -> None:
        """Let the request go, and hold the copy again at its next point.  Raises GuestError when
        it comes to none in `deadline` seconds: then that stays armed."""
        self._hand.step()
        self.wait(deadline)

    def release(self) -> list[str]:
        """Let it go and leave the disk as it was; what was released, in words.  [] where nothing
        was armed or held any more."""
        if not self._guest.machine.alive() or self.status().state == "nothing":
            return []
        return self._hand.release()


@contextmanager
def hold(guest: Guest, point: str, disk: str | None) -> Iterator[HeldRequest]:
    """Hold a request of a disk from when it comes until the end of the block.

    Raises UsageError where the point or the disk does not exist, or something is held already.
    """
    held = HeldRequest(guest)
    Hand(guest).hold(find_drive(guest.record.profile, disk), Point.parse(point))
    try:
        yield held
    except BaseException:
        # The error of the block is what must be known.
        with suppress(LabError):
            held.release()
        raise
    held.release()
