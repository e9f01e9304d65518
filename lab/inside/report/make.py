# SPDX-License-Identifier: GPL-2.0-or-later
"""A report of a kernel, part by part: what one kernel lacks does not keep the others back."""

from collections.abc import Callable, Iterator
from typing import Any

import drgn

from lab.inside.report.block import controllers, queues
from lab.inside.report.model import KernelReport
from lab.inside.report.names import text, unreadable
from lab.inside.report.stacked import loops, mapped
from lab.inside.report.tasks import blocked

_PARTS: dict[str, Callable[[drgn.Program], Iterator[Any]]] = {
    "tasks": blocked,
    "queues": queues,
    "mapped": mapped,
    "loops": loops,
    "controllers": controllers,
}


def report(program: drgn.Program) -> KernelReport:
    """Who holds what in a kernel."""
    found: dict[str, tuple[Any, ...]] = {}
    lacking = {}
    for part, look in _PARTS.items():
        told: list[Any] = []
        try:
            for one in look(program):
                told.append(one)
        except unreadable as error:
            lacking[part] = f"{type(error).__name__}: {error}"
        found[part] = tuple(told)
    release = text(program["init_uts_ns"].name.release)
    return KernelReport(release, **found, lacking=lacking)
