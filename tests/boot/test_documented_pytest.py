# SPDX-License-Identifier: GPL-2.0-or-later
"""The tests in docs/pytest.md and examples/, run as they stand there, in one session of pytest."""

import re

import pytest

from tests import ROOT
from tests.boot.conftest import Lab
from tests.boot.inner import use_lab

pytest_plugins = ["pytester"]

PAGE = re.findall(r"```python\n(.*?)```", (ROOT / "docs/pytest.md").read_text(), re.DOTALL)
EXAMPLE = ROOT / "examples/test_copy.py"


def test_they_pass(lab: Lab, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    use_lab(lab, monkeypatch)
    before = lab.leftovers()
    files = {f"test_{number}": text for number, text in enumerate(PAGE)}
    pytester.makepyfile(**files, test_copy=EXAMPLE.read_text())
    result = pytester.runpytest_subprocess("-p", "no:xdist", "--strict-markers", timeout=900)
    count = sum(len(re.findall(r"^def test_", text, re.M)) for text in [*PAGE, EXAMPLE.read_text()])
    # Two of them run twice, with a parameter.
    result.assert_outcomes(passed=count + 2)
    assert lab.leftovers() == before
