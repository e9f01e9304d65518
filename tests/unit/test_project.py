# SPDX-License-Identifier: GPL-2.0-or-later
"""What makes it a project: its licence, and checks before a commit, those of `make check`."""

import os
import re
import shutil
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

import lab
from tests import ROOT

LINE = "SPDX-License-Identifier: GPL-2.0-or-later"
KERNEL, MODULES = "SPDX-License-Identifier: GPL-2.0", "images/kernel/modules"
"""Of what is part of a kernel, and where that lies."""
PLAIN = ("LICENSE", "*.md", "*.json", "*.argv", "*.out", "*.list", "*.log", "*.patch", "*.png")
"""Files that are no code, or that have no comments: for them LICENSE speaks."""
HOOKS = ".pre-commit-config.yaml"
GOOD = {
    ".sh": "#!/bin/sh\n",
    ".yml": "on: push\njobs:\n  job:\n    runs-on: ubuntu-24.04\n    steps: [{run: make}]\n",
}
"""By suffix, what nothing is to be said against; elsewhere an empty file."""


def test_the_licence_is_the_one_named() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "GPL-2.0-or-later"
    assert project["license-files"] == ["LICENSE"]
    head = (ROOT / "LICENSE").read_text().split("\n", 2)[:2]
    assert [line.strip() for line in head] == ["GNU GENERAL PUBLIC LICENSE", "Version 2, June 1991"]


def test_the_changelog_begins_with_this_version() -> None:
    releases = re.findall(r"^## (.*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert releases == [lab.__version__, "0.1.0"]


def licensed() -> list[str]:
    """The tracked files that say their licence themselves; an empty one has nothing to license."""
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    ).stdout
    return [
        name
        for name in tracked.split("\0")
        if name and not any(fnmatch(name, pattern) for pattern in PLAIN)
        # What is moved away or removed, and not committed yet, is tracked still.
        and (ROOT / name).is_file() and (ROOT / name).stat().st_size
    ]  # fmt: skip


def test_each_file_says_its_licence_where_it_begins() -> None:
    without = []
    for name in licensed():
        lines = (ROOT / name).read_text().splitlines()
        if name.startswith(f"{MODULES}/") and name.endswith((".c", ".h")):
            # As the kernel has it (Documentation/process/license-rules.rst).
            fits = re.fullmatch(rf"(//|/\*) {KERNEL}( WITH Linux-syscall-note)?( \*/)?", lines[0])
        else:
            fits = re.fullmatch(rf"(#|\{{#) {LINE}( -#\}})?", lines[lines[0].startswith("#!")])
        if not fits:
            without.append(name)
    assert without == [], f"the first line, or the second behind #!, is to be: # {LINE}"


def hooks() -> list[dict[str, str]]:
    (local,) = yaml.safe_load((ROOT / HOOKS).read_text())["repos"]
    assert local["repo"] == "local", "nothing is fetched"
    found: list[dict[str, str]] = local["hooks"]
    return found


def told(argv: list[str], place: Path) -> str:
    """What a command prints, whatever it ends with; no make or git around this test has a say."""
    ours = {name: value for name, value in os.environ.items() if name[:4] not in ("MAKE", "GIT_")}
    ended = subprocess.run(
        argv, check=False, cwd=place,
        env={**ours, "PRE_COMMIT_HOME": str(place / ".git" / "pre-commit")},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
    )  # fmt: skip
    return ended.stdout


def test_hooks_are_what_make_check_does() -> None:
    checks = told(["make", "--dry-run", "check"], ROOT).splitlines()
    entries = [hook["entry"].replace(" --force-exclude", "") for hook in hooks()]
    for entry in entries:
        tool = entry.removeprefix("make --silent ")
        assert any(line.startswith(tool) for line in checks), f"make check has no {tool}"
    assert len([line for line in checks if line.startswith((".venv", "shellcheck"))]) == len(
        entries
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """As little of a checkout as the hooks need."""
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    for package in ("lab", "tests", "benchmarks"):
        (tmp_path / package).mkdir(exist_ok=True)
        (tmp_path / package / "__init__.py").touch()
    scripts = told(["make", "--dry-run", "shellcheck"], ROOT).removeprefix("shellcheck").split()
    settings = (HOOKS, "pyproject.toml", "Makefile", ".shellcheckrc")
    for name in (*settings, "findings/lib", *scripts):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


@pytest.mark.parametrize(
    ("hook", "name", "text", "said"),
    [
        ("ruff-check", "lab/new.py", "import os\n", "F401"),
        ("ruff-format", "lab/new.py", "a  =  1\n", "would be reformatted"),
        ("mypy", "lab/new.py", 'a: int = "1"\n', "Incompatible types"),
        ("codespell", "docs.md", "It is wri" + "ten.\n", "==> written"),
        (
            "actionlint",
            "examples/workflows/new.yml",
            GOOD[".yml"] + "    if: ${{ nope }}\n",
            "nope",
        ),
        ("shellcheck", "findings/new.sh", "#!/bin/sh\ncat $1\n", "SC2086"),
    ],
)
def test_a_hook_finds(checkout: Path, hook: str, name: str, text: str, said: str) -> None:
    run = [str(ROOT / ".venv/bin/pre-commit"), "run", hook, "--files", name]
    (checkout / name).parent.mkdir(parents=True, exist_ok=True)
    (checkout / name).write_text(GOOD.get(Path(name).suffix, ""))
    assert "Passed" in told(run, checkout)
    (checkout / name).write_text(text)
    output = told(run, checkout)
    assert "Failed" in output
    assert said in output


def test_each_hook_is_tried() -> None:
    (mark,) = [mark for mark in test_a_hook_finds.pytestmark if mark.name == "parametrize"]  # type: ignore[attr-defined]
    assert [case[0] for case in mark.args[1]] == [hook["id"] for hook in hooks()]
