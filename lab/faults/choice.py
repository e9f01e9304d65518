# SPDX-License-Identifier: GPL-2.0-or-later
"""Choosing the error of a held request by hand: rules that only the lab can arm.

The rules of blkdebug are fixed when it is created, and while a request is held it cannot be
exchanged.  So one blkdebug holds a rule for every error, each waiting in a state of its own
(`set-state`, QEMU block/blkdebug.c), and the lab walks to that state by a sequence of flushes and
reads from the monitor.  A guest at work flushes and reads as well: the sequence is one that no
file system issues, and any other event leads back to its start.

    lead-in, KEY, then as many reads as the number of the choice, and a flush, which arms it
"""

import errno

from lab.errors import UsageError

ERRORS = ("EIO", "ENOSPC", "ENODATA", "EILSEQ", "ETIMEDOUT", "EREMOTEIO", "EAGAIN", "ENOMEM",
          "EOPNOTSUPP", "EBUSY")  # fmt: skip
"""What can be chosen: what a block device can be expected to answer."""

_KEY = "FRFRRFRRRF"
_LEAD_IN = "FRRRR" * 2
"""One more read than KEY has in a row: from whatever state the guest or a killed lab has come to,
this leads back to the start."""

_EVENTS = {"F": "flush_to_os", "R": "read_aio", "W": "write_aio"}
_COMMANDS = {"F": "flush", "R": "read -q 0 4096"}
_NOTHING: tuple[str, int] = ("discard", errno.EIO)
"""Stands for no error: arming it disarms the others, and it is limited to a sector that no disk
has."""

_CHOICES = [
    _NOTHING,
    *((kind, getattr(errno, name)) for name in ERRORS for kind in ("read", "write")),
]


def parse(text: str) -> int:
    """Read `eio`, `ENOSPC` or `5`; `none` is 0.  Raises UsageError when it cannot be chosen."""
    if text.lower() == "none":
        return 0
    for name in ERRORS:
        if text.upper() == name or text == str(getattr(errno, name)):
            return int(getattr(errno, name))
    names = ", ".join(name.lower() for name in ERRORS)
    raise UsageError(f"error {text!r}: cannot be injected", hint=f"one of {names}, or none")


def name(error: int) -> str:
    """What parse() reads: `eio` for 5."""
    return errno.errorcode[error].lower()


def options() -> dict[str, object]:
    """What blkdebug needs for it, as `blockdev-add` takes it."""
    moves: list[dict[str, object]] = [{"event": _EVENTS["W"], "new_state": 1}]
    arms: list[dict[str, object]] = []
    for state, letter in enumerate(_KEY, start=1):
        moves += _moves(state, **{letter: state + 1})
    for number, (kind, error) in enumerate(_CHOICES):
        state = len(_KEY) + 1 + number
        last = number == len(_CHOICES) - 1
        moves += _moves(state, R=1 if last else state + 1, F=1)
        arm: dict[str, object] = {
            "event": _EVENTS["F"], "state": state, "iotype": kind, "errno": error, "once": True,
        }  # fmt: skip
        if (kind, error) == _NOTHING:
            arm["sector"] = 1 << 50
        arms.append(arm)
    return {"set-state": moves, "inject-error": arms}


def _moves(state: int, **to: int) -> list[dict[str, object]]:
    """The moves from a state: what is not named begins the key, or goes back to the start."""
    goals = {"F": 2, "R": 1} | to
    return [
        {"event": _EVENTS[letter], "state": state, "new_state": goal}
        for letter, goal in goals.items()
        if goal != state
    ]


def commands(kind: str, error: int) -> list[str]:
    """The qemu-io commands that arm `error` (an errno; 0: none) for the next request of `kind`,
    `read` or `write`, and disarm every other."""
    number = _CHOICES.index((kind, error) if error else _NOTHING)
    return [_COMMANDS[letter] for letter in _LEAD_IN + _KEY + "R" * number + "F"]
