# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel's core as an ELF file, as drgn, crash and gdb take it: pure, but for the file's bytes.

The kernel says of itself what a debugger must know, in a note that lies in its memory: VMCOREINFO
(Linux, kernel/vmcore_info.c).  Its address is in /sys/kernel/vmcoreinfo, but a guest that hangs
cannot be asked, and one that was restored, or died early, need not be: the note is found by how it
begins.  ELF's layout: elf(5).
"""

import re
import struct
from collections.abc import Iterator, Sequence

from lab.vm.memory import PAGE, MemoryRange

HEAD = 16 * PAGE
"""Bytes before the memory: headers, then the note."""

_NAME = b"VMCOREINFO\0"
_NOTE = struct.Struct("<III12s")
_BEGINS = re.compile(
    re.escape(struct.pack("<I", len(_NAME))) + rb"(....)\0\0\0\0VMCOREINFO\0\0OSRELEASE=",
    re.DOTALL,
)
_WHOLE = re.compile(rb"(?:[ -~]+=[ -~]*\n)+")
_LAST = b"\nKERNELOFFSET="
"""What an architecture adds behind the others (arch/x86/kernel/vmcore_info_64.c)."""
_LONGEST = PAGE
"""Bytes of its text: it has a page (VMCOREINFO_BYTES)."""

_IDENT = b"\x7fELF\x02\x01\x01" + bytes(9)
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_LOW = 1 << 20
_ET_CORE, _EM_X86_64, _PT_LOAD, _PT_NOTE = 4, 62, 1, 4
_READ_WRITE_EXECUTE = 7
_MOST = (8 * PAGE - _HEADER.size) // _SEGMENT.size - 2
"""Ranges for which there is room."""


def vmcoreinfo(data: bytes, release: str) -> str:
    """The text of the note in a piece of memory, of a kernel of that release; '' if none is there.

    What is left of another kernel, as before a kexec, has another release.
    """
    for match in _BEGINS.finditer(data):
        (size,) = struct.unpack("<I", match[1])
        start = match.start() + _NOTE.size
        text = data[start : start + size].rstrip(b"\0")
        if size > _LONGEST or not text.startswith(f"OSRELEASE={release}\n".encode()):
            continue
        # Copies of it lie about that have been overwritten in part.
        if _WHOLE.fullmatch(text) and _LAST in text:
            return text.decode()
    return ""


def header(ranges: Sequence[MemoryRange], info: str) -> bytes:
    """The first HEAD bytes of a core: the ranges follow, one behind the other."""
    if len(ranges) > _MOST:
        raise ValueError(f"{len(ranges)} ranges of memory, at most {_MOST} fit")
    text = info.encode()
    # Readers take the next note to begin at a multiple of 4.
    text += bytes(-len(text) % 4)
    note = _NOTE.pack(len(_NAME), len(text), 0, _NAME.ljust(12, b"\0")) + text
    segments = [_SEGMENT.pack(_PT_NOTE, 0, 8 * PAGE, 0, 0, len(note), len(note), 0)]
    at = HEAD
    for each in _apart(ranges):
        segments.append(
            _SEGMENT.pack(
                # Virtual addresses come from the guest's page tables, by what the note says.
                _PT_LOAD, _READ_WRITE_EXECUTE, at, 0, each.start, each.size, each.size, PAGE,
            )
        )  # fmt: skip
        at += each.size
    first = _HEADER.pack(
        _IDENT, _ET_CORE, _EM_X86_64, 1, 0, _HEADER.size, 0, 0,
        _HEADER.size, _SEGMENT.size, len(segments), 0, 0, 0,
    )  # fmt: skip
    return (first + b"".join(segments)).ljust(8 * PAGE, b"\0") + note.ljust(8 * PAGE, b"\0")


def _apart(ranges: Sequence[MemoryRange]) -> Iterator[MemoryRange]:
    """The ranges, with the lowest mebibyte apart: drgn takes a core whose physical addresses are
    all 0 for one that tells none."""
    for each in ranges:
        if each.start == 0 and each.size > _LOW:
            yield MemoryRange(0, _LOW)
            yield MemoryRange(_LOW, each.size - _LOW)
        else:
            yield each


def note_of(head: bytes) -> str:
    """The text of the note in a core's first HEAD bytes; '' if that is no core of ours."""
    if head[:16] != _IDENT or len(head) < HEAD:
        return ""
    _, size, _, name = _NOTE.unpack_from(head, 8 * PAGE)
    if name.rstrip(b"\0") != _NAME.rstrip(b"\0"):
        return ""
    return head[8 * PAGE + _NOTE.size :][:size].rstrip(b"\0").decode(errors="replace")


def fields(info: str) -> dict[str, str]:
    """What a note says, by key: `OSRELEASE`, `BUILD-ID`, `KERNELOFFSET`, `SYMBOL(…)`."""
    pairs = (line.partition("=") for line in info.splitlines())
    return {key: value for key, separator, value in pairs if separator}
