# SPDX-License-Identifier: GPL-2.0-or-later
"""guest-scripts/agent: what runs in the guest, here on the host, and the lab's other end of it."""

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from typing import Any

from tests import ROOT

AGENT = ROOT / "guest-scripts/agent"


def load(name: str) -> Any:
    """One of its modules that imports no other; nothing is compiled beside it."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader = SourceFileLoader(f"agent_{name}", str(AGENT / f"{name}.py"))
        spec = spec_from_loader(loader.name, loader)
        assert spec is not None
        module = module_from_spec(spec)
        loader.exec_module(module)
        return module
    finally:
        sys.dont_write_bytecode = before
