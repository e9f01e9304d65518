# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite cryptsetup: its own test scripts, a case each."""

from lab.suites.suite import Late, Suite

SUITE = Suite(
    name="cryptsetup",
    does="cryptsetup's own tests",
    parse=Late("lab.suites.cryptsetup.options:parse"),
    run=Late("lab.suites.cryptsetup.run:run"),
    tree=True,
    reuses=True,
)
