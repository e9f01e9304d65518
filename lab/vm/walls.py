# SPDX-License-Identifier: GPL-2.0-or-later
"""Walls around QEMU: which files it may read and write, whatever its guest makes of it.

The kernel has them (Landlock: Documentation/userspace-api/landlock.rst) and setpriv(1) puts them up
(from util-linux 2.41 on) before it becomes QEMU.  They stay for as long as QEMU does: what it is
given later lies in its directory, or is handed over opened.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lab.errors import HostError
from lab.host import dirs
from lab.host.command import found, run
from lab.profile.hostdev import HostBlock, HostNvme
from lab.profile.models import Profile
from lab.vm.argv import Boot, Memory

PROGRAM = "setpriv"
_DEADLINE = 20.0

_READ = "execute,read-file,read-dir"
_ALL = (
    f"{_READ},write-file,truncate,remove-dir,remove-file,make-char,make-dir,make-reg,make-sock,"
    "make-fifo,make-block,make-sym,refer"
)
"""The third version of Landlock, of Linux 6.2.  Of a file, none that is of directories may be named
(add_rule_path_beneath() in security/landlock/syscalls.c)."""
_READ_FILE, _WRITE_FILE = "execute,read-file", "read-file,write-file,truncate"

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/proc", "/sys")
_DEVICES = ("null", "zero", "full", "random", "urandom", "kvm", "net/tun", "vfio")


@dataclass(frozen=True)
class Reach:
    """What a QEMU may read, and what it may write as well, beside its own directory; and the bytes
    of its guest's memory."""

    read: tuple[Path, ...]
    write: tuple[Path, ...]
    memory: int

    @classmethod
    def of(cls, profile: Profile, boot: Boot, memory: Memory | None = None) -> "Reach":
        """That of a guest's."""
        files = [boot.kernel, boot.root, boot.modules, *(path for _, path in boot.trees)]
        devices = [Path(one.path) for one in profile.devices if isinstance(one, HostBlock)]
        if any(isinstance(one, HostNvme) for one in profile.devices):
            # Its registers are files there.
            devices.append(Path("/sys/bus/pci/devices"))
        # QEMU opens it for writing although it maps a copy (file_ram_open() in its physmem.c).
        mapped = [memory.path] if memory and memory.path else []
        read = (*_programs(boot.qemu), *files)
        return cls(read, (*devices, *mapped), profile.machine.memory)


def _programs(qemu: str) -> tuple[Path, ...]:
    """Where a QEMU that is not of the distribution has its libraries and firmware; of one that
    somebody built nobody knows, so that it may read everything."""
    program = Path(found(qemu) or qemu).resolve()
    if program.is_relative_to("/usr"):
        return ()
    artifacts = dirs.cache("artifacts").resolve()
    if program.is_relative_to(artifacts):
        return (artifacts.joinpath(*program.relative_to(artifacts).parts[:2]),)
    return (Path("/"),)


def walled(directory: Path, reach: Reach) -> list[str]:
    """What to put before QEMU's command line; nothing where this host has no walls."""
    if why_not():
        return []
    rules = [_rule(directory, _ALL, _WRITE_FILE)]
    rules += _rules((*map(Path, _SYSTEM), *reach.read), _READ, _READ_FILE)
    rules += _rules((*(Path("/dev", name) for name in _DEVICES), *reach.write), _ALL, _WRITE_FILE)
    return [*_words(rules), "--"]


def _rules(paths: Iterable[Path], of_directories: str, of_files: str) -> Iterator[str]:
    return (_rule(path, of_directories, of_files) for path in paths if path.exists())


def _rule(path: Path, of_directory: str, of_file: str) -> str:
    return f"path-beneath:{of_directory if path.is_dir() else of_file}:{path}"


def _words(rules: Iterable[str]) -> list[str]:
    handled = [PROGRAM, "--landlock-access", f"fs:{_ALL}"]
    return handled + [word for rule in rules for word in ("--landlock-rule", rule)]


@cache
def why_not() -> str:
    """Why this host has no walls, found by trying; '' where it has."""
    if os.environ.get("LAB_LANDLOCK") == "no":
        return "LAB_LANDLOCK=no"
    if found(PROGRAM) is None:
        return f"{PROGRAM}: not found"
    words = _words(_rules(map(Path, _SYSTEM), _READ, _READ_FILE))
    try:
        run([*words, "--", "true"], deadline=_DEADLINE)
    except HostError as error:
        said = error.detail.splitlines()
        return f"{PROGRAM}: {said[0].removeprefix(f'{PROGRAM}: ') if said else error.message}"
    return ""
