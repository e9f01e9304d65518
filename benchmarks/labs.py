# SPDX-License-Identifier: GPL-2.0-or-later
"""The labs of one benchmark, each set up and warmed when a part first wants it."""

from functools import cached_property

from benchmarks import builds
from benchmarks.builds import Build
from benchmarks.measure import say, taken_down, warm


class Labs:
    """Use it as a context manager: at its end no guest is left."""

    def __init__(self) -> None:
        self._used: list[Build] = []

    @cached_property
    def now(self) -> Build:
        """This checkout."""
        return self._warmed(builds.now())

    @cached_property
    def before(self) -> Build:
        """The lab without checkpoints."""
        say(f"set up the lab of {builds.BEFORE}: minutes, the first time")
        return self._warmed(builds.before())

    def _warmed(self, build: Build) -> Build:
        self._used.append(build)
        warm(build)
        return build

    def __enter__(self) -> "Labs":
        return self

    def __exit__(self, *_: object) -> None:
        with taken_down(*self._used):
            pass
