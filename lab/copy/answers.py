# SPDX-License-Identifier: GPL-2.0-or-later
"""What the executor in the guest answers, which may be anything: models, and their failure is the
guest's."""

import base64
import binascii
import zlib
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lab.errors import GuestError

Model = TypeVar("Model", bound=BaseModel)

_Number = Annotated[int, Field(ge=0, lt=1 << 63)]
_Errno = Annotated[int, Field(ge=0, lt=1 << 31)]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _ExecutorAnswer(BaseModel):
    # More may stand in it, for others.
    model_config = ConfigDict(frozen=True, defer_build=True)


class SectorsAnswer(_ExecutorAnswer):
    """Sectors that were read: base64 of zlib, and offset, bytes and errno of what could not be."""

    as_moved: bool = False
    """They are what was last written, with the moves of the request made."""
    data: str = ""
    unreadable: list[tuple[_Number, _Number, _Errno]] = []


class KernelAnswer(_ExecutorAnswer):
    """The kernel's messages: sequence number, level and text of each."""

    records: list[tuple[_Number, int, str]]


class StatusAnswer(_ExecutorAnswer):
    """The NVMe status of a command."""

    status: _Number


class NvmeAnswer(StatusAnswer):
    """The completion of an NVMe Copy command."""

    dw0: _Number
    seconds: _Seconds


class CopyAnswer(_ExecutorAnswer):
    """The end of a copy by a system call."""

    errno: _Errno
    done: int
    seconds: _Seconds
    said: str | None = None


class ErrnosAnswer(_ExecutorAnswer):
    """What the kernel makes of NVMe statuses: each with its errno."""

    errnos: list[tuple[_Number, _Errno]]


class ZoneAnswer(_ExecutorAnswer):
    """A zone of a device, in bytes; one that is full may have a pointer that leads nowhere."""

    start: _Number
    pointer: Annotated[int, Field(ge=0)]
    capacity: _Number


class MetAnswer(_ExecutorAnswer):
    """Copies at once: how many pairs of them ran at the same time."""

    met: int = 0


class MendAnswer(_ExecutorAnswer):
    """What could not be mended, if anything."""

    problem: str | None = None


def checked(model: type[Model], answer: Mapping[str, Any]) -> Model:
    """An answer as a model.  Raises GuestError when it is not as that has it."""
    try:
        return model.model_validate(dict(answer))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise GuestError(
            f"the executor in the guest answers what it should not: {where}: {first['msg']:.200}",
            detail=f"{dict(answer)!r:.200}",
        ) from error


def unpacked(text: str, size: int) -> bytearray:
    """Data of `size` bytes, from base64 of zlib.  Raises GuestError where they are not that many: a
    few KiB may unpack to gigabytes."""
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(base64.b64decode(text, validate=True), size + 1)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise GuestError(
            f"the executor in the guest answers data that cannot be unpacked: {error}"
        ) from error
    if len(data) != size:
        more = "more" if len(data) > size else f"{len(data)}"
        raise GuestError(
            f"the executor in the guest answers {more} bytes where {size} were asked for"
        )
    return bytearray(data)
