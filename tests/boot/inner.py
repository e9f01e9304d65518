# SPDX-License-Identifier: GPL-2.0-or-later
"""Sessions of pytest within the tests, as a user starts them."""

import os
from pathlib import Path

import pytest

from tests.boot.conftest import Lab

_CACHE = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
"""Before pytester gives this process another home, in which all artifacts would be built anew."""


def use_lab(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let them have the lab's state directory, and the artifacts of the user."""
    monkeypatch.setenv("XDG_CACHE_HOME", _CACHE)
    monkeypatch.setenv("XDG_STATE_HOME", str(lab.state))
