# SPDX-License-Identifier: GPL-2.0-or-later
"""cryptsetup's own tests: which are meant, and what their output and exit status say."""

import itertools
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import UsageError
from lab.results.cases import CaseStatus
from lab.suites.cryptsetup.options import make_check, parse, select
from lab.suites.cryptsetup.run import Scripts, archive, instead, judge
from lab.suites.upstream.driver import TREE
from lab.suites.upstream.marks import MarkReader
from lab.suites.upstream.reader import CaseEnd, CaseStart

MAKEFILE = """\
EXEEXT =
TESTS = 00modules-test api-test$(EXEEXT) \\
\tcompat-test $(am__append_1) $(am__append_2) \\
\t$(am__append_3)
am__append_1 = verity-compat-test
am__append_2 = integrity-compat-test
#am__append_3 = ssh-test-plugin
check_PROGRAMS = api-test$(EXEEXT)
"""
LISTED = [
    "00modules-test",
    "api-test",
    "compat-test",
    "verity-compat-test",
    "integrity-compat-test",
]

SAID = """\
== verity-compat-test begins
Verity tests [separate devices]
[sha256]...[OK]
== verity-compat-test ends 0
== compat-test begins
WARNING: You must be root to run this test, test skipped.
== compat-test ends 77
== integrity-compat-test begins
[INTEGRITY]Cannot activate device.
FAILED backtrace:
471 ./integrity-compat-test
== integrity-compat-test ends 100
== api-test begins
AddDevicePlain... FAILED line 33 == api-test ends 1
== keyring-test begins
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "Makefile").write_text(MAKEFILE)
    (tests / "compat-test.c").write_text("")
    for name in (*LISTED, "fuzz-test"):
        (tests / name).write_text("#!/bin/sh\necho $LD_LIBRARY_PATH in ${PWD##*/}\n")
        (tests / name).chmod(0o755)
    return tmp_path


def test_make_check_runs_what_the_tree_was_configured_for() -> None:
    assert make_check(MAKEFILE) == LISTED
    assert make_check("") == []


@pytest.mark.parametrize(
    ("args", "meant"),
    [
        ([], LISTED),
        (["verity-compat-test", "00modules-test"], ["verity-compat-test", "00modules-test"]),
        (["*-compat-test"], ["verity-compat-test", "integrity-compat-test"]),
        (["fuzz-test"], ["fuzz-test"]),
    ],
)
def test_what_the_arguments_mean(tree: Path, args: list[str], meant: list[str]) -> None:
    assert list(select(tree, parse(args))) == meant


def test_a_script_that_is_not_there_is_told(tree: Path) -> None:
    (tree / "tests/api-test").unlink()
    for name in ("no-test", "compat-test.c", "api-test"):
        with pytest.raises(UsageError, match=f"the tree has no test {name}"):
            select(tree, parse([name]))


def read(pieces: list[str]) -> list[CaseStart | CaseEnd]:
    reader = MarkReader(judge)
    return [*(event for piece in pieces for event in reader.feed(piece)), *reader.finish()]


def test_exit_status_and_last_words_are_understood() -> None:
    ended = [event for event in read([SAID]) if isinstance(event, CaseEnd)]
    assert [(e.name, e.status, e.reason) for e in ended] == [
        ("verity-compat-test", CaseStatus.PASS, ""),
        (
            "compat-test",
            CaseStatus.NOTRUN,
            "WARNING: You must be root to run this test, test skipped.",
        ),
        (
            "integrity-compat-test",
            CaseStatus.FAIL,
            "exit status 100: [INTEGRITY]Cannot activate device.",
        ),
        ("api-test", CaseStatus.FAIL, "exit status 1: AddDevicePlain... FAILED line 33"),
        ("keyring-test", CaseStatus.FAIL, "it was ended"),
    ]
    assert "471 ./integrity-compat-test" in ended[2].output


@given(st.lists(st.integers(0, len(SAID)), max_size=9))
def test_it_does_not_matter_in_which_pieces_the_output_comes(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(SAID)]
    assert read([SAID[a:b] for a, b in itertools.pairwise(places)]) == read([SAID])


def test_the_loop_runs_the_scripts_with_the_library_of_the_tree(tree: Path) -> None:
    command = Scripts().command("", ["compat-test", "fuzz-test"])
    (tree / "tests/fuzz-test").write_text("#!/bin/sh\nexit 77\n")
    done = subprocess.run(
        command.argv, cwd=tree / "tests", env={**command.env}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    reader = MarkReader(judge)
    ended = [event for event in reader.feed(done.stdout) if isinstance(event, CaseEnd)]
    assert [event.status for event in ended] == [CaseStatus.PASS, CaseStatus.NOTRUN]
    assert ended[0].output == "/run/lab/suite/tree/.libs in tests"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("open a b c hash", "open a b c hash --use-tasklets"),
        ("create -v --shared name data", "create -v --shared name data --use-tasklets"),
        ("--data-blocks=3 format a b", "--data-blocks=3 format a b"),
        ("close name", "close name"),
    ],
)
def test_tasklets_are_asked_for_whenever_a_device_is_activated(
    tmp_path: Path, words: str, told: str
) -> None:
    (tmp_path / "echoing").mkdir()
    for program in ("veritysetup", "integritysetup"):
        (tmp_path / "echoing" / program).write_text('#!/bin/sh\necho "$*"\n')
        (tmp_path / "echoing" / program).chmod(0o755)
        text = instead(program).replace(TREE, str(tmp_path / "echoing"))
        unpacked = ["tar", "-xz", "-C", str(tmp_path)]
        subprocess.run(unpacked, input=archive({f"/tasklets/{program}": text}), check=True)

    def said(program: str) -> str:
        argv = [str(tmp_path / "tasklets" / program), *words.split()]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()

    assert said("veritysetup") == told
    assert said("integritysetup") == words


def test_the_scripts_find_the_programs_that_ask_for_tasklets() -> None:
    assert "CRYPTSETUP_PATH" not in Scripts().command("", ["a-test"]).env
    assert Scripts(tasklets=True).command("", ["a-test"]).env["CRYPTSETUP_PATH"] != TREE
