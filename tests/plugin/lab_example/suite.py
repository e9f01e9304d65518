# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite queue-limits, as the lab finds it; what it needs is imported when it runs."""

from pathlib import Path

from lab.suites.suite import Late, Suite

QUEUE_LIMITS = Suite(
    name="queue-limits",
    does="whether the limits of each disk's queue fit together",
    parse=Late("lab_example.limits:parse"),
    run=Late("lab_example.limits:run"),
    guest_scripts=(Path(__file__).parent / "guest/queue-limits",),
)
