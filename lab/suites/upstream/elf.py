# SPDX-License-Identifier: GPL-2.0-or-later
"""What the programs of a tree need from the system they run on, read from their ELF files."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

_MAGIC = b"\x7fELF"


@dataclass(frozen=True)
class ElfFile:
    """An executable or a shared library."""

    path: Path
    machine: str
    """As pyelftools names it: `x64`, `AArch64`."""
    needs: frozenset[str]
    """The shared libraries it is linked with, by soname."""
    provides: str = ""
    """Its own soname, if it has one."""


def programs(tree: Path) -> Iterator[ElfFile]:
    """Every ELF executable and shared library below a directory; no object files."""
    for path in sorted(tree.rglob("*")):
        # What libtool leaves in .libs is what the wrapper beside it runs.
        if path.is_file() and not path.is_symlink() and (found := _read(path)):
            yield found


def _read(path: Path) -> ElfFile | None:
    with path.open("rb") as file:
        if file.read(4) != _MAGIC:
            return None
        file.seek(0)
        try:
            elf = ELFFile(file)
            if elf.header["e_type"] not in ("ET_EXEC", "ET_DYN"):
                return None
            dynamic = elf.get_section_by_name(".dynamic")
            tags = list(dynamic.iter_tags()) if isinstance(dynamic, DynamicSection) else []
            # The library gives a tag that names a string an attribute of the tag's own name.
            needs = frozenset(str(vars(tag)["needed"]) for tag in tags if "needed" in vars(tag))
            soname = next((str(vars(tag)["soname"]) for tag in tags if "soname" in vars(tag)), "")
            return ElfFile(path, elf.get_machine_arch(), needs, soname)
        except ELFError:
            return None  # cut short, or written by a compiler that was interrupted
