# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite crash-states: every disk that a power cut could leave behind, judged."""

from lab.suites.suite import Late, Suite

SUITE = Suite(
    name="crash-states",
    does="every disk that a power cut could leave behind",
    parse=Late("lab.suites.crash_states.options:parse"),
    run=Late("lab.suites.crash_states.run:run"),
    shows="lab.cli.show.crash_states",
)
