# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs of docs/python.md, run as they stand there."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ROOT
from tests.boot.conftest import Lab

EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.DOTALL)
NAME = "nvme-copy"


@pytest.fixture(scope="module")
def up(lab: Lab) -> Iterator[None]:
    """The guest that the page has the reader start."""
    lab("up", NAME, deadline=900)
    yield
    lab("down", NAME)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(1, len(EXAMPLES) + 1))
def test_an_example_runs(up: None, lab: Lab, example: str, tmp_path: Path) -> None:
    (tmp_path / "local.c").write_text("int main(void) { return 0; }\n")
    before = set(lab.ls())
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, env=lab.env, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert set(lab.ls()) == before


def test_every_name_of_the_library_is_used_or_told() -> None:
    import lab as library

    page = (ROOT / "docs/python.md").read_text()
    handles = {"GuestHandle", "HeldRequest", "KernelLog", "Result", "RunOutcome"}
    missing = {name for name in library.__all__ if f"lab.{name}" not in page}
    assert missing == handles, "what these are is told by what gives them"
