# SPDX-License-Identifier: GPL-2.0-or-later
"""Who watches a run: is told of its phases, how many cases there will be, and each of them."""

from typing import Protocol, TypeVar

C = TypeVar("C", contravariant=True)


class Watcher(Protocol[C]):
    """Whoever watches a run whose cases are of some kind."""

    def progress(self, text: str, /) -> None:
        """This is being done now."""

    def on_total(self, cases: int, /) -> None:
        """So many results are to come."""

    def on_begin(self, title: str, /) -> None:
        """A case has begun."""

    def on_case(self, case: C, /) -> None:
        """A case has its result."""
