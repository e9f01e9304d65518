# SPDX-License-Identifier: GPL-2.0-or-later
"""A run in one file, for other people: what it ran on, what was done, and all its evidence.

A gzipped tar file with one directory, `lab-RUN`, that has the run's directory, and

    bundle.json     this format's version, the run, the case that matters, what it ran on
    kernel.config   of the kernel, where it was still there
    kernel.log      the kernel's messages, from the timeline

Files with holes, such as write logs, are stored without them.  Nothing is unpacked to read one.
"""

import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from lab.errors import HostError, UsageError
from lab.foreign import decoded
from lab.host.command import run
from lab.results.dumps import DIRECTORY, SUFFIX
from lab.results.run import DOCUMENT, PROFILE, TIMELINE
from lab.results.runs import PastRun
from lab.results.tarred import BOUNDS, DAMAGE, Bounds, TarredFiles, tarred

ABOUT = "bundle.json"
KERNEL_LOG = "kernel.log"

_DEADLINE = 3600.0
"""Seconds to pack; write logs can be gigabytes."""

_LARGEST = 256 << 20
"""Bytes of a JSON file that is read."""

_LONGEST_PATH = 512
_LONGEST_NAME = 255
"""Bytes, of file systems."""
_MOST_FILES = 100_000


class BundleNote(BaseModel):
    """What stands in bundle.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    run: str
    case: str = ""
    """Number of the case that matters, as `lab replay` takes it; '' if none was named."""
    suite: str
    seed: int | None = None
    plan: dict[str, Any] | None = None
    """What was done in that case: the copy, where it was interrupted, and how."""
    kernel: dict[str, str]
    """What it was called, its release, and what it was made of."""
    qemu: str
    accelerator: str


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read."""

    path: Path
    about: BundleNote
    past: PastRun


def pack(directory: Path, about: BundleNote, more: Path, target: Path) -> None:
    """Write the bundle of a run's directory and of the files in `more` to `target`.

    Raises HostError with what tar said.
    """
    (more / ABOUT).write_text(about.model_dump_json(indent=1) + "\n")
    (more / KERNEL_LOG).write_text("".join(f"{line}\n" for line in kernel_log(directory)))
    new = target.with_name(f"{target.name}.new")
    argv = [
        "tar", "--create", "--gzip", "--sparse", "--format=gnu", "--sort=name",
        "--owner=root:0", "--group=root:0", f"--transform=s,^\\.,lab-{about.run},",
        # Of dumps the notes and reports: the memory has all that was in the guest, its keys too.
        f"--exclude=./{DIRECTORY}/*{SUFFIX}",
        f"--file={new.absolute()}", f"--directory={more}", ".", f"--directory={directory}", ".",
    ]  # fmt: skip
    try:
        run(argv, deadline=_DEADLINE)
        new.replace(target)
    except OSError as error:
        raise HostError(f"{target}: {error.strerror}") from error
    finally:
        new.unlink(missing_ok=True)


def kernel_log(directory: Path) -> Iterator[str]:
    """The kernel's messages in a run's timeline: seconds since it began, and the text."""
    start: float | None = None
    try:
        with (directory / TIMELINE).open() as lines:
            for line in lines:
                event = json.loads(line)
                start = event["t"] if start is None else start
                if event["source"] == "kernel" and "text" in event:
                    yield f"[{event['t'] - start:12.6f}] {event['text']}"
    except (OSError, ValueError, KeyError):
        return  # none, or the last line of a lab that was killed


def read(path: Path) -> Bundle:
    """Read a bundle.  Raises UsageError when it is none, or not as this lab writes them."""
    with _bundle(path) as files:
        members = _checked(path, files)
        try:
            about = BundleNote.model_validate_json(files.content(members[ABOUT], _LARGEST))
        except ValidationError as error:
            what = "; ".join(f"{each['loc']}: {each['msg']}" for each in error.errors()[:3])
            raise UsageError(
                f"{path}: its {ABOUT} is not as expected: {what}", hint="did a later lab write it?"
            ) from error
        document = decoded(files.content(members[DOCUMENT], _LARGEST))
        if not isinstance(document, dict):
            raise ValueError(f"{DOCUMENT} has no mapping")
        profile = files.content(members[PROFILE], _LARGEST).decode()
        return Bundle(path, about, PastRun(document, profile))


def unpack(path: Path, target: Path, bounds: Bounds = BOUNDS) -> Path:
    """Unpack a bundle below a directory; where its run's directory is then.

    Raises UsageError when it is none, or when what it says of itself is beyond the bounds, and
    HostError where there is no room for it.
    """
    with _bundle(path, bounds) as files:
        members = _checked(path, files)
        files.check_room(iter(members.values()), target)
        for name, member in members.items():
            files.unpack(member, target / name)
    return target


@contextmanager
def _bundle(path: Path, bounds: Bounds = BOUNDS) -> Iterator[TarredFiles]:
    """The files in a bundle, in a `with` block; what is wrong with them in it is told of it."""
    try:
        with tarred(path, bounds) as files:
            yield files
    except KeyError as error:
        raise UsageError(f"{path}: no bundle of a run, {error.args[0]} is missing") from error
    except DAMAGE as error:
        raise UsageError(f"{path}: no bundle of a run: {error}") from error


def _checked(path: Path, files: TarredFiles) -> dict[str, tarfile.TarInfo]:
    """The files by their names in the bundle's directory.

    Raises UsageError for anything that has no place there: links, devices, paths that lead out of
    it or that no file can have.  Nobody who unpacks a bundle that was read shall be surprised.
    """
    found: dict[str, tarfile.TarInfo] = {}
    for number, member in enumerate(files.heads()):
        name = _name(member)
        if number >= _MOST_FILES or name is None or _taken(name) & found.keys():
            raise UsageError(
                f"{path}: no bundle of a run: {member.name[:_LONGEST_PATH]!r} has no place in one",
                hint="do not unpack it",
            )
        if member.isreg():
            found[name] = member
    return found


def _taken(name: str) -> set[str]:
    """What no other file may be called: the same, or as a directory above."""
    return {name, *map(str, PurePosixPath(name).parents)}


def _name(member: tarfile.TarInfo) -> str | None:
    """What is called so in the bundle's directory; None for what has no place in one."""
    parts = PurePosixPath(member.name).parts
    good = (
        len(member.name) <= _LONGEST_PATH
        and "\0" not in member.name
        and (member.isreg() or member.isdir())
        and "".join(parts[:1]).startswith("lab-")
        and ".." not in parts
        and all(len(part.encode(errors="surrogateescape")) <= _LONGEST_NAME for part in parts)
        # It is read as a whole, here or once it is unpacked.
        and (member.size <= _LARGEST or not member.name.endswith(".json"))
    )
    return "/".join(parts[1:]) if good and (parts[1:] or member.isdir()) else None
