# SPDX-License-Identifier: GPL-2.0-or-later
"""What several unit tests build: a small copy with its medium, facts, guests, processes."""

import struct
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from lab.copy.contract import Aftermath, Facts, Offload, Recovery
from lab.copy.model import SECTOR, Completion, Copy, Extent
from lab.copy.oracle import Findings, Tagging, classify
from lab.copy.paths.nvme import NvmeCopy
from lab.guest.registry import Record
from lab.host.process import Process, me
from lab.profile.models import CopyLimits, NvmeNamespace, Profile
from lab.vm.graph import Drive
from tests import ROOT

WINDOW = Extent(16, 64)
TAGGING = Tagging(WINDOW, generation=3, run=7)
COPY = Copy((Extent(20, 4), Extent(28, 4), Extent(36, 4)), destination=48)
"""Three ranges of four sectors; the window has untouched sectors around and between all parts."""

BUILT_IN = """\
kernel/drivers/block/virtio_blk.ko
kernel/drivers/net/virtio_net.ko
kernel/drivers/nvme/host/nvme.ko
kernel/fs/erofs/erofs.ko
kernel/fs/overlayfs/overlay.ko
"""
"""modules.builtin of a kernel that needs no module."""

DONE = Completion(0, 0, 0.01)
FAILED = Completion(0x280, 0, 0.01)


def quiet(_phase: str) -> None:
    """The Progress of a test, which tells nobody."""


def git(tree: Path, *words: str | Path) -> str:
    """What git prints about a repository, in which whoever commits has a name."""
    identity = ["-c", "user.name=A Person", "-c", "user.email=person@example.org"]
    done = subprocess.run(
        ["git", "-C", tree, *identity, *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def sector_of(address: int) -> bytes:
    """The tagged sector that was at `address` before the copy."""
    return TAGGING.sector(address)


def contents(changed: Mapping[int, bytes], tagging: Tagging = TAGGING) -> bytes:
    """The window as it was tagged, but for the sectors in `changed`."""
    return b"".join(changed.get(address, tagging.sector(address)) for address in tagging.window)


def copied(ranges: int = len(COPY.sources)) -> dict[int, bytes]:
    """The destination sectors after the first `ranges` ranges of COPY were written."""
    return {
        to: sector_of(origin)
        for source, target in COPY.pieces()[:ranges]
        for origin, to in zip(source, target, strict=True)
    }


def findings(changed: Mapping[int, bytes], copy: Copy = COPY) -> Findings:
    """What the oracle says of a medium on which just these sectors changed."""
    return classify(copy, TAGGING, contents(changed))


def facts(**observed: Any) -> Facts:
    """A perfect copy without any fault, except for what is given."""
    perfect = Facts(
        findings=findings(copied()),
        aftermath=Aftermath.LIVE,
        completion=DONE,
        injected="",
        flushed=False,
        waited=0.01,
        deadline=10.0,
        crash="",
        complaints=(),
        stray_writes=(),
        offload=Offload("1 Copy command"),
        recovery=Recovery(DONE, findings(copied())),
    )
    return replace(perfect, **observed)


def write_medium(path: Path, changed: Mapping[int, bytes]) -> None:
    """A medium that is zero up to the window, and holds `changed` in it."""
    path.write_bytes(bytes(WINDOW.start * SECTOR) + contents(changed))


@contextmanager
def python(code: str, *argv: str | Path) -> Iterator[subprocess.Popen[str]]:
    """Run Python code in a process of its own that is killed at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, argv)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    """The next line that a process prints."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


@contextmanager
def idle(cwd: Path | None = None, argument: str = "") -> Iterator[Process]:
    """A process that does nothing in `cwd`, with `argument` on its command line."""
    process = subprocess.Popen(
        ["sh", "-c", "read _", "sh", argument], cwd=cwd, stdin=subprocess.PIPE
    )
    with process:
        try:
            # The kernel sets the command line a moment after it has told that exec succeeded.
            cmdline = Path(f"/proc/{process.pid}/cmdline")
            until(lambda: argument.encode() in cmdline.read_bytes())
            found = Process.of(process.pid)
            assert found is not None
            yield found
        finally:
            process.kill()


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that comes at once, unless the host is busy."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def gone() -> Process:
    """A process that has ended; its pid belongs to somebody else now."""
    return replace(me(), started=me().started - 1)


def profile(name: str = "p") -> Profile:
    """A profile with one namespace."""
    return Profile.model_validate(
        {
            "name": name,
            "description": "test",
            "devices": ({"type": "nvme", "serial": "S", "namespaces": ({"size": 2**20},)},),
        }
    )


def record(name: str, qemu: Process, owner: Process | None = None) -> Record:
    """The record of a guest whose QEMU is `qemu`."""
    return Record(
        name=name,
        profile=profile(),
        kernel="6.12",
        qemu=qemu,
        accelerator="tcg",
        accelerator_note="",
        port=2222,
        started=0.0,
        owner=owner,
    )


def elf_kernel(*, pvh: bool, machine: int = 62) -> bytes:
    """The head of an ELF kernel with a note: the PVH entry, or another one of Xen's.  `machine` is
    e_machine; 62 is x86-64."""
    note = struct.pack("<III4sQ", 4, 8, 18 if pvh else 6, b"Xen\0", 0x1000000)
    segment = struct.pack("<IIQQQQQQ", 4, 0, 0x40 + 56, 0, 0, len(note), len(note), 4)
    head = bytearray(b"\x7fELF\2\1\1".ljust(0x40, b"\0"))
    struct.pack_into("<HH", head, 0x10, 2, machine)
    struct.pack_into("<Q", head, 0x20, 0x40)
    struct.pack_into("<HH", head, 0x36, 56, 1)
    return bytes(head) + segment + note


def bzimage(payload: bytes, *, sectors: int = 3, release: str = "", wide: bool = True) -> bytes:
    """A file with the fields of the setup header that matter, and code around the payload."""
    head = bytearray((sectors + 1 if sectors else 5) * 512)
    head[0x1F1] = sectors
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x206, 0x20F)
    head[0x236] = 1 if wide else 0
    struct.pack_into("<II", head, 0x248, 0x2CC, len(payload))
    code = b"\x90" * 0x2CC
    if release:
        struct.pack_into("<H", head, 0x20E, len(head) - 512)
        code = f"{release} (lab@lab) #1 SMP\0".encode().ljust(0x2CC, b"\x90")
    return bytes(head) + code + payload + b"\x90" * 99


def efi_program(sections: Mapping[str, bytes], machine: int = 0x8664) -> bytes:
    """A PE32+ file with these sections, padded to 512 bytes as linkers do; 0x8664 is x86-64."""
    table, content, at = b"", b"", 0x1000
    for name, data in sections.items():
        size = -(-len(data) // 512) * 512
        table += struct.pack("<8sIIII16x", name.encode(), len(data), at, size, at)
        content += data.ljust(size, b"\0")
        at += size
    head = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40)
    head += struct.pack("<4sHHIIIHH", b"PE", machine, len(sections), 0, 0, 0, 240, 0x22)
    optional = bytearray(240)
    struct.pack_into("<H", optional, 0, 0x20B)
    struct.pack_into("<II", optional, 32, 512, 512)  # alignment in memory and in the file
    struct.pack_into("<I", optional, 108, 16)
    return (head + bytes(optional) + table).ljust(0x1000, b"\0") + content


def installed_modules(lib: Path, release: str = "6.12.0-test") -> Path:
    """lib/modules/RELEASE as modules_install leaves it, of a kernel with all built in."""
    tree = lib / "modules" / release
    tree.mkdir(parents=True)
    (tree / "modules.builtin").write_text(BUILT_IN)
    (tree / "modules.order").touch()
    return tree


def kernel_tree(path: Path) -> Path:
    """What `make` leaves of a kernel with all built in, as far as the lab looks at it."""
    (path / "include/config").mkdir(parents=True)
    (path / "include/config/kernel.release").write_text("6.12.0-test\n")
    (path / "vmlinux").write_bytes(elf_kernel(pvh=True))
    (path / ".config").write_text("CONFIG_PVH=y\n")
    (path / "modules.builtin").write_text(BUILT_IN)
    return path


def nvme_path(
    size: int = 2**30, block_size: int = 512, limits: CopyLimits | None = None
) -> NvmeCopy:
    """The path nvme-copy on a namespace of that size."""
    given = limits or CopyLimits(mssrl=256, mcl=4096, msrc=128)
    namespace = NvmeNamespace.model_validate(
        {"nsid": 1, "size": size, "block_size": block_size, "copy": given}
    )
    return NvmeCopy(Drive("d0n1", "S", 1, size, block_size), namespace)
