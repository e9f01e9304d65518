# SPDX-License-Identifier: GPL-2.0-or-later
"""guest-scripts/agent/adoption.py: what the host hears at the end of what makes the layers."""

import os
import pty
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.agent import AGENT, load

ENDED = b"lab: layers up ended\n"


@pytest.fixture
def adoption(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module, which imports others."""
    monkeypatch.syspath_prepend(str(AGENT))
    before = set(sys.modules)
    yield load("adoption")
    for name in {"arrival", "programs"} - before:
        del sys.modules[name]


def test_the_end_of_the_layers_is_told_however_it_came(adoption: Any, tmp_path: Path) -> None:
    heard, port = pty.openpty()
    os.set_blocking(heard, False)
    adoption.LAYERS_PORT, adoption.LAYERS_UP = os.ttyname(port), str(tmp_path / "layers-up")
    adoption.tell_end(0)
    with pytest.raises(BlockingIOError):  # nobody wants to know
        os.read(heard, 100)
    (tmp_path / "layers-up").touch()
    for code in (0, 1):
        adoption.tell_end(code)
        assert os.read(heard, 100) == ENDED
    adoption.tell_end(-9)
    assert os.read(heard, 100) == b"layers up was killed by signal 9\n" + ENDED
    for fd in (heard, port):
        os.close(fd)
