# SPDX-License-Identifier: GPL-2.0-or-later
"""What the file must hold, and may hold after its file system lost what was not durable."""

import random
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab.suites.fsx.operations import BLOCK, Operation


@dataclass(frozen=True)
class Mismatch:
    """A range of the file that is not what it should be: bytes from `at` up to `end`."""

    at: int
    end: int
    why: str

    def __str__(self) -> str:
        return f"bytes {self.at} to {self.end}: {self.why}"


class FileModel:
    """The file as it must be, and as it was at each operation since it was last made durable."""

    def __init__(self) -> None:
        self.content = b""
        self.versions: list[bytes] = [b""]
        """What may be found after a loss: the content when the last fsync succeeded, and after each
        operation since.  Before the first fsync, the empty file."""
        self._torn = False
        """An operation has failed since: it may have been carried out in part."""

    def apply(self, operation: Operation, done: int) -> None:
        """The operation has succeeded, for `done` bytes of it."""
        if operation.kind == "fsync":
            self.versions, self._torn = [self.content], False
            return
        self.content = _after(self.content, operation, done)
        self.versions.append(self.content)

    def failed(self, operation: Operation) -> None:
        """The operation has failed: all of it or some may be there, or none."""
        if operation.kind not in ("fsync", "dedupe"):
            self._torn = True
            self.versions.append(_after(self.content, operation, operation.length))

    def mismatch(self, size: int, sums: Sequence[int]) -> Mismatch | None:
        """Where a file of `size` bytes, whose blocks have these sums, is not as it must be."""
        if size != len(self.content):
            low, high = sorted((size, len(self.content)))
            return Mismatch(low, high, f"the size is {size}, it must be {len(self.content)}")
        for number, block in enumerate(blocks(self.content)):
            if zlib.crc32(block) != sums[number]:
                at = number * BLOCK
                return Mismatch(at, at + len(block), "not what was written there last")
        return None

    def lost(self, size: int, sums: Sequence[int]) -> Mismatch | None:
        """Where a file that was read after a loss holds what no version since the last fsync does:
        data that was made durable is gone, or data is there that nobody wrote."""
        sizes = {len(version) for version in self.versions}
        if size not in sizes and not (self._torn and min(sizes) <= size <= max(sizes)):
            synced = len(self.versions[0])
            return Mismatch(
                min(size, synced), max(size, synced),
                f"the size is {size}; it was {synced} when fsync succeeded, and never that since",
            )  # fmt: skip
        for number, found in enumerate(sums):
            at, end = number * BLOCK, min((number + 1) * BLOCK, size)
            allowed = {zlib.crc32(_padded(version, at, end)) for version in self.versions}
            if found not in allowed:
                why = f"none of the {len(self.versions)} versions since fsync succeeded"
                return Mismatch(at, end, why)
        return None


def exact(found: bytes, wanted: bytes, at: int) -> Mismatch:
    """The first run of bytes, from offset `at` on, that are not as wanted; there must be one."""
    wrong = [
        number for number, pair in enumerate(zip(found, wanted, strict=True)) if pair[0] != pair[1]
    ]
    first = wrong[0]
    last = next((n for n in range(first, len(found)) if found[n] == wanted[n]), len(found))
    return Mismatch(at + first, at + last, _seen(found[first:last], wanted[first:last]))


def blocks(content: bytes) -> Iterator[bytes]:
    """The blocks of a file; the last may be short."""
    return (content[at : at + BLOCK] for at in range(0, len(content), BLOCK))


def _seen(found: bytes, wanted: bytes) -> str:
    if not any(found):
        return f"zeroes, not {wanted[:8].hex()}…"
    return f"{found[:8].hex()}…, not {wanted[:8].hex()}…"


def _padded(content: bytes, at: int, end: int) -> bytes:
    return content[at:end].ljust(end - at, b"\0")


def _after(content: bytes, operation: Operation, done: int) -> bytes:
    at, end = operation.at, operation.at + done
    match operation.kind:
        case "write":
            data = random.Random(operation.fill).randbytes(operation.length)[:done]
            return _put(content, at, data)
        case "copy" | "clone":
            return _put(content, at, content[operation.source : operation.source + done])
        case "dedupe" | "fsync":
            return content
        case "punch":
            return (
                _put(content, at, bytes(min(end, len(content)) - at))
                if at < len(content)
                else content
            )
        case "zero":
            return _put(content, at, bytes(done))
        case "collapse":
            return content[:at] + content[end:]
        case "insert":
            return content[:at] + bytes(done) + content[at:]
        case "truncate":
            return content[: operation.length].ljust(operation.length, b"\0")
    raise ValueError(operation.kind)


def _put(content: bytes, at: int, data: bytes) -> bytes:
    if not data:
        return content
    return content[:at].ljust(at, b"\0") + data + content[at + len(data) :]
