"""How long a case may take, in a guest that may be twenty times slower than hardware."""

from collections.abc import Mapping
from dataclasses import dataclass, field

DEADLINE = 300.0
"""Seconds that a case may take on hardware, if nothing else is known of it."""

_SPREAD, _LEAST = 10.0, 30.0
"""How many times longer than in an earlier run a case may take, and the least that it is given, in
seconds on hardware."""

_BETWEEN = 60.0

_HUNG_TASK = 120
_LOCKUP = 10
"""Seconds after which the kernel reports a task, or a CPU, by default
(CONFIG_DEFAULT_HUNG_TASK_TIMEOUT, kernel/watchdog.c)."""
_LOCKUP_AT_MOST = 60
"""What kernel.watchdog_thresh may be set to."""


@dataclass
class Watchdog:
    """Deadlines of cases.

    `asked` is what the person said, in seconds on hardware; `seen` are the seconds that cases took
    in earlier runs here, by title.
    """

    asked: float | None = None
    seen: Mapping[str, float] = field(default_factory=dict)
    speed: float = 1.0
    """How many times slower than hardware the guest is."""
    measured: bool = False

    def measure(self, speed: float) -> None:
        """Take the guest's speed, the first time that it is measured."""
        if not self.measured:
            self.speed, self.measured = max(1.0, speed), True

    def deadline(self, title: str) -> float:
        """Seconds that a case may take in this guest."""
        if self.asked is None and title in self.seen:
            return max(_LEAST * self.speed, _SPREAD * self.seen[title])
        return (self.asked or DEADLINE) * self.speed

    @property
    def between(self) -> float:
        """Seconds for a suite to come to its first case, or from one to the next."""
        return _BETWEEN * self.speed + 60.0

    @property
    def patience(self) -> float:
        """Seconds for a small step that must not fail because the host is busy."""
        return 120.0 + 5.0 * self.speed

    @property
    def last_words(self) -> float:
        """Seconds in which a guest that hangs may still send files."""
        return min(60.0, 5.0 + self.speed)

    def sysctls(self) -> list[str]:
        """The kernel's own watchdogs, scaled alike; and SysRq, for all it can do."""
        return [
            f"kernel.hung_task_timeout_secs={round(_HUNG_TASK * self.speed)}",
            f"kernel.watchdog_thresh={min(_LOCKUP_AT_MOST, round(_LOCKUP * self.speed))}",
            "kernel.sysrq=1",
        ]
