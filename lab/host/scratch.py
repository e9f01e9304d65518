# SPDX-License-Identifier: GPL-2.0-or-later
"""Directories for as long as something is put together, which the next command removes if the lab
is killed meanwhile."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.errors import LabError
from lab.host import dirs
from lab.host.process import Process, me

_PLACE = "scratch"

_OWNED = re.compile(r"([0-9]{1,10})-([0-9]{1,20})-")
"""What the name of a directory begins with: whose it is."""


@contextmanager
def scratch() -> Iterator[Path]:
    """An empty directory below the state directory, gone when the block ends."""
    mine = me()
    place = Path(tempfile.mkdtemp(prefix=f"{mine.pid}-{mine.started}-", dir=dirs.state(_PLACE)))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def sweep() -> None:
    """Remove what labs left there that are no more."""
    # A state directory that cannot be used is told by whatever needs it.
    with suppress(OSError, LabError):
        for left in (dirs.state() / _PLACE).iterdir():
            # Whatever else lies there is none of the lab's.
            owner = _OWNED.match(left.name)
            if owner and not Process(int(owner[1]), int(owner[2])).alive():
                shutil.rmtree(left, ignore_errors=True)
