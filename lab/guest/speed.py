# SPDX-License-Identifier: GPL-2.0-or-later
"""How slow a guest is, and what is stretched by that."""

from dataclasses import dataclass

_HUNG_TASK = 120
_LOCKUP = 10
"""Seconds after which the kernel reports a task, or a CPU, by default
(CONFIG_DEFAULT_HUNG_TASK_TIMEOUT, kernel/watchdog.c)."""
_LOCKUP_AT_MOST = 60
"""What kernel.watchdog_thresh may be set to."""


@dataclass
class Speed:
    """The speed of the guests of a run, which is that of the first that was measured."""

    slower: float = 1.0
    """How many times slower than hardware they are."""
    measured: bool = False

    def measure(self, slower: float) -> None:
        """Take a guest's speed, the first time that one is measured."""
        if not self.measured:
            self.slower, self.measured = max(1.0, slower), True

    @property
    def patience(self) -> float:
        """Seconds for a small step that must not fail because the host is busy."""
        return 120.0 + 5.0 * self.slower

    @property
    def last_words(self) -> float:
        """Seconds in which a guest that hangs may still send files."""
        return min(60.0, 5.0 + self.slower)

    def sysctls(self) -> list[str]:
        """The kernel's own watchdogs, stretched alike."""
        return [
            f"kernel.hung_task_timeout_secs={round(_HUNG_TASK * self.slower)}",
            f"kernel.watchdog_thresh={min(_LOCKUP_AT_MOST, round(_LOCKUP * self.slower))}",
        ]
