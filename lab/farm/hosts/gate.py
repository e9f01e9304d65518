# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a worker may begin a run just now, by how busy its host is."""

import shutil
from collections.abc import Iterable

from lab.farm.hosts.needs import Needs
from lab.host import burden, dirs
from lab.host.settings import WorkerSettings

_GUEST = 1 << 30
"""Bytes that the next run may want at least; what it needs exactly is known once it is there."""


def closed(settings: WorkerSettings, running: Iterable[Needs]) -> str:
    """Why no run may begin; '' if one may.

    The virtual processors of the worker's own guests are no load of others.
    """
    own = sum(needs.cpus for needs in running)
    others = max(0.0, burden.load() - own) / burden.processors()
    if others > settings.load:
        return f"load of others {others:.1f} for each processor, more than {settings.load:g}"
    if (free := burden.available_memory()) < settings.memory + _GUEST:
        return f"{free >> 20} MiB of memory available, less than {(settings.memory + _GUEST) >> 20}"
    return starved(settings)


def starved(settings: WorkerSettings) -> str:
    """The lack of room on disk; '' if there is none."""
    for place in (dirs.state(), dirs.cache()):
        if (free := shutil.disk_usage(place).free) < settings.disk:
            return f"{free >> 20} MiB free in {place}, less than {settings.disk >> 20}"
    return ""
