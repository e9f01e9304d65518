# SPDX-License-Identifier: GPL-2.0-or-later
"""Dumps: a guest's memory as a file, taken, packed, and unpacked to be looked at."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from lab.errors import HostError, LackError, UsageError
from lab.guest.guest import Guest
from lab.host import dirs
from lab.host.clone import write_sparse
from lab.host.command import run
from lab.host.dirs import not_writable
from lab.host.scratch import scratch
from lab.host.settings import DumpSettings
from lab.inside import vmcore
from lab.results.dumps import SUFFIX, DumpNote, write_note
from lab.vm import memory
from lab.vm.machine import Machine

_PACK_DEADLINE = 600.0
_SPARE = 1 << 30
"""Bytes that are left free on the file system."""

Progress = Callable[[str], None]


class TooLarge(HostError):
    """A dump would be, or is, larger than the settings allow."""


def take(
    guest: Guest,
    target: Path,
    allowed: DumpSettings,
    progress: Progress,
    *,
    case: str = "",
    why: str = "",
) -> DumpNote:
    """Write the memory of a guest into `target`, packed, and a note beside it; the guest runs on
    meanwhile, if it runs, and a request may be held.

    Raises TooLarge, LackError when there is no room, and HostError where QEMU or the kernel has
    not what it takes; nothing is left then.
    """
    start = time.monotonic()
    plain = target.with_name(target.name.removesuffix(SUFFIX) + ".elf")
    try:
        take_plain(guest.machine, guest.record.kernel, plain, allowed, progress)
    except OSError as error:
        raise not_writable(plain, error) from error
    progress("pack the memory")
    return pack(guest, plain, target, allowed, time.monotonic() - start, case=case, why=why)


def pack(
    guest: Guest,
    plain: Path,
    target: Path,
    allowed: DumpSettings,
    spent: float,
    *,
    case: str = "",
    why: str = "",
) -> DumpNote:
    """Pack the memory in `plain`, which is gone then, into `target`, and write a note beside it;
    reading it took `spent` seconds.

    Raises TooLarge and HostError; nothing is left then.
    """
    start = time.monotonic()
    try:
        memory_size = plain.stat().st_size - vmcore.HEAD
        run(["zstd", "-q", "-1", "-f", plain, "-o", target], deadline=_PACK_DEADLINE)
        packed = target.stat().st_size
    except BaseException as error:
        target.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise not_writable(target, error) from error
        raise
    finally:
        plain.unlink(missing_ok=True)
    if packed > allowed.size:
        target.unlink()
        raise TooLarge(
            f"the dump is of {_mebibytes(packed)}, more than {_mebibytes(allowed.size)}",
            hint=f"raise `dumps: {{size: …}}` in {dirs.config('config.yaml')}",
        )
    note = DumpNote(
        guest=guest.record.name,
        kernel=guest.record.profile.kernel,
        release=guest.record.kernel,
        taken=datetime.now(UTC).isoformat(timespec="seconds"),
        why=why,
        case=case,
        memory=memory_size,
        size=packed,
        seconds=round(spent + time.monotonic() - start, 3),
    )
    write_note(target, note)
    return note


def take_plain(
    machine: Machine, release: str, target: Path, allowed: DumpSettings, progress: Progress
) -> int:
    """The same, sparse and not packed; bytes of the guest's RAM."""
    found = memory.ranges(machine)
    size = memory.total(found)
    if size > allowed.memory:
        raise TooLarge(
            f"the guest has {_mebibytes(size)} of memory, of more than "
            f"{_mebibytes(allowed.memory)} no dump is taken",
            hint=f"raise `dumps: {{memory: …}}` in {dirs.config('config.yaml')}",
        )
    _check_room(target.parent, size)
    info, done = "", 0
    try:
        with target.open("wb") as file:
            file.seek(vmcore.HEAD)
            for each in found:
                for _, data in memory.read(machine, each):
                    info = info or vmcore.vmcoreinfo(data, release)
                    write_sparse(file, data)
                    done += len(data)
                    progress(f"save the memory: {done * 100 // size} %")
            file.truncate()
            file.seek(0)
            file.write(vmcore.header(found, info))
        if not info:
            raise HostError(
                f"nothing in the guest's memory says how to read it (VMCOREINFO of {release})",
                hint="its kernel needs CONFIG_VMCORE_INFO (before 6.9: CONFIG_CRASH_CORE), and "
                "must have come so far",
            )
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return size


def _check_room(directory: Path, size: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < size + _SPARE:
        raise LackError(
            f"a dump of {_mebibytes(size)} needs as much, and {_mebibytes(_SPARE)}, in {directory}:"
            f" only {_mebibytes(free)} are free",
            hint="free some space there",
        )


@contextmanager
def unpacked(packed: Path) -> Iterator[Path]:
    """The core in a packed dump, in a `with` block, as a sparse file.  Raises UsageError when there
    is no such dump, HostError when it is damaged."""
    if not packed.is_file():
        raise UsageError(f"{packed}: no such dump")
    with scratch() as place:
        plain = place / packed.name.removesuffix(".zst")
        run(["zstd", "-q", "-d", "--sparse", packed, "-o", plain], deadline=_PACK_DEADLINE)
        yield plain


def info(plain: Path) -> dict[str, str]:
    """What the kernel in a core says of itself (vmcore.fields).  Raises HostError for a file that
    is no dump of the lab."""
    with plain.open("rb") as file:
        said = vmcore.note_of(file.read(vmcore.HEAD))
    if not said:
        raise HostError(f"{plain}: no dump of the lab")
    return vmcore.fields(said)


def _mebibytes(size: int) -> str:
    return f"{size >> 20} MiB"
