# SPDX-License-Identifier: GPL-2.0-or-later
"""Suites: sets of cases run on a profile; a room for each, and what they share.

The command line has these names at every start: nothing is imported for them.
"""

OWN = {
    "copy-faults": "lab.suites.copy_faults:SUITE",
    "conformance": "lab.suites.conformance:SUITE",
    "fstests": "lab.suites.fstests:SUITE",
    "blktests": "lab.suites.blktests:SUITE",
    "fsx": "lab.suites.fsx:FSX",
    "fsstress": "lab.suites.fsx:FSSTRESS",
    "verity": "lab.suites.verity:SUITE",
    "cryptsetup": "lab.suites.cryptsetup:SUITE",
    "crash-states": "lab.suites.crash_states:SUITE",
}
"""Where the lab's own are declared."""

SUITES = tuple(OWN)
"""The names of the lab's own."""
