# SPDX-License-Identifier: GPL-2.0-or-later
"""Directories for as long as something is put together, which the next command removes if the lab
is killed meanwhile."""

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.errors import LabError
from lab.host import dirs
from lab.host.origin import ProcessOrigin, here
from lab.host.process import Process, me

_PLACE = "scratch"
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
                if _left(left.name):
                    shutil.rmtree(left, ignore_errors=True)


def _runs_there_are() -> Path:
    return dirs.state() / "runs"


def _left(name: str) -> bool:
    """Whether the lab that a directory's name tells of is no more."""
    found = _NAME.match(name)
    if found is None:
        return False
    origin = None
    if found["origin"]:
        origin = ProcessOrigin("", found["machine"], found["boot"], int(found["namespace"]))
    return not Process(int(found["pid"]), int(found["started"]), origin).alive()
