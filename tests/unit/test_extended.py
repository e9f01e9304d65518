# SPDX-License-Identifier: GPL-2.0-or-later
"""What a package adds is known wherever the lab's own is: suites and their arguments, plans,
completion; and the page that tells how shows what the package has."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests import ROOT
from tests.documented import commands
from tests.extended import PACKAGE, entry_points, extended
from tests.unit.test_documented_commands import brought

PAGE = ROOT / "docs/extending.md"

PLAN = """\
kernels:
  - {kernel: debian, baseline: true}
profiles: [nvme-copy]
suites:
  - {suite: queue-limits, args: [LABNVME0:1]}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lab with the package."""
    return extended(tmp_path_factory.mktemp("extended"))


def lab(program: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """What a command says."""
    return subprocess.run(
        [program, *words], capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, **env},
    )  # fmt: skip


def completed(program: Path, words: str) -> list[str]:
    """What the shell offers after these words."""
    number = str(len(words.split()) - (not words.endswith(" ")))
    asked = {"_LAB_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": number}
    return lab(program, **asked).stdout.split()


def test_the_shell_completes_it(program: Path) -> None:
    assert completed(program, "lab run nvme-copy queue") == ["queue-limits"]


def test_its_arguments_are_its_own(program: Path) -> None:
    told = lab(program, "run", "nvme-copy", "queue-limits", "--", "--help").stdout
    assert "[DISK ...]" in told
    refused = lab(program, "run", "nvme-copy", "queue-limits", "--", "nope")
    assert refused.returncode == 2
    assert refused.stderr == "lab: queue-limits: no disk nope — there are: LABNVME0:1\n"


def test_a_program_can_run_it_with_its_arguments_by_name(program: Path) -> None:
    asked = "import lab; lab.run('nvme-copy', 'queue-limits', disks=['nope'])"
    argv = [str(program.with_name("python")), "-c", asked]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert "UsageError: queue-limits: no disk nope" in done.stderr


def test_a_plan_can_have_it(program: Path, tmp_path: Path) -> None:
    plan = tmp_path / "night.yaml"
    plan.write_text(PLAN)
    dry = lab(program, "nightly", str(plan), "--dry-run", "--json")
    assert json.loads(dry.stdout)["jobs"][0]["suite"] == "queue-limits", dry.stderr
    plan.write_text(PLAN.replace("args: [", "args: [--nope, "))
    refused = lab(program, "nightly", str(plan), "--dry-run")
    assert refused.returncode == 2
    assert "unrecognized arguments: --nope" in refused.stderr


PROFILE = """\
description: what the package adds
devices:
  - {type: virtio-blk, serial: DISK, size: 512M}
layers:
  - {name: ram, type: ram-disk, size: 64M}
  - {name: fs, type: xfs, over: DISK}
path: {name: fs-clone-blocks, layer: fs}
"""


def test_a_profile_can_have_its_layer_and_its_path(program: Path, tmp_path: Path) -> None:
    profile = tmp_path / "extended.yaml"
    profile.write_text(PROFILE)
    checked = lab(program, "profile", "check", str(profile))
    assert checked.returncode == 0, checked.stderr
    for right, wrong, said in (
        ("size: 64M", "size: lots", "layers[0].size"),
        ("fs-clone-blocks", "fs-clone-block", "did you mean fs-clone-blocks"),
    ):
        profile.write_text(PROFILE.replace(right, wrong))
        refused = lab(program, "profile", "check", str(profile))
        assert refused.returncode == 2
        assert said in refused.stderr


def test_the_schema_and_the_keys_have_its_layer(program: Path) -> None:
    schema = json.loads(lab(program, "profile", "schema").stdout)
    assert "RamDisk" in schema["$defs"]
    assert "size" in lab(program, "profile", "keys", "ram-disk").stdout


def test_its_action_is_one_of_all(program: Path) -> None:
    told = lab(program, "run", "nvme-copy", "copy-faults", "--", "--actions", "nope")
    assert "drop-caches" in told.stderr


READ = """
import sys
from tests.unit.test_documented_commands import look_up
look_up(sys.argv[1:])
"""


@pytest.mark.parametrize(
    "words",
    [words for each in commands() for words in each.simple() if brought(words)],
    ids=" ".join,
)
def test_its_commands_on_the_pages_are_commands(program: Path, words: list[str]) -> None:
    argv = [str(program.with_name("python")), "-c", READ, *words]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_without_the_package_nobody_knows_it(tmp_path: Path) -> None:
    from lab.suites.suite import suites

    assert not entry_points()["lab.suites"].keys() & suites().keys()


BLOCKS = re.findall(r"```(?:python|toml|sh)\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_the_page_shows_what_the_package_has(block: str) -> None:
    files = (path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert any(block in path.read_text() for path in files)


def test_the_page_shows_all_that_can_be_added() -> None:
    for group, added in entry_points().items():
        assert group in PAGE.read_text()
        for name in added:
            assert re.search(rf"\b{name}\b", PAGE.read_text())
