# SPDX-License-Identifier: GPL-2.0-or-later
"""Directories for as long as something is put together, which the next command removes if the lab
is killed meanwhile."""

import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.errors import LabError
from lab.host import dirs
from lab.host.origin import ProcessOrigin, here
from lab.host.process import Process, me

_PLACE = "scratch"
_LONGEST = 7 * 24 * 3600.0
"""Seconds for which nothing is put together."""

# Older labs did not say where they were.
_NAME = re.compile(
    r"(?P<pid>[0-9]{1,10})-(?P<started>[0-9]{1,20})-"
    r"(?P<origin>(?P<machine>\w*)\.(?P<boot>[\w-]*)\.(?P<namespace>[0-9]{1,20})\.)?"
)
"""What the name of a directory begins with: whose it is."""


def runs(*parts: str) -> Path:
    """Where runs are: what becomes one is put together on the same file system."""
    return dirs.state("runs", *parts)


@contextmanager
def scratch(root: Callable[..., Path] = dirs.state) -> Iterator[Path]:
    """An empty directory, gone when the block ends: below the state directory, or another of those
    that sweep() looks into.  One that the block has renamed stays.  Raises LackError."""
    mine, at = me(), here()
    prefix = f"{mine.pid}-{mine.started}-{at.machine}.{at.boot}.{at.namespace}."
    own = Path(tempfile.mkdtemp(prefix=prefix, dir=root(_PLACE)))
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


def sweep() -> None:
    """Remove what labs left there that are no more."""
    # A directory that cannot be used is told by whatever needs it.
    for root in (dirs.state, dirs.cache, _runs_there_are):
        with suppress(OSError, LabError):
            for left in (root() / _PLACE).iterdir():
                if _left(left):
                    shutil.rmtree(left, ignore_errors=True)


def _runs_there_are() -> Path:
    return dirs.state() / "runs"


def _left(place: Path) -> bool:
    """Whether the lab that a directory's name tells of is no more; of one on another host, or in a
    container that may be gone, whether that is likely by now."""
    found = _NAME.match(place.name)
    if found is None:
        return False
    origin = None
    if found["origin"]:
        origin = ProcessOrigin("", found["machine"], found["boot"], int(found["namespace"]))
    owner = Process(int(found["pid"]), int(found["started"]), origin)
    if owner.foreign():
        return time.time() - place.lstat().st_mtime > _LONGEST
    return not owner.alive()
