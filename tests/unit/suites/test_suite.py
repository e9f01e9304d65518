# SPDX-License-Identifier: GPL-2.0-or-later
"""Suites as records: all that the lab knows of one stands in one place, and leads somewhere."""

import sys
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path

import pytest

from lab.cli import main
from lab.cli.run import complete_suite
from lab.errors import ProfileError, UsageError
from lab.suites import SUITES
from lab.suites.arguments import Help
from lab.suites.request import Assignment, Request, assign
from lab.suites.suite import Late, Suite, check, find, suites

FSX = Request("loop-xfs-reflink", "fsx", ("--seed", "5"))


def test_the_records_have_the_names_by_which_they_are_found() -> None:
    assert {name: suite.name for name, suite in suites().items()} == {name: name for name in SUITES}


@pytest.mark.parametrize("name", SUITES)
def test_what_a_record_names_is_there(name: str) -> None:
    suite = find(name)
    with pytest.raises(Help, match="lab run PROFILE"):
        suite.parse(["--help"])
    for field in fields(suite):
        value = getattr(suite, field.name)
        if isinstance(value, Late):
            assert callable(value.resolve())
    shows = import_module(suite.shows)
    assert callable(shows.watched)
    assert callable(shows.show)


def test_fsx_is_the_exerciser_or_the_program_of_a_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    from lab.suites.fsx import programs, run

    for module in (programs, run):
        monkeypatch.setattr(module, "run", lambda _asked, _watcher, said=module.__name__: said)
    assert find("fsx").run(assign(find("fsx"), FSX), None) == run.__name__
    with_tree = replace(FSX, tree=Path("ltp"))
    assert find("fsx").run(assign(find("fsx"), with_tree), None) == programs.__name__


def test_an_unknown_suite_is_told_with_those_that_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        find("nope")
    assert caught.value.message == "no suite nope"
    assert caught.value.hint == f"there are: {', '.join(SUITES)}"


def test_a_request_is_looked_up() -> None:
    asked = assign(find("fsx"), replace(FSX, changes=("machine.memory=4G",), kernel="6.12"))
    assert (asked.profile.machine.memory, asked.profile.kernel) == (4 << 30, "6.12")
    assert asked.options.seed == 5  # type: ignore[attr-defined]
    assert asked.place.name == "loop-xfs-reflink.yaml"


@pytest.mark.parametrize(
    ("request_", "error", "said"),
    [
        (replace(FSX, on="g"), UsageError, "fsx boots guests of its own, and cannot run on g"),
        (Request("zns", "verity", tree=Path("t")), UsageError, "verity needs no tree"),
        (replace(FSX, profile="nope"), ProfileError, "no profile 'nope'"),
        (replace(FSX, options=("--nope",)), UsageError, "unrecognized arguments: --nope"),
        (replace(FSX, qemu="7\n", changes=("name=x",)), ProfileError, "name: not a key"),
    ],
)
def test_what_cannot_be_is_told_before_anything_slow(
    request_: Request, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        assign(find(request_.suite), request_)


def test_the_words_of_a_request_ask_for_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = Request(
        "nvme-copy", "probe", ("-g", "quick", "--", "x"), tmp_path, "guest", "6.12", "sid",
        ("machine.memory=4G", "machine.cpus=2"), "cold", 0,
    )  # fmt: skip
    heard: list[Assignment[object]] = []

    class Stop(UsageError):
        """The run is asked for."""

    def run(assignment: Assignment[object], _watcher: object) -> None:
        heard.append(assignment)
        raise Stop("stop")

    probe = Suite(name="probe", does="hears", parse=tuple, run=run, tree=True, reuses=True)
    monkeypatch.setattr("lab.suites.suite.find", {"probe": probe}.__getitem__)
    for named in ("kernel_named", "qemu_named"):
        monkeypatch.setattr(f"lab.cli.run.{named}", str)
    monkeypatch.setattr(sys, "argv", ["lab", *asked.words("--json")])
    with pytest.raises(SystemExit):
        main()
    (found,) = heard
    assert replace(found.request, options=(), changes=()) == replace(asked, options=(), changes=())
    assert tuple(found.request.options) == asked.options
    assert tuple(found.request.changes) == asked.changes


def test_what_reads_from_a_person_is_refused_where_none_is() -> None:
    with pytest.raises(UsageError, match="there is no list on stdin"):
        check("fstests", ["-"])
    with pytest.raises(UsageError, match="help is for people"):
        check("fsx", ["--help"])


def test_completion_tells_what_suites_do() -> None:
    assert complete_suite("fs") == [
        (name, find(name).does) for name in ("fstests", "fsx", "fsstress")
    ]
