# SPDX-License-Identifier: GPL-2.0-or-later
"""Workloads that a person gives: a YAML file, or a command.

    about: What they are
    workloads:
      - name: rename-over
        setup:                       # there before, and durable; an empty file system without it
          - creat: foo
          - write: {path: foo, at: 0, length: 8K}
        steps:
          - creat: new
          - write: {path: new, length: 4K, fill: any words}
          - fsync: new
          - rename: {path: new, to: foo}
          - run: for n in 1 2 3; do echo $n >$n; done
          - sync

A step is one that guest-scripts/suites/crashfs can carry out; one whose only argument is a path may
have just that.  `run` has a shell in the guest carry out a command in the file system's topmost
directory: what a workload with one leaves is judged by its structure alone.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    create_model,
    model_validator,
)

from lab import yamlfile
from lab.errors import UsageError
from lab.profile.units import format_size, parse_offset, parse_size
from lab.suites.crash_states.fs.history import Step
from lab.suites.crash_states.fs.tree import StepImpossible
from lab.suites.crash_states.fs.workload import COMMAND, FsWorkload

CORPUS = Path(__file__).with_name("corpus.yaml")
"""Workloads of which the public record says that they have lost something, written anew."""


class _GivenModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _StepModel(_GivenModel):
    @model_validator(mode="after")
    def _ends_in_file(self) -> "_StepModel":
        end = getattr(self, "at", 0) + getattr(self, "length", 0)
        if end > FILE_SIZE:
            raise ValueError(f"it ends at {end}; a file of a workload has {_MOST} at most")
        return self


def _below(value: object) -> object:
    """A path below the mount point; `.` is the topmost directory."""
    if not isinstance(value, str) or value.startswith("/") or ".." in value.split("/"):
        raise ValueError(f"{value!r} is no path below the mount point")
    return "" if value == "." else value


FILE_SIZE = 16 << 20
"""Bytes that a file of a workload may have: the model has the content of all after each step, and
guest-scripts/suites/crashfs reads no more of one."""

_MOST = format_size(FILE_SIZE)


def _in_file(parse: Callable[[object], int]) -> BeforeValidator:
    def parsed(value: object) -> int:
        size = parse(value)
        if size > FILE_SIZE:
            raise ValueError(f"{value}: a file of a workload has {_MOST} at most")
        return size

    return BeforeValidator(parsed)


def _of_users(name: str) -> str:
    """The name of an xattr that the guest reads back."""
    if not name.startswith("user.") or name == "user.":
        raise ValueError(f"{name!r} is no xattr of users, such as user.x; no others are looked at")
    return name


_NAME = (Annotated[str, BeforeValidator(_below)], ...)
_AT = (Annotated[int, _in_file(parse_offset)], 0)
_LENGTH = (Annotated[int, _in_file(parse_size)], ...)
_TEXT = (str, ...)
_XATTR = (Annotated[str, AfterValidator(_of_users)], ...)
_MODES = Literal["extend", "keep-size", "punch", "zero", "zero-keep-size", "collapse"]

_WRITE = {"path": _NAME, "at": _AT, "length": _LENGTH, "fill": (str, "")}
_SHARE = {"source": _NAME, "path": _NAME, "start": _AT, "at": _AT, "length": _LENGTH}
_FIELDS: dict[str, dict[str, Any]] = {
    **{kind: {"path": _NAME} for kind in ("creat", "mkdir", "unlink", "rmdir")},
    **{kind: {"path": _NAME} for kind in ("fsync", "fdatasync")},
    **{kind: {"path": _NAME, "to": _NAME} for kind in ("rename", "link", "symlink")},
    **dict.fromkeys(("write", "direct", "mapped"), _WRITE),
    **dict.fromkeys(("copy", "clone", "dedupe"), _SHARE),
    "falloc": {"path": _NAME, "mode": (_MODES, ...), "at": _AT, "length": _LENGTH},
    "truncate": {"path": _NAME, "length": (Annotated[int, _in_file(parse_offset)], ...)},
    "setxattr": {"path": _NAME, "name": _XATTR, "value": _TEXT},
    "removexattr": {"path": _NAME, "name": _XATTR},
    COMMAND: {"command": _TEXT},
    "sync": {},
}
STEPS = {
    kind: create_model(f"step {kind}", __base__=_StepModel, **fields)
    for kind, fields in _FIELDS.items()
}
"""What each kind of step takes."""


def _step(value: object) -> Step:
    """A step as the file has it.  Raises ValueError."""
    if value == "sync":
        value = {"sync": {}}
    if not isinstance(value, Mapping) or len(value) != 1:
        raise ValueError("a step is one word and what it takes, such as `fsync: foo`, or `sync`")
    ((kind, given),) = value.items()
    if kind not in STEPS:
        raise ValueError(f"no step is called {kind}; there are: {', '.join(STEPS)}")
    if isinstance(given, str):
        given = {next(iter(_FIELDS[kind]), ""): given}
    return {"do": kind, **STEPS[kind].model_validate(given).model_dump()}


_Steps = tuple[Annotated[dict[str, Any], BeforeValidator(_step)], ...]


class _GivenWorkload(_GivenModel):
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+@-]*$")
    about: str = ""
    source: str = ""
    file_systems: tuple[Literal["ext4", "xfs", "btrfs", "f2fs"], ...] = ()
    setup: _Steps = ()
    steps: _Steps = Field(min_length=1)


class _WorkloadFile(_GivenModel):
    about: str = ""
    workloads: tuple[_GivenWorkload, ...] = Field(min_length=1)


_READER = TypeAdapter(_WorkloadFile)


def load(path: Path) -> list[FsWorkload]:
    """The workloads of a file.  Raises ProfileError that names the line and the key that is wrong,
    UsageError for workloads that cannot be."""
    read = yamlfile.read(path, _READER)
    names = [each.name for each in read.workloads]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{path}: two workloads are called {name}")
    return [_made(path, each) for each in read.workloads]


def _made(path: Path, given: _GivenWorkload) -> FsWorkload:
    made = FsWorkload(
        given.name, given.steps, given.setup, tuple(given.file_systems), given.source,
    )  # fmt: skip
    try:
        made.history  # noqa: B018 - whether its steps can follow one another
    except StepImpossible as error:
        raise UsageError(f"{path}: {given.name}: {error}") from error
    return made


def command(text: str) -> FsWorkload:
    """The workload that is a command."""
    return FsWorkload("command", ({"do": COMMAND, "command": text},))
