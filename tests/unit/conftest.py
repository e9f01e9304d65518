# SPDX-License-Identifier: GPL-2.0-or-later
"""What every unit test starts from: a user who has nothing yet, and quick Hypothesis runs."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from sqlalchemy import create_engine
from sqlalchemy.schema import CreateSchema

from tests import ROOT

_KEPT = ("LAB_UPDATE_GOLDEN", "LAB_TEST_STORE")
"""LAB_TEST_STORE is the URL of a PostgreSQL database whose store is tested instead of SQLite's."""

# Deadlines of Hypothesis would measure the host's load, not the code.
settings.register_profile("unit", max_examples=60, deadline=None)
settings.load_profile("unit")


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory; no XDG directory and no setting of the lab survives from outside."""
    directory = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name.startswith(("XDG_", "LAB_")) and name not in _KEPT:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(directory))
    empty_store(monkeypatch)
    return directory


def empty_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the lab begin with an empty store; SQLite's is in the state directory by itself."""
    if url := os.environ.get("LAB_TEST_STORE"):
        monkeypatch.setenv("LAB_STORE", _schema_of_its_own(url))


def _schema_of_its_own(url: str) -> str:
    """Tables of a test's own in a PostgreSQL database."""
    engine, schema = create_engine(url), f"test_{secrets.token_hex(8)}"
    with engine.begin() as connection:
        connection.execute(CreateSchema(schema))
    engine.dispose()
    return f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{schema}"


@pytest.fixture(scope="session")
def directory() -> Iterator[Path]:
    """A directory where files can be opened past the page cache."""
    for place in (None, ROOT):
        with tempfile.TemporaryDirectory(dir=place) as name:
            try:
                (Path(name) / "probe").write_bytes(bytes(4096))
                os.close(os.open(f"{name}/probe", os.O_RDWR | os.O_DIRECT))
            except OSError:
                continue
            yield Path(name)
            return
    pytest.skip("no file system here takes O_DIRECT")
