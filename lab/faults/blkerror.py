# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors that the guest's block layer makes by itself, from Linux 7.2 on.

A rule is a line written to debugfs block/DISK/error_injection of a kernel with BLK_ERROR_INJECTION;
read, the file lists the rules that there are (Documentation/block/error-injection.rst,
block/error-injection.c).  It strikes bios as they are submitted, before they are split or merged to
requests, and none without data, such as a flush.  Passthrough submits no bio.
"""

import re
from dataclasses import dataclass

from lab.errors import UsageError
from lab.faults.model import Stage

_LAST = 2**64 - 1
"""The last sector of a rule that is for the whole disk."""

_KEYS = {
    "op": re.compile(r"[A-Z][A-Z_]*"),
    "sectors": re.compile(r"(\d{1,19})\+([1-9]\d{0,18})"),
    "status": re.compile(r"[A-Z][A-Z_]*"),
    "chance": re.compile(r"[1-9]\d{0,8}"),
}
_HINT = (
    "expected some of op=READ, sectors=START+COUNT (of 512 bytes), status=MEDIUM and chance=N (one"
    " in N), with commas between; the names are those of the kernel's REQ_OP_… and BLK_STS_…"
)


@dataclass(frozen=True)
class BlockError:
    """What bios fail, and how.

    `op`: the block layer's name of the operation, '' for that of the point.  `start` and `count`:
    sectors of 512 bytes; a count of 0 is all of the disk.  `status`: the block layer's name.
    `chance`: one in so many fails, drawn by the kernel.
    """

    op: str = ""
    start: int = 0
    count: int = 0
    status: str = "IOERR"
    chance: int = 1

    def __str__(self) -> str:
        words = [f"op={self.op}"] if self.op else []
        words += [f"sectors={self.start}+{self.count}"] if self.count else []
        return ",".join([*words, f"status={self.status}", f"chance={self.chance}"])

    def rule(self, stage: Stage) -> str:
        """The line that adds it, for a copy that is held at a point of this stage."""
        sectors = [f"start={self.start}", f"nr_sectors={self.count}"] if self.count else []
        words = ["add", f"op={self._op(stage)}", *sectors]
        return ",".join([*words, f"status={self.status}", f"chance={self.chance}"])

    def listed(self, stage: Stage) -> str:
        """The line by which the kernel lists it."""
        last = self.start + self.count - 1 if self.count else _LAST
        what = f"op={self._op(stage)},status={self.status},chance={self.chance}"
        return f"{self.start}:{last} {what}"

    def _op(self, stage: Stage) -> str:
        return self.op or ("READ" if stage is Stage.READ else "WRITE")

    @classmethod
    def parse(cls, text: str) -> "BlockError":
        """Read what `--blk-error` takes; '' is every request that is like the held one.

        Which operations and statuses there are, the kernel knows.  Raises UsageError.
        """
        given: dict[str, re.Match[str]] = {}
        for word in filter(None, text.split(",")):
            key, _, value = word.partition("=")
            match = _KEYS[key].fullmatch(value) if key in _KEYS else None
            if match is None or key in given:
                raise UsageError(f"--blk-error {text}: {word!r} does not fit", hint=_HINT)
            given[key] = match
        start, count = map(int, given["sectors"].groups()) if "sectors" in given else (0, 0)
        whole = {key: match[0] for key, match in given.items()}
        return cls(
            whole.get("op", ""), start, count, whole.get("status", "IOERR"),
            int(whole.get("chance", 1)),
        )  # fmt: skip


ALIKE = BlockError()
"""Every request like the held one fails with EIO."""
