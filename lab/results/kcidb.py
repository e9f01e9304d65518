# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs as KCIDB reports them: the common format of kernel CI systems.

https://github.com/kernelci/kcidb-io is format and validator.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import kcidb_io

from lab.errors import UsageError
from lab.results.remarks import remarks
from lab.results.store.feed import started
from lab.results.store.schema import CaseRow, RunRow

_STATUS = {
    "pass": "PASS", "fail": "FAIL", "hung": "FAIL", "crashed": "FAIL", "notrun": "SKIP",
    "fell back": "DONE",
}  # fmt: skip
"""DONE: carried out to its end, which was neither what was asked for nor a failure."""
_ORIGIN = re.compile(r"[a-z0-9_]+")


def report(runs: Sequence[RunRow], cases: Iterable[CaseRow], origin: str) -> dict[str, Any]:
    """A valid KCIDB document; `origin` is the name of the reporting CI system.

    Each kernel is a checkout and a build, each case a test.  Raises UsageError for an origin that
    the format forbids.
    """
    if not _ORIGIN.fullmatch(origin):
        raise UsageError(f"--origin {origin}: only a-z, 0-9 and _", hint="such as --origin lab")
    schema = kcidb_io.schema.LATEST
    kernels = {run.release: run for run in reversed(runs)}
    by_id = {run.id: run for run in runs}
    document = {
        "version": {"major": schema.major, "minor": schema.minor},
        "checkouts": [_checkout(run, origin) for run in kernels.values()],
        "builds": [_build(run, origin) for run in kernels.values()],
        "tests": [_test(by_id[case.run_id], case, origin) for case in cases],
    }
    schema.validate(document)
    return document


def _checkout(run: RunRow, origin: str) -> dict[str, Any]:
    return {
        "id": f"{origin}:{run.release}",
        "origin": origin,
        "comment": f"{run.kernel}: {run.release}",
        "misc": {"kernel": run.kernel, "release": run.release},
        "valid": True,
    }


def _build(run: RunRow, origin: str) -> dict[str, Any]:
    return {
        "id": f"{origin}:{run.release}",
        "checkout_id": f"{origin}:{run.release}",
        "origin": origin,
        "architecture": "x86_64",
        "status": "PASS",
    }


def _test(run: RunRow, case: CaseRow, origin: str) -> dict[str, Any]:
    # Only what the format calls a path: letters, digits, _ and -, in parts.
    parts = [run.suite, run.profile, *re.split(r"[/:]+", case.name)]
    path = ".".join(re.sub(r"[^A-Za-z0-9_-]+", "_", part) for part in parts)
    test = {
        "id": f"{origin}:{run.id}:{case.name}:{case.attempt}",
        "build_id": f"{origin}:{run.release}",
        "origin": origin,
        "path": path,
        "comment": ", ".join(
            [f"{run.suite} on {run.profile}: {case.name}", *remarks(run.plant, run.error)]
        ),
        "status": _STATUS[case.status],
        "start_time": started(run.id).isoformat(),
        "duration": case.seconds,
        "environment": {
            "comment": f"QEMU {run.qemu}, {run.accelerator}",
            "misc": {"host": run.host, "profile": run.profile, "qemu": run.qemu_name},
        },
        "misc": {
            "run": run.id, "status": case.status, "rules": case.rules,
            "plant": run.plant or None, "error": run.error or None,
        },
    }  # fmt: skip
    return {**test, "log_excerpt": case.reason[:16000]} if case.reason else test
