# SPDX-License-Identifier: GPL-2.0-or-later
"""A module of what runs in guests, loaded on the host."""

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

from tests import ROOT

LAYERS = str(ROOT / "guest-scripts/layers")


def load(path: Path) -> Any:
    """A module of the caller's own, called by its directory and name; nothing is compiled beside
    it."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    # As the executor has it, which copies with what layers bring; and what lies beside it.
    places = [LAYERS, str(path.parent)]
    sys.path[:0] = places
    try:
        loader = SourceFileLoader(f"{path.parent.name}_{path.stem}", str(path))
        spec = spec_from_loader(loader.name, loader)
        assert spec is not None
        module = module_from_spec(spec)
        loader.exec_module(module)
        return module
    finally:
        del sys.path[: len(places)]
        sys.dont_write_bytecode = before
