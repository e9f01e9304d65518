# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite blktests: its own `check`, driven."""

from lab.suites.suite import Late, Suite

SUITE = Suite(
    name="blktests",
    does="tests of the block layer",
    parse=Late("lab.suites.blktests.options:parse"),
    run=Late("lab.suites.blktests.run:run"),
    tree=True,
    reuses=True,
)
