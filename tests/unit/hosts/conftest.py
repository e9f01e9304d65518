# SPDX-License-Identifier: GPL-2.0-or-later
"""A real PostgreSQL for what is done on many hosts, one for all of these tests."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.farm.plan import Plan, load
from lab.results.store.database import session
from tests import postgres
from tests.postgres import Cluster


@pytest.fixture(scope="session")
def server() -> Iterator[Cluster]:
    if postgres.programs() is None:
        pytest.skip("no PostgreSQL is installed: sudo apt-get install postgresql")
    with postgres.cluster() as made:
        yield made


@pytest.fixture(scope="session")
def template(server: Cluster) -> str:
    """A database that has the store's tables, which take a second to make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_STORE", server.database("template"))
        with session():
            pass
    return "template"


@pytest.fixture
def store(server: Cluster, template: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """LAB_STORE is an empty store."""
    url = server.database(f"t{secrets.token_hex(8)}", template)
    monkeypatch.setenv("LAB_STORE", url)
    return url


TEXT = """\
kernels:
  - kernel: debian
    baseline: true
  - kernel: debian-sid
profiles: [nvme-copy]
suites:
  - suite: copy-faults
    repeat: {repeat}
"""


def plan_in(place: Path, text: str = TEXT, repeat: int = 2) -> Plan:
    path = place / "night.yaml"
    path.write_text(text.format(repeat=repeat))
    return load(path)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Four runs."""
    return plan_in(tmp_path)
