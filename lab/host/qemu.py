# SPDX-License-Identifier: GPL-2.0-or-later
"""Which QEMU, and whether KVM on this host really runs a kernel."""

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import HostError, UsageError
from lab.host import qemu_answers
from lab.host.command import missing, run

DEFAULT = "qemu-system-x86_64"
_VERSION = "QEMU emulator version "
_PROBE_DEADLINE = 10.0
_KERNEL_RAN = "Kernel panic - not syncing: VFS: Unable to mount root fs"


@dataclass(frozen=True)
class Accelerator:
    """`name` is QEMU's; `why` says why it is not KVM (empty when it is)."""

    name: str
    why: str = ""


def binary() -> str:
    """Path of the QEMU to use: LAB_QEMU, or the distribution's.  Raises HostError if missing."""
    wanted = os.environ.get("LAB_QEMU") or DEFAULT
    found = shutil.which(wanted)
    if not found:
        raise missing(wanted)
    return found


def version(qemu: str) -> str:
    """QEMU's version with its package's, for the record; nothing is decided by it.

    Raises HostError for a program that does not say that it is QEMU.
    """
    said = run([qemu, "--version"], deadline=20)
    first = said.partition("\n")[0]
    if not first.startswith(_VERSION):
        raise HostError(
            f"{qemu} is no QEMU: to --version it says {first!r}", hint="set LAB_QEMU to one"
        )
    return first.removeprefix(_VERSION)


def properties(qemu: str, device: str) -> frozenset[str]:
    """The properties of a device type, as this QEMU lists them; none if it has no such device.

    The answer is kept while the program is the same.  Raises HostError when it gives none.
    """
    known = qemu_answers.of(qemu)
    if device not in known.properties:
        known.properties[device] = ask_for_properties(qemu, device)
        known.keep(qemu)
    return frozenset(known.properties[device])


def ask_for_properties(qemu: str, device: str) -> list[str]:
    """The properties of a device type, of QEMU itself; none if it has no such device."""
    (answer,) = ask(qemu, [("device-list-properties", {"typename": device})])
    return [found["name"] for found in answer.get("return", ())]


def ask(
    qemu: str, commands: Sequence[tuple[str, Mapping[str, object]]], *options: str
) -> list[dict[str, Any]]:
    """The answers of a QEMU without a machine to QMP commands: of each what it returned, under
    `return`, or what went wrong, under `error`.  Raises HostError when it gives none."""
    lines: list[dict[str, object]] = [{"execute": "qmp_capabilities"}]
    lines += [
        {"execute": command, "arguments": dict(arguments), "id": number}
        for number, (command, arguments) in enumerate(commands)
    ]
    said = run(
        [qemu, *qemu_answers.BARE, *options, "-qmp", "stdio"],
        deadline=20,
        text="".join(json.dumps(line) + "\n" for line in [*lines, {"execute": "quit"}]),
    )
    answers = [json.loads(line) for line in said.splitlines()]
    found = {answer["id"]: answer for answer in answers if "id" in answer}
    if len(found) != len(commands):
        raise HostError(f"{qemu}: no answer over QMP", detail=said)
    return [found[number] for number in range(len(commands))]


def accelerator(qemu: str, kernel: Path) -> Accelerator:
    """KVM if it really boots `kernel`, else TCG with the reason.  LAB_ACCEL=kvm|tcg overrides."""
    forced = os.environ.get("LAB_ACCEL")
    if forced and forced not in ("kvm", "tcg"):
        raise UsageError(f"LAB_ACCEL={forced}: no accelerator", hint="kvm or tcg")
    if forced:
        return Accelerator(forced, "" if forced == "kvm" else f"LAB_ACCEL={forced}")
    reason = unusable()
    return Accelerator("tcg", reason) if reason else tried(qemu, kernel)


def tried(qemu: str, kernel: Path, *, again: bool = False) -> Accelerator:
    """What came of booting a kernel under KVM.

    /dev/kvm may exist, open and create a machine and still not run a kernel (paravirtual KVM
    without vmx or svm), so a kernel is booted once; the answer is kept until the host's kernel,
    its processor or QEMU changes, or until it is tried `again`.
    """
    known, host = qemu_answers.of(qemu), host_key()
    if again or known.probe != host:
        found = probe(qemu, kernel)
        known.probe, known.accelerator = host, (found.name, found.why)
        known.keep(qemu)
    return Accelerator(*known.accelerator)


def unusable() -> str:
    """Why /dev/kvm cannot even be tried; empty if it can."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return "no /dev/kvm: load kvm_intel or kvm_amd, or enable virtualisation in the firmware"
    except PermissionError:
        return "/dev/kvm: permission denied: add yourself to the group kvm"
    except OSError as error:
        return f"/dev/kvm: {error.strerror}"
    return ""


def host_key() -> str:
    """The host's kernel and processor, on which it depends whether KVM works."""
    flags = next(
        (line for line in Path("/proc/cpuinfo").read_text().splitlines() if "flags" in line), ""
    )
    parts = (os.uname().release, os.uname().version, flags)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def probe(qemu: str, kernel: Path) -> Accelerator:
    """Boot `kernel` without a root under KVM: one that gets as far as missing it works."""
    argv = [
        *(qemu, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-machine", "q35,accel=kvm", "-cpu", "host", "-m", "256M", "-serial", "stdio"),
        *("-kernel", str(kernel), "-append", "console=ttyS0 panic=-1"),
    ]
    start = time.monotonic()
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_DEADLINE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode(errors="replace").strip()
        last = f", last console line: {said.splitlines()[-1]}" if said else " and printed nothing"
        return Accelerator("tcg", f"KVM ran a kernel for {_PROBE_DEADLINE:.0f} s without end{last}")
    except OSError as error:
        raise HostError(f"{qemu}: {error.strerror}") from error
    if _KERNEL_RAN in done.stdout.decode(errors="replace"):
        return Accelerator("kvm")
    words = done.stderr.decode(errors="replace").strip().splitlines() or ["no output"]
    return Accelerator("tcg", f"KVM failed after {time.monotonic() - start:.1f} s: {words[-1]}")
