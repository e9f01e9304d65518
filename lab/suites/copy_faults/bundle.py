# SPDX-License-Identifier: GPL-2.0-or-later
"""Bundles: what goes into one of a run, and whether what one asks for is here."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from lab.artifacts.kernel import config_of
from lab.errors import UsageError
from lab.host.scratch import scratch
from lab.results import runs
from lab.results.bundle import BundleNote, pack, read
from lab.results.run import KERNEL
from lab.suites.copy_faults.cell import Setup
from lab.suites.copy_faults.elsewhere import bundled
from lab.suites.copy_faults.replay import RecordedCase, case_named, failing, recorded

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

    Raises UsageError when there is no such case, when this host has not all that it runs on, or
    when that is nothing which a bundle may ask for.
    """
    bundle = read(path)
    about, cases = bundle.about, bundle.past.document.get("cases", [])
    wanted = wanted or about.case
    if not wanted:
        numbers = ", ".join(failing(cases)[:9]) or "none of them failed"
        raise UsageError(f"{path}: which case? it has {len(cases)}", hint=f"{path}:CASE; {numbers}")
    found = recorded(bundle.past, about.run, wanted)
    return replace(found, profile=bundled(path, about, found.profile, kernel, qemu))
