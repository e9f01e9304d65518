# SPDX-License-Identifier: GPL-2.0-or-later
"""What `lab fault` must know of a guest from one command to the next.

Whether a request is held is QEMU's to say, and it says so on its stdout; which breakpoint is set
it cannot be asked, so that stands in a file in the guest's directory, written before it is set.
"""

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from lab.faults.model import Point, Stage
from lab.guest.guest import Guest
from lab.host.process import Process
from lab.vm.start import STDOUT

FILE = "fault.json"
_SAID = re.compile(r"blkdebug: (Suspended|Resuming) request '([^']+)'")
_OURS = re.compile(r"'[^']+-hand(\d+)\.\d+'")


class Arming(BaseModel):
    """A breakpoint set by hand; fault.json in the guest's directory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    qemu: Process
    """It went with this process."""
    drive: str
    """Drive.id."""
    layer: int
    """The fault layer it is set on; exchanging that removes it."""
    stage: Stage
    k: int
    """The point, as it is shown."""
    passes: int = 1
    """The breakpoint is to be reached so often; only the last time the request is kept."""
    passed: int = 0
    number: int
    """Makes the tag one that QEMU has not named before."""
    errno: int = 0
    """What the held request gets when it is released."""
    since: float
    """Seconds since the epoch."""
    follower: Process | None = None
    """The process that leads the disk through the first passes."""
    retried: str = ""
    """Why the guest's drivers may try a request again that fails."""
    before: "Arming | None" = None
    """What was held when this was about to be set, and is to be released then."""
    complete: bool = False
    """Whether the command that sets it has come to its end."""

    @property
    def point(self) -> Point:
        """The point at which it will keep a request."""
        return Point(self.stage, self.k)

    @property
    def last(self) -> bool:
        """Whether a request that is suspended by it is kept."""
        return self.passed + 1 == self.passes

    @property
    def tag(self) -> str:
        """The breakpoint's name; begins with the drive's, as the tags of a Stepper do."""
        return f"{self.drive}-hand{self.number}.{self.passed + 1}"

    @property
    def kind(self) -> str:
        """`read` or `write`."""
        return "read" if self.stage is Stage.READ else "write"

    def following(self) -> Point:
        """The next point on the way of a copy."""
        if self.stage is Stage.READ:
            return Point(Stage.WRITE, self.k)
        if self.stage is Stage.WRITE:
            return Point(Stage.WRITTEN, self.k)
        return Point(Stage.READ, self.k + 1)


def held(said: str) -> list[str]:
    """The tags of the requests that are suspended, given all that QEMU printed."""
    tags: list[str] = []
    for word, tag in _SAID.findall(said):
        if word == "Suspended":
            tags.append(tag)
        elif tag in tags:
            tags.remove(tag)
    return tags


def next_number(guest: Guest) -> int:
    """A number that no breakpoint has had which suspended a request of this QEMU."""
    said = (guest.directory / STDOUT).read_text(errors="replace")
    return 1 + max((int(number) for number in _OURS.findall(said)), default=0)


def held_in(guest: Guest) -> list[str]:
    """The tags of the requests that are suspended in a guest."""
    return held((guest.directory / STDOUT).read_text(errors="replace"))


def read_arming(guest: Guest) -> Arming | None:
    """What was last set in this QEMU, whether it is still in force or not."""
    try:
        found = Arming.model_validate_json((guest.directory / FILE).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return found if found.qemu == guest.record.qemu else None


def write_arming(guest: Guest, arming: Arming) -> None:
    """Put it in place, atomically."""
    new = guest.directory / f"{FILE}.new"
    new.write_text(arming.model_dump_json(indent=1))
    new.replace(guest.directory / FILE)


def forget_arming(guest: Guest) -> None:
    """Nothing is set any more."""
    Path(guest.directory / FILE).unlink(missing_ok=True)
