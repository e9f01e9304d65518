# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite conformance: the same cases on several paths, compared with the reference."""

from lab.suites.suite import Late, Suite

SUITE = Suite(
    name="conformance",
    does="offload paths, compared with the reference model",
    parse=Late("lab.suites.conformance.options:parse"),
    run=Late("lab.suites.conformance.run:run"),
    shows="lab.cli.show.conformance",
)
