# SPDX-License-Identifier: GPL-2.0-or-later
"""guest-scripts/agent: what runs in the guest, here on the host, and the lab's other end of it."""

from typing import Any

from tests import ROOT, guest_module

AGENT = ROOT / "guest-scripts/agent"


def load(name: str) -> Any:
    """One of its modules that imports no other."""
    return guest_module.load(AGENT / f"{name}.py")
