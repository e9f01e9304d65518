"""What every unit test starts from: a user who has nothing yet, and quick Hypothesis runs."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Deadlines of Hypothesis would measure the host's load, not the code.
settings.register_profile("unit", max_examples=60, deadline=None)
settings.load_profile("unit")


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory; no XDG directory and no setting of the lab survives from outside."""
    directory = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name.startswith(("XDG_", "LAB_")) and name != "LAB_UPDATE_GOLDEN":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(directory))
    return directory
