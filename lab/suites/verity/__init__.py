# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite verity: what device mapper checks and encrypts, while its medium goes bad."""

from lab.suites.suite import Late, Suite

SUITE = Suite(
    name="verity",
    does="what device mapper checks and encrypts",
    parse=Late("lab.suites.verity.options:parse"),
    run=Late("lab.suites.verity.run:run"),
)
