# SPDX-License-Identifier: GPL-2.0-or-later
"""What `lab nightly` prints of a night that it leaves to workers, in a real PostgreSQL."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from lab.cli.nightly import nightly
from lab.farm.hosts import watch
from lab.farm.hosts.deferral import stop
from lab.results.store.database import session
from lab.results.store.schema import NightRow
from tests.unit.hosts.conftest import plan_in


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A plan of four runs."""
    plan_in(tmp_path)
    return tmp_path / "night.yaml"


def test_of_json_nothing_stands_before_or_behind_it(
    store: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nightly(path, json=True)
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert [run["state"] for run in document["jobs"]] == ["pending"] * 4
    assert f"{document['night']}: 4 runs are left to workers" in said.err


def test_a_night_that_is_watched_prints_the_json_of_its_end_alone(
    store: str, path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def follow(night: str, _say: Callable[[str], None]) -> None:
        # No worker is there.
        with session() as opened:
            stop(opened, opened.get_one(NightRow, night))

    monkeypatch.setattr(watch, "follow", follow)
    with pytest.raises(typer.Exit):
        nightly(path, watch=True, json=True)
    said = capsys.readouterr()
    assert [run["state"] for run in json.loads(said.out)["jobs"]] == ["left out"] * 4
    assert "4 runs are left to workers" in said.err


def test_for_people_it_is_the_result(
    store: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nightly(path)
    assert capsys.readouterr().out.endswith(": 4 runs are left to workers\n")
