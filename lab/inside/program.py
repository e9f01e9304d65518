# SPDX-License-Identifier: GPL-2.0-or-later
"""A dumped kernel as drgn sees it, with its symbols."""

from pathlib import Path

import drgn

from lab.errors import HostError, UsageError


def opened(core: Path, symbols: Path | None) -> drgn.Program:
    """The kernel in a core that was unpacked, with the debugging information in a directory.

    Raises HostError for what is no core of a kernel, and UsageError where the symbols are those of
    another kernel.
    """
    program = drgn.Program()
    try:
        program.set_core_dump(core)
    except (OSError, ValueError, drgn.FaultError, drgn.BadDataError) as error:
        raise HostError(f"{core}: drgn cannot open it: {error}") from error
    if symbols:
        where = str(symbols.absolute())
        program.debug_info_options.directories = (where,)
        # A build directory, or what is laid out as the directories of a distribution.
        program.debug_info_options.kernel_directories = (where, "")
        try:
            program.load_default_debug_info()
        except drgn.MissingDebugInfoError as error:
            # Of modules that nobody kept nothing is known; without the kernel's own, of nothing.
            if not _known(program):
                raise UsageError(
                    f"{symbols}: not the symbols of this kernel",
                    detail=str(error),
                    hint="they must be of the very same build: drgn compares build ids",
                ) from error
        if not _known(program):
            raise UsageError(f"{symbols}: not the symbols of this kernel")
    return program


def _known(program: drgn.Program) -> bool:
    try:
        program.type("struct task_struct")
    except LookupError:
        return False
    return True
