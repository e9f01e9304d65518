# SPDX-License-Identifier: GPL-2.0-or-later
"""What QEMUs have answered, kept until the program that answered is another.

A QEMU is known by the files that it maps when it runs, its libraries among them: a path can lead to
a script, and a script to another program every day.  Each path has a file of its own, so that
several QEMUs do not drive out each other.
"""

import hashlib
import os
import subprocess
import time
from pathlib import Path

from pydantic import BaseModel, ValidationError

from lab.errors import HostError
from lab.host import dirs
from lab.host.command import owned, tail
from lab.host.dirs import not_writable
from lab.host.scratch import scratch

BARE = ("-machine", "none", "-nodefaults", "-no-user-config", "-display", "none", "-S")
"""Options of a QEMU that is only asked."""

_DEADLINE = 20.0
_ELF = b"\x7fELF"
_WAYS = ("LD_LIBRARY_PATH", "QEMU_MODULE_DIR")
"""Variables by which the same program becomes another."""


class Answers(BaseModel):
    """What one QEMU has answered."""

    stamps: dict[str, str]
    """Size and time of each file that it maps."""
    properties: dict[str, list[str]] = {}
    """Those of each device type that was asked for."""
    probe: str = ""
    """What the accelerator was probed on; empty if it was not."""
    accelerator: tuple[str, str] = ("", "")

    def keep(self, qemu: str) -> None:
        """Write them down.  Raises HostError."""
        path = _file(qemu)
        new = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            new.write_text(self.model_dump_json())
            new.replace(path)
        except OSError as error:
            raise not_writable(path, error) from error


def of(qemu: str) -> Answers:
    """What the QEMU at a path has answered; nothing if another program is behind it now.

    Raises HostError when it does not start.
    """
    try:
        kept = Answers.model_validate_json(_file(qemu).read_bytes())
    except (OSError, ValidationError):
        kept = None
    # A script is asked each time which program it runs.
    if kept and _is_the_program(qemu) and kept.stamps == _stamps(qemu, list(kept.stamps)):
        return kept
    stamps = _stamps(qemu, mapped(qemu))
    return kept if kept and kept.stamps == stamps else Answers(stamps=stamps)


def mapped(qemu: str) -> list[str]:
    """The files that a QEMU maps: the program itself, its loader and libraries.

    However this ends, even by a SIGKILL, the QEMU ends with it.  Raises HostError with what it said
    when it does not start.
    """
    with scratch() as place:
        note, said = place / "pid", place / "stderr"
        try:
            with owned(lambda: _bare(qemu, note, said)) as process:
                # Its own process, which a script need not have become.
                pid = _await(process, qemu, note, said)
                maps = Path(f"/proc/{pid}/maps").read_text()
        except OSError as error:
            raise HostError(f"{qemu}: it ended while it was looked at: {error}") from error
    columns = (line.split(maxsplit=5) for line in maps.splitlines())
    return sorted({words[5] for words in columns if len(words) > 5 and words[5].startswith("/")})


def _bare(qemu: str, note: Path, said: Path) -> subprocess.Popen[str]:
    with said.open("wb") as err:
        return subprocess.Popen(
            [qemu, *BARE, "-pidfile", str(note)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err, process_group=0,
            text=True,
        )  # fmt: skip


def _await(process: subprocess.Popen[str], qemu: str, note: Path, said: Path) -> int:
    """The process id in QEMU's pid file."""
    end = time.monotonic() + _DEADLINE
    while not (note.exists() and (text := note.read_text()).endswith("\n")):
        if process.poll() is not None or time.monotonic() > end:
            how = process.returncode
            raise HostError(
                f"{qemu} does not start: "
                + ("it writes no pid file" if how is None else f"exit status {how}"),
                detail=tail(said.read_text(errors="replace")),
            )
        time.sleep(0.005)
    return int(text)


def _is_the_program(qemu: str) -> bool:
    """Whether there is nothing between the path and the program; the store's never change."""
    if Path(qemu).is_relative_to(dirs.cache("artifacts")):
        return True
    try:
        with Path(qemu).open("rb") as file:
            return file.read(len(_ELF)) == _ELF
    except OSError:
        return False


def _stamps(qemu: str, files: list[str]) -> dict[str, str]:
    stamps = {name: os.environ.get(name, "") for name in _WAYS}
    for path in {qemu, *(name for name in files if name.startswith("/"))}:
        try:
            info = Path(path).stat()
            stamps[path] = f"{info.st_size} {info.st_mtime_ns} {info.st_ino}"
        except OSError:
            stamps[path] = "gone"
    return stamps


def _file(qemu: str) -> Path:
    return dirs.cache("qemu-answers") / f"{hashlib.sha256(qemu.encode()).hexdigest()[:16]}.json"
