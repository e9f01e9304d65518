# SPDX-License-Identifier: GPL-2.0-or-later
"""What must be known of a run before its cases mean anything: every listing says it."""

INTERRUPTED = "interrupted"
UNFINISHED = "interrupted, or not ended yet"
"""Nothing tells a run that was killed from one that still goes on."""


def remarks(plant: str, error: str) -> list[str]:
    """Of a run that has ended: the defect that was planted in it, and that the lab failed."""
    planted = [f"planted: {plant}"] if plant else []
    return [*planted, "broken off"] if error else planted
