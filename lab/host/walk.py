# SPDX-License-Identifier: GPL-2.0-or-later
"""The directories below one, none of which is passed over because it cannot be read: what stands
for a whole tree, such as a key, would stand for less."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from lab.errors import HostError


def walk(top: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """As os.walk() has them: each directory, its subdirectories, which may be changed, its files.

    Raises HostError for a directory that cannot be read.
    """
    return os.walk(top, onerror=_refuse)


def _refuse(error: OSError) -> NoReturn:
    raise HostError(
        f"{error.filename}: {error.strerror}", hint="see that this user may read all of it"
    ) from error
