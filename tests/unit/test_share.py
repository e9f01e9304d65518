# SPDX-License-Identifier: GPL-2.0-or-later
"""Where data files lie, and what is said when they do not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab import share
from lab.errors import HostError
from tests import ROOT


def test_a_checkout_has_them_at_its_top() -> None:
    assert share.directory("images/kernel") == ROOT / "images/kernel"


def test_an_installed_lab_has_them_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share, "_INSTALLED", tmp_path)
    (tmp_path / "profiles").mkdir()
    assert share.directory("profiles") == tmp_path / "profiles"
    with pytest.raises(HostError, match=f"{tmp_path}/images: no such directory"):
        share.directory("images")


@pytest.fixture
def incomplete(tmp_path: Path) -> Path:
    """A directory with the lab's code in it and nothing else of a checkout."""
    shutil.copytree(ROOT / "lab", tmp_path / "lab", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(place: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "lab", *words]
    env = os.environ | variables
    return subprocess.run(
        argv, cwd=place, env=env, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("command", "missing"),
    [("profile list", "profiles"), ("up nvme-copy", "profiles"), ("image build trixie", "images")],
)
def test_an_incomplete_lab_says_so(incomplete: Path, command: str, missing: str) -> None:
    done = run(incomplete, *command.split())
    assert (done.returncode, done.stdout) == (3, "")
    told = f"lab: {incomplete}/{missing}: no such directory, and the lab's own {missing} "
    assert done.stderr.startswith(told), done.stderr
    assert "install copy-offload-lab again" in done.stderr


def test_an_incomplete_lab_completes_nothing(incomplete: Path) -> None:
    asked = {"_LAB_COMPLETE": "complete_bash", "COMP_WORDS": "lab up nvme", "COMP_CWORD": "2"}
    done = run(incomplete, **asked)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
    assert run(ROOT, **asked).stdout.split()[:2] == ["nvme-copy", "nvme-copy-4k"]
