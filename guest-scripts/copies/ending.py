# SPDX-License-Identifier: GPL-2.0-or-later
"""How a copy ended: an error of the kernel is that, and not why it could not be tried."""

import time


def of(work):
    """The answer that `work` gives, or that an OSError makes."""
    start = time.monotonic()
    try:
        return work()
    except OSError as problem:
        if not problem.errno:
            raise
        told = {
            "errno": problem.errno,
            "done": getattr(problem, "done", 0),
            "said": problem.strerror or str(problem),
            "seconds": time.monotonic() - start,
        }
        moved = getattr(problem, "moved", None)
        return told if moved is None else told | {"moved": moved}


def failed(answer):
    """Whether the caller of a copy was told a failure."""
    return bool(answer.get("errno") or answer.get("status"))
