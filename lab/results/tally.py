# SPDX-License-Identifier: GPL-2.0-or-later
"""How often something passed."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tally:
    """Passed `passed` times of `ran`."""

    passed: int = 0
    ran: int = 0

    @property
    def failed(self) -> int:
        """How often it failed."""
        return self.ran - self.passed

    @property
    def mixed(self) -> bool:
        """Whether it did both."""
        return 0 < self.passed < self.ran

    def __str__(self) -> str:
        return f"{self.passed} of {self.ran}" if self.ran else "-"
