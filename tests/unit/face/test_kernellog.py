# SPDX-License-Identifier: GPL-2.0-or-later
"""What `dmesg --raw` prints, as messages."""

from collections.abc import Sequence
from typing import Any

from lab.face.kernellog import KernelLog, lines
from lab.guest.session import Result


class Ring:
    """A guest's kernel log that holds `size` messages."""

    def __init__(self, *said: str, size: int = 100) -> None:
        self.said, self.size = list(said), size

    def run(self, argv: Sequence[str], **_: Any) -> Result:
        """What the shell does that KernelLog asks for."""
        self.said.append(argv[-1])
        kept = self.said[-self.size :]
        raw = "".join(f"<12>[   {at}.000001] {text}\n" for at, text in enumerate(kept))
        return Result(tuple(argv), 0, raw, "")


def log_of(ring: Any) -> KernelLog:
    return KernelLog(ring)


def test_only_what_came_since_is_told() -> None:
    ring = Ring("of the boot")
    log = log_of(ring)
    ring.said += ["first", "second"]
    assert log.read() == ["first", "second"]
    assert log.read() == []
    ring.said += ["third"]
    assert log.read() == ["third"]


def test_where_more_was_said_than_is_kept_all_that_is_there_is_told() -> None:
    ring = Ring(size=3)
    log = log_of(ring)
    ring.said += ["one", "two", "three", "four"]
    assert log.read() == ["three", "four"]


def test_lines_without_a_time_go_on() -> None:
    assert lines("<6>[    0.000000] Linux version\n<4>[   12.345678] a\nmore\n<4>[1.5]\n") == [
        "Linux version", "a", "more", "",
    ]  # fmt: skip
