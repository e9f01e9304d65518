# SPDX-License-Identifier: GPL-2.0-or-later
"""Which workloads are carried out, and on which file systems."""

from fnmatch import fnmatchcase
from pathlib import Path

from lab.errors import UsageError
from lab.suites.crash_states.fs import ace, given
from lab.suites.crash_states.fs.kinds import KINDS
from lab.suites.crash_states.fs.workload import FsWorkload
from lab.suites.crash_states.options import ACE, COMMAND, CORPUS, MODEL, CrashOptions


def chosen(options: CrashOptions) -> list[tuple[str, FsWorkload]]:
    """The file systems and workloads that were asked for.  Raises UsageError where there is
    none."""
    every = _every(options)
    found = [
        each for each in every
        if not options.only or any(fnmatchcase(each.name, one) for one in options.only)
    ]  # fmt: skip
    if not found:
        raise UsageError(
            f"crash-states: no workload is called {', '.join(options.only)}",
            hint=f"there are {len(every)}, such as {every[0].name}",
        )
    pairs = [
        (name, each)
        for name in options.file_systems
        for each in found
        if not each.file_systems or KINDS[name].type in each.file_systems
    ]
    if not pairs:
        raise UsageError(f"crash-states: none of them is for {', '.join(options.file_systems)}")
    return pairs


def _every(options: CrashOptions) -> list[FsWorkload]:
    if options.workload == ACE and options.operations > 1:
        return ace.sequences(options.plan.seed, options.operations, options.sequences)
    if options.workload == ACE:
        return list(ace.workloads())
    if options.workload == COMMAND:
        return [given.command(options.command)]
    if options.workload == MODEL:
        return [FsWorkload(MODEL, ())]
    return given.load(given.CORPUS if options.workload == CORPUS else Path(options.workload))
