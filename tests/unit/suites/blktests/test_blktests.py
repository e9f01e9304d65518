# SPDX-License-Identifier: GPL-2.0-or-later
"""blktests: its arguments, which tests they mean, and the settings that check reads."""

import subprocess
from pathlib import Path

import pytest

from lab.errors import UsageError
from lab.profile.find import find
from lab.profile.load import load
from lab.suites.blktests.options import BlktestsOptions, parse
from lab.suites.blktests.run import Blktests, config, devices
from lab.suites.blktests.selection import select
from tests import ROOT

TESTS = {
    "block/001": "QUICK=1\n",
    "block/002": "TIMED=1\n",
    "block/003": "DESCRIPTION='neither, QUICK=1'\n",
    "loop/001": "QUICK=1\n",
    "meta/001": "QUICK=1\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in TESTS.items():
        path = tmp_path / "tests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.with_suffix(".out").write_text("")
        (path.parent / "rc").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("args", "meant"),
    [
        ([], ["block/001", "block/002", "loop/001"]),
        (["-q", "5"], ["block/001", "block/002", "loop/001"]),
        (["-g", "block"], ["block/001", "block/002", "block/003"]),
        (["block/"], ["block/001", "block/002", "block/003"]),
        (["-q", "5", "-g", "loop,block", "-x", "block/001"], ["block/002", "loop/001"]),
        (["-x", "block"], ["loop/001"]),
        # As with check, what is named runs whatever else is said.
        (["-x", "block", "-q", "5", "block/003", "-g", "loop"], ["block/003", "loop/001"]),
        (["block/00[13]"], ["block/001", "block/003"]),
        (["meta"], ["meta/001"]),
    ],
)
def test_what_the_arguments_mean(tree: Path, args: list[str], meant: list[str]) -> None:
    assert select(tree, parse(args)) == meant


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["block/007"], "no test or group block/007"),
        (["block/../../tests/block/001"], "no test or group"),
        (["-g", "nope"], "no test or group nope"),
        (["-x", "nope"], "no test or group nope"),
        (["-g", "loop", "-x", "loop"], "nothing is selected"),
    ],
)
def test_what_the_tree_does_not_have_is_told(tree: Path, args: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        select(tree, parse(args))


def test_without_a_selection_it_is_the_quick_tests_for_half_a_minute() -> None:
    assert parse([]).quick == 30
    assert parse(["block/001"]).quick == 0
    assert parse(["-q", "5", "block/001"]).quick == 5


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["-q", "0"], "-q is in seconds"),
        (["--loop", "0"], "--loop must be within"),
        (["--config", "/nowhere/config"], "/nowhere/config"),
    ],
)
def test_a_mistake_is_told(args: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse(args)


def test_it_runs_on_what_nothing_but_a_file_system_on_top_stands_on() -> None:
    assert devices(load("nvme-copy", []), []) == ["LABNVME0:1"]
    assert devices(load("loop-xfs-reflink", []), []) == ["disk", "model"]
    assert devices(load("loop-xfs-reflink", []), ["model"]) == ["model"]
    with pytest.raises(UsageError, match="LABNVME0:1 cannot be tested"):
        devices(load("loop-xfs-reflink", []), ["LABNVME0:1"])


def test_the_settings_are_bash_that_follows_links_in_the_guest() -> None:
    show = 'readlink() { echo "node of ${2##*/}"; }; . /dev/stdin; printf "%s\n" "${TEST_DEVS[@]}"'
    show += ' "all: ${TEST_CASE_DEV_ARRAY[.]:-}" "$OUTPUT"'

    def shown(*names: str) -> list[str]:
        argv = ["bash", "-c", f"declare -A TEST_CASE_DEV_ARRAY; {show}"]
        done = subprocess.run(argv, input=config(names), capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    both = "all: node of A:1 node of B"
    assert shown("A:1", "B") == ["node of A:1", "node of B", both, "/run/lab/suite/results"]
    assert shown("A:1") == ["node of A:1", "all: ", "/run/lab/suite/results"]


def test_check_is_told_the_settings_the_seconds_and_the_tests() -> None:
    suite = Blktests("", config([]), b"", 5)
    argv = suite.command("", ["block/001", "loop/001"]).argv
    assert argv[argv.index("-c", 3) :] == [
        "-c", "/run/lab/suite/config.asked", "-c", "/run/lab/suite/config", "-q5",
        "block/001", "loop/001",
    ]  # fmt: skip


def test_the_fixture_has_tests_for_the_driver() -> None:
    assert len(select(ROOT / "tests/fixtures/blktests", BlktestsOptions())) >= 7
    assert find("nvme-copy").name == "nvme-copy.yaml"
