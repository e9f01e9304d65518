# SPDX-License-Identifier: GPL-2.0-or-later
"""What examples/ has is what the lab takes: profiles and plans are looked at by its own commands,
workflows by actionlint, and the commands in them by the command line."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lab.results.run import PROFILE, Run
from tests import ROOT
from tests.documented import Command
from tests.unit.test_documented_commands import look_up

EXAMPLES = ROOT / "examples"
WORKFLOWS = sorted((EXAMPLES / "workflows").iterdir())
PROFILES, PLANS = (
    [path for path in sorted(EXAMPLES.glob("*.yaml")) if key in yaml.safe_load(path.read_text())]
    for key in ("devices", "kernels")
)


def ran(*argv: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command of the checkout, as one types it there."""
    return subprocess.run(
        argv, cwd=ROOT, env={**os.environ, **environment}, check=False, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip


def lab(*argv: str | Path) -> str:
    """What `lab ARGV` prints, which ends well."""
    ended = ran(sys.executable, "-m", "lab", *argv)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def name(path: Path) -> str:
    return path.name


def test_there_are_some_of_each() -> None:
    assert PROFILES
    assert PLANS
    assert {"hosted.yml", "matrix.yml", "self-hosted.yml"} == {path.name for path in WORKFLOWS}


@pytest.mark.parametrize("profile", PROFILES, ids=name)
def test_a_profile_describes_a_guest(profile: Path) -> None:
    assert lab("profile", "check", profile.relative_to(ROOT)).startswith("ok ")
    tree = lab("profile", "show", profile)
    assert all(layer["name"] in tree for layer in yaml.safe_load(profile.read_text())["layers"])


@pytest.mark.parametrize("plan", PLANS, ids=name)
def test_a_plan_could_be_carried_out(plan: Path) -> None:
    told = lab("nightly", plan.relative_to(ROOT), "--dry-run")
    suites = {suite["suite"] for suite in yaml.safe_load(plan.read_text())["suites"]}
    assert all(suite in told for suite in suites)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=name)
def test_a_workflow_is_one(workflow: Path) -> None:
    ended = ran(ROOT / ".venv/bin/actionlint", workflow)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("runs-on: ubuntu-24.04", "runs-on: ubuntu-14.04", "runner-label"),
        ("inputs.kernel ", "inputs.kernels ", "expression"),
        ('"$KERNEL"', "$KERNEL", "SC2086"),
    ],
)
def test_one_that_is_wrong_is_none(tmp_path: Path, right: str, wrong: str, said: str) -> None:
    text = (EXAMPLES / "workflows" / "hosted.yml").read_text()
    assert right in text
    (tmp_path / "wrong.yml").write_text(text.replace(right, wrong))
    ended = ran(ROOT / ".venv/bin/actionlint", tmp_path / "wrong.yml")
    assert ended.returncode == 1
    assert said in ended.stdout


@pytest.mark.parametrize(
    ("workflow", "step", "left"),
    [
        ("hosted.yml", "Tell", ["junit.xml", "summary"]),
        ("self-hosted.yml", "Write the pages", ["pages/index.html"]),
    ],
)
def test_what_a_run_left_is_told(tmp_path: Path, workflow: str, step: str, left: list[str]) -> None:
    (job,) = yaml.safe_load((EXAMPLES / "workflows" / workflow).read_text())["jobs"].values()
    (script,) = (each["run"] for each in job["steps"] if each.get("name") == step)
    (tmp_path / "report").write_text("79 cases: 79 holds\n")
    with Run("nvme-copy", "fsx") as run:
        run.write(PROFILE, "{}")
        run.finish({"suite": "fsx", "profile": "nvme-copy", "kernel": "6.12",
                    "cases": [{"name": "one", "status": "pass"}]})  # fmt: skip
    places = {"RUNNER_TEMP": str(tmp_path), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    ended = ran("bash", "-e", "-c", script, **places)
    assert ended.returncode == 0, ended.stderr
    for name in left:
        text = (tmp_path / name).read_text()
        assert "one" in text or "79 holds" in text


@pytest.mark.parametrize("path", [*PROFILES, *PLANS, *WORKFLOWS], ids=name)
def test_commands_are_some(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    lines = re.findall(
        r"(?:^#   |run: |^ +)(?:\.venv/bin/)?(lab .*|make .*)", path.read_text(), re.M
    )
    assert lines
    for line in lines:
        text = re.split(r" {2,}", line)[0]
        for words in Command(path.name, 0, text, inline=False).simple():
            if words[0] == "make":
                assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.M), words
            elif words[0] == "lab":
                look_up(words)
