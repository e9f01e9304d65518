# SPDX-License-Identifier: GPL-2.0-or-later
"""What ends a copy, or a run, and is a finding: no failure of the lab."""

from lab.errors import UsageError


class DeviceFailure(Exception):
    """The device under test crashed or hung: a finding, and no failure of the lab."""


class GroundLost(DeviceFailure):
    """It did, and what the copy was made on is gone with it: what became of that nobody can see."""


class NotSupported(Exception):
    """The path does not work on this kernel or device, even without a fault: what was said."""


class NothingToStrike(UsageError):
    """None of the actions asked for is possible at any point that a copy has."""
