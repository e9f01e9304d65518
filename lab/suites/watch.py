"""Who watches a run: is told of its phases, how many cases there will be, and each as it ends."""

from collections.abc import Callable
from dataclasses import dataclass

from lab.guest.boot import Progress
from lab.suites.copy_faults.case import CaseResult


@dataclass(frozen=True)
class Watch:
    """The functions that take a phase, the number of cases once it is known, and a case."""

    progress: Progress
    expect: Callable[[int], None]
    judged: Callable[[CaseResult], None]
