# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite fstests: its own `check`, driven."""

from lab.suites.suite import Late, Suite

SUITE = Suite(
    name="fstests",
    does="tests of file systems",
    parse=Late("lab.suites.fstests.options:parse"),
    run=Late("lab.suites.fstests.run:run"),
    tree=True,
    reuses=True,
)
