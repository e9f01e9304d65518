# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU test lab that shows what copy offload does when it fails half-way.

As a library, see docs/python.md:

    with lab.guest("nvme-copy") as guest:
        print(guest.run(["uname", "-r"]).stdout)
    outcome = lab.run("nvme-copy", "copy-faults", points=["write:2"], actions=["torn"])

Each name is imported when it is first used: `import lab` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.errors import (
        BuildError,
        GuestError,
        HostError,
        LabError,
        ProfileError,
        UsageError,
    )
    from lab.face.guests import attach, guest
    from lab.face.handle import GuestHandle
    from lab.face.hold import HeldRequest
    from lab.face.kernellog import KernelLog
    from lab.face.outcome import RunOutcome
    from lab.face.suites import run
    from lab.guest.session import Result
    from lab.results.cases import Case

__all__ = [
    "BuildError", "Case", "GuestError", "GuestHandle", "HeldRequest", "HostError", "KernelLog",
    "LabError", "ProfileError", "Result", "RunOutcome", "UsageError", "attach", "guest", "run",
]  # fmt: skip

__version__ = "0.2.0"

_HOMES = {
    "lab.errors": (
        "BuildError", "GuestError", "HostError", "LabError", "ProfileError", "UsageError",
    ),
    "lab.face.guests": ("attach",),
    "lab.face.handle": ("GuestHandle",),
    "lab.face.hold": ("HeldRequest",),
    "lab.face.kernellog": ("KernelLog",),
    "lab.face.outcome": ("RunOutcome",),
    "lab.face.suites": ("run",),
    "lab.guest.session": ("Result",),
    "lab.results.cases": ("Case",),
}  # fmt: skip
"""Modules by what they have of the library's names."""


def __getattr__(name: str) -> Any:
    if name == "guest":
        # The room of that name, which can be called.
        return import_module("lab.guest")
    for home, names in _HOMES.items():
        if name in names:
            value = globals()[name] = getattr(import_module(home), name)
            return value
    raise AttributeError(f"module 'lab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
