# SPDX-License-Identifier: GPL-2.0-or-later
"""Bundles: what goes into one of a run, and whether what one asks for is here."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab.artifacts import image
from lab.artifacts.kernel import config_of
from lab.artifacts.kernels import names
from lab.artifacts.qemus import names as qemus
from lab.errors import UsageError
from lab.host.scratch import scratch
from lab.profile.hostdev import HostDevice
from lab.profile.models import Profile
from lab.results import runs
from lab.results.bundle import BundleNote, pack, read
from lab.results.run import KERNEL
from lab.suites.copy_faults.cell import Setup
from lab.suites.copy_faults.replay import (
    RecordedCase,
    case_named,
    failing,
    on_kernel,
    on_qemu,
    recorded,
)
from lab.vm.graph import drives

CONFIG = "kernel.config"


def make_bundle(run: str, wanted: str, target: Path) -> list[str]:
    """Write the bundle of a run, or of the case `wanted` of it, to `target`; what it lacks.

    Raises UsageError when there is no such run or case.
    """
    past = runs.load(run)
    place = runs.directory(run)
    about = _about(run, wanted, past.document, _kernel(place, past.document))
    lacking = []
    with scratch() as more:
        if config := config_of(about.kernel.get("key", "")):
            shutil.copy(config, more / CONFIG)
        else:
            lacking.append(f"{CONFIG}: the kernel is not built any more")
        pack(place, about, more, target)
    return lacking


def _about(run: str, wanted: str, document: dict[str, Any], kernel: dict[str, str]) -> BundleNote:
    parts = [path.get("run") for path in document.get("paths", ())]
    if parts:
        raise UsageError(
            f"run {run} is made of others: {' '.join(map(str, parts))}", hint="bundle one of them"
        )
    cases = document.get("cases", [])
    if wanted and not all("number" in case for case in cases):
        raise UsageError(f"a case of {document.get('suite')} cannot be replayed by itself",
                         hint=f"lab results bundle {run} takes all of them")  # fmt: skip
    broken = failing(cases)
    case = case_named(cases, run, wanted or broken[0]) if wanted or len(broken) == 1 else {}
    minimised = ".min" if wanted.endswith(".min") else ""
    return BundleNote(
        run=run,
        case=f"{case['number']}{minimised}" if case else "",
        suite=str(document.get("suite", "")),
        seed=(document.get("options") or {}).get("seed"),
        plan=Setup.read(case).document() if case else None,
        kernel=kernel,
        qemu=str(document.get("qemu", "")),
        accelerator=str(document.get("accelerator", "")),
    )


def _kernel(place: Path, document: dict[str, Any]) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads((place / KERNEL).read_text())
        return found
    except (OSError, ValueError):
        # Of an earlier version of the lab.
        return {"release": str(document.get("kernel", ""))}


def bundle_named(text: str) -> tuple[Path, str] | None:
    """The file and the case in BUNDLE or BUNDLE:CASE; None if that is no file.

    Raises UsageError for what can only be meant as a bundle, and is not there.
    """
    words = text.split(":")
    for end in range(len(words), 0, -1):
        path = Path(":".join(words[:end]))
        if path.is_file():
            return path, ":".join(words[end:])
    if "/" in text or ".tar" in text:
        raise UsageError(f"{text}: no such file", hint="BUNDLE or BUNDLE:CASE; or RUN:CASE")
    return None


def case_in(path: Path, wanted: str, kernel: str | None, qemu: str | None = None) -> RecordedCase:
    """A case of a bundle: `wanted`, or the one that matters; on another kernel or in another QEMU,
    if one is given.

    Raises UsageError when there is no such case, or when this host has not all that it runs on.
    """
    bundle = read(path)
    about, cases = bundle.about, bundle.past.document.get("cases", [])
    wanted = wanted or about.case
    if not wanted:
        numbers = ", ".join(failing(cases)[:9]) or "none of them failed"
        raise UsageError(f"{path}: which case? it has {len(cases)}", hint=f"{path}:CASE; {numbers}")
    found = recorded(bundle.past, about.run, wanted)
    if kernel:
        found = on_kernel(found, kernel)
    if qemu:
        found = on_qemu(found, qemu)
    if lacking := list(_lacking(about, found.profile)):
        raise UsageError(
            f"{path} cannot be replayed here: {lacking[0][0]}",
            detail="\n".join(what for what, _ in lacking[1:]),
            hint=lacking[0][1],
        )
    return found


def _lacking(about: BundleNote, profile: Profile) -> Iterator[tuple[str, str]]:
    """What is missing, and what to do about it."""
    try:
        names.resolve(profile.kernel)
    except UsageError:
        was = about.kernel
        origin = f", of {was['source']}" if "source" in was else ""
        yield (
            f"no kernel {profile.kernel}; it was {was.get('release', 'unknown')}{origin}",
            f"--kernel NAME takes another one; or lab kernel add {Path(profile.kernel).name} …",
        )
    try:
        qemus.resolve(profile.machine.qemu)
    except UsageError:
        yield (
            f"no QEMU {profile.machine.qemu}; it was {about.qemu or 'unknown'}",
            f"--qemu NAME takes another one; or lab qemu add {Path(profile.machine.qemu).name} …",
        )
    if profile.image not in image.definitions():
        yield f"no image {profile.image}", "see lab image list, and docs/guests.md"
    for device in profile.devices:
        if isinstance(device, HostDevice):
            # By its name here it could be any disk.
            yield (
                f"device {device.serial} was a device of the host that it was recorded on",
                "write a profile with a device of this host, and lab run that",
            )
    for drive in drives(profile):
        if drive.prepared and not Path(drive.prepared).is_file():
            yield (
                f"no prepared medium {drive.prepared} for {drive.serial}",
                "ask whoever made the bundle for it, and put it there",
            )
