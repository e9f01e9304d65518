# SPDX-License-Identifier: GPL-2.0-or-later
"""What the commands print of a run, while it goes on and at its end."""

from contextlib import AbstractContextManager
from typing import Any, Protocol


class Shows(Protocol):
    """A module that shows the runs of a suite (Suite.shows)."""

    def watched(self, options: Any, /) -> AbstractContextManager[Any]:
        """Whoever watches the run, and is told what happens."""

    def show(self, outcome: Any, options: Any, /) -> None:
        """Print what came of it."""
