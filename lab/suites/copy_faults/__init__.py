# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite copy-faults: a copy is frozen at every point, broken there, and judged."""

from lab.suites.suite import Late, Suite

SUITE = Suite(
    name="copy-faults",
    does="copies, interrupted at every point by every action",
    parse=Late("lab.suites.copy_faults.options:parse"),
    run=Late("lab.suites.copy_faults.run:run"),
    reuses=True,
    shows="lab.cli.show.copy_faults",
)
