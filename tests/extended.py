# SPDX-License-Identifier: GPL-2.0-or-later
"""A lab to which another package adds: tests/plugin, installed in an environment of its own."""

import subprocess
import sys
import tomllib
import venv
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests import ROOT

PACKAGE = ROOT / "tests/plugin"

_LAB = """#!{python}
from lab.cli import main

main()
"""


def entry_points() -> Mapping[str, Mapping[str, str]]:
    """What the package adds, by groups."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    groups: Mapping[str, Mapping[str, str]] = project["entry-points"]
    return groups


def extended(place: Path) -> Path:
    """Make an environment below a directory, and install the package there; its program `lab`.

    It has all that the environment of the tests has, with the lab of the checkout; nothing is
    downloaded.
    """
    environment = place / "venv"
    venv.create(environment, symlinks=True)
    python = environment / "bin/python"
    (packages,) = environment.glob("lib/python*/site-packages")
    of_tests = Path(pytest.__file__).parent.parent
    # As a directory of packages, since the lab of the checkout is there by a .pth file.
    (packages / "tests.pth").write_text(f"import site; site.addsitedir({str(of_tests)!r})\n")
    options = ("--quiet", "--disable-pip-version-check", "--no-index", "--no-deps")
    argv = [
        sys.executable, "-m", "pip", "--python", str(python), "install", *options,
        "--no-build-isolation", str(PACKAGE),
    ]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    program = environment / "bin/lab"
    program.write_text(_LAB.format(python=python))
    program.chmod(0o755)
    return program
