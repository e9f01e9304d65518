# SPDX-License-Identifier: GPL-2.0-or-later
"""The path `nvme-copy`: an NVMe Copy command by passthrough, and its proof."""

from collections.abc import Iterator, Mapping
from typing import Any

from lab.copy.answers import ErrnosAnswer, NvmeAnswer, checked
from lab.copy.contract import Offload
from lab.copy.ground import errno_name
from lab.copy.model import OR, SECTOR, Completion, Copy
from lab.copy.paths.base import CopyPath, Observation
from lab.copy.paths.find import free_namespaces, reference
from lab.copy.paths.instrument import Instrument, Subject
from lab.copy.paths.traced import offload, parse_trace
from lab.copy.sizes import SIZE_LIMIT_EXCEEDED, exceeded
from lab.errors import UsageError
from lab.faults.actions import Action
from lab.faults.model import Point, Stage, points_of
from lab.profile.models import CopyLimits, NvmeNamespace, Profile
from lab.vm.graph import Drive

_ERRORS = {
    0x001: "EOPNOTSUPP", 0x002: "EOPNOTSUPP", 0x00B: "EOPNOTSUPP", 0x180: "EOPNOTSUPP",
    0x021: "EREMOTEIO", 0x080: "EREMOTEIO", 0x082: "EREMOTEIO",
    0x081: "ENOSPC", 0x083: "EBADE",
    0x181: "EILSEQ", 0x182: "ENODATA",
    0x1BD: "EOVERFLOW", 0x1BE: "ETOOMANYREFS",
    0x280: "ENODATA", 0x281: "ENODATA", 0x285: "ENODATA", 0x286: "ENODATA", 0x287: "ENODATA",
    0x282: "EILSEQ", 0x283: "EILSEQ", 0x284: "EILSEQ",
    0x370: "ENOLINK",
}  # fmt: skip
"""What the block layer makes of a status (drivers/nvme/host/core.c, nvme_error_status, and
block/blk-core.c, blk_errors, the same in Linux 6.12.117, 7.2 and 7.3); EIO of all others."""


_MEDIA_ERRORS = {
    Stage.READ: (0x281, "Unrecovered Read Error"),
    Stage.WRITE: (0x280, "Write Fault"),
}
"""The status of a command whose medium failed (NVMe Base 2.1, 4.2.3, Media and Data Integrity Error
Values that are specific to an I/O command set)."""


_OF_SOME_KERNELS = {SIZE_LIMIT_EXCEEDED: ("EIO", "EOPNOTSUPP")}
"""Statuses of which not all kernels make the same: 183h was taken for a command that is not
supported, until Linux got to know what it means in 2025, which stable kernels were given too."""

_TRIED = (*_ERRORS, *_OF_SOME_KERNELS, 0x006)
"""The statuses of which a guest's kernel is asked what it makes; 006h is QEMU's for most errors."""


def error_of(status: int, found: Mapping[int, str] | None = None) -> str:
    """The name of the errno that a user of the block layer gets for an NVMe status; '' for 0.

    `found` is what the guest's kernel was seen to make of some.  Where it was not tried and
    kernels differ, both names: `EIO or EOPNOTSUPP`.
    """
    if not status:
        return ""
    if found and status in found:
        return found[status]
    return OR.join(_OF_SOME_KERNELS.get(status) or (_ERRORS.get(status, "EIO"),))


class NvmePath(CopyPath):
    """One Copy command, by passthrough, to one namespace."""

    module = "nvme"
    passthrough = True

    def __init__(self, drive: Drive, namespace: NvmeNamespace, first: int | None = None) -> None:
        where = {} if first is None else {"first": first}
        unit = drive.block_size // SECTOR
        super().__init__(drive, reference(drive), unit, drive.size, namespace.copy_limits, **where)
        self._namespace = namespace
        # Only the kernel makes the protection information that goes with a tagged block.
        self.on_medium = not namespace.metadata

    def points(self, ranges: int) -> list[Point] | None:
        """QEMU's controller reads and writes one range after the other; where there is metadata
        beside the data, that in a read and a write of its own."""
        return points_of(ranges * self._parts)

    @property
    def _parts(self) -> int:
        return 2 if self._namespace.metadata else 1

    def begun(self, point: Point) -> int:
        return -(-point.k // self._parts)

    def force_unit_access(self) -> None:
        self.durable = True

    def request(self, copy: Copy) -> dict[str, object]:
        """The executor's request; addresses in logical blocks."""
        unit = self.unit
        wide_guard = {"format": 1} if self._namespace.guard == 64 else {}
        return {
            "op": f"{self.module}.copy",
            "path": self.name,
            "serial": self.drive.serial,
            "nsid": self.drive.nsid,
            "ranges": [[source.start // unit, source.sectors // unit] for source in copy.sources],
            "sdlba": copy.destination // unit,
            "fua": self.durable,
            **wide_guard,
        }

    def misnames(self, completion: Completion, stage: Stage) -> str:
        right, name = _MEDIA_ERRORS[stage]
        if completion.status == right:
            return ""
        return f"the caller is told {completion}; a {stage} that fails is {right:#x}, {name}"

    def refuses_wrongly(self, completion: Completion) -> str:
        if completion.status == SIZE_LIMIT_EXCEEDED:
            return ""
        return (
            f"the caller is told {completion}; a copy above a limit is refused with "
            f"{SIZE_LIMIT_EXCEEDED:#x}, Command Size Limit Exceeded"
        )

    def offload(self, seen: Observation, copy: Copy) -> Offload:
        return offload(parse_trace(seen.trace), copy, self.drive.nsid, seen.begun)

    def on(self, subject: Subject) -> Instrument[Any]:
        return NvmeInstrument(self, subject)


class NvmeInstrument(Instrument[NvmePath]):
    """Copy commands are told as errnos by what the guest's kernel makes of their status."""

    def __init__(self, path: NvmePath, subject: Subject) -> None:
        super().__init__(path, subject)
        self._errors: dict[int, str] | None = None

    def completion(self, answer: dict[str, Any]) -> Completion:
        if "errno" in answer:  # the driver refused, or gave up: no completion came from the device
            return super().completion(answer)
        return completion(answer, self._errors)

    def learn(self) -> str:
        if self._errors is None:
            drive = self.path.drive
            answer = self.ask(
                op="errnos.errnos", serial=drive.serial, nsid=drive.nsid, statuses=_TRIED
            )
            found = checked(ErrnosAnswer, answer).errnos
            self._errors = {status: errno_name(made) for status, made in found}
        if self._errors:
            return f"this kernel's errnos of {len(self._errors)} NVMe statuses were found by trying"
        return "errnos of NVMe statuses not tried: this kernel has no NVMe fault injection"


class NvmeCopy(NvmePath):
    """Copies within a namespace that has no zones."""

    name = "nvme-copy"
    does = "an NVMe Copy command within a namespace (descriptor formats 0 and 1)"
    needs = "an emulated NVMe namespace without zones or layers"

    @classmethod
    def candidates(cls, profile: Profile) -> Iterator[CopyPath]:
        # What needs no metadata comes first: its points are simpler.
        found = [each for each in free_namespaces(profile) if not each[1].zoned]
        for drive, namespace in sorted(found, key=lambda each: each[1].metadata > 0):
            if not namespace.extended:
                yield cls(drive, namespace)


class NvmetPassthrough(NvmeCopy):
    """The same through the kernel's NVMe target, which hands commands on to the controller."""

    name = "nvmet-passthrough"
    does = "an NVMe Copy command through the kernel's NVMe target in passthrough"

    def layer(self, kind: str) -> str:
        # As guest-scripts/copies/passthru.py calls it.
        return "lab-passthrough" if kind == "NVMe target" else ""

    def possible(self, action: Action) -> bool:
        # What is done to the controller would be done to its image as well.
        return super().possible(action) and not (action.throttles or action.removes)


def completion(answer: dict[str, Any], errors: Mapping[int, str] | None = None) -> Completion:
    """What the executor reported of an NVMe command, as the end of a copy; `errors`: what its
    kernel was found to make of statuses.  Raises GuestError."""
    told = checked(NvmeAnswer, answer)
    return Completion(told.status, told.dw0, told.seconds, error_of(told.status, errors))


def check_limits(copy: Copy, limits: CopyLimits) -> None:
    """Raise UsageError when the device would refuse the copy for its size alone."""
    for size in exceeded(copy, limits):
        raise UsageError(
            f"{size.value} {size.what}: the profile's device allows {size.limit} ({size.name})",
            hint="ask for less, or raise the limit in the profile",
        )
