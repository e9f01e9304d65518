# SPDX-License-Identifier: GPL-2.0-or-later
"""Options of suites by name: the suite's own parser reads them."""

from pathlib import Path
from typing import Any

import pytest

import lab
from lab.errors import UsageError
from lab.faults.model import Point
from lab.suites.arguments import Keywords
from lab.suites.copy_faults import options as copy_faults
from lab.suites.copy_faults.acts import registry
from lab.suites.fstests import options as fstests
from lab.suites.fsx import options as fsx


def words(parser: Any, **given: Any) -> Any:
    """What a suite makes of options by name."""
    return parser.parse(Keywords(given))


def test_they_come_to_the_same_as_on_the_command_line() -> None:
    asked = words(copy_faults, points=["write:2", "read:1"], actions="torn", fua=True, torn_at=3)
    same = copy_faults.parse(
        ["--points", "write:2,read:1", "--actions", "torn", "--fua", "--torn-at", "3"]
    )
    assert asked.document() == same.document()
    assert asked.selection.points == (Point.parse("write:2"), Point.parse("read:1"))
    assert asked.selection.actions == registry.named("torn")


def test_what_is_left_out_is_nothing() -> None:
    asked = words(copy_faults, fua=False, points=None)
    assert asked.document() == copy_faults.parse([]).document()


def test_lists_are_repeated_where_an_option_can_be(tmp_path: Path) -> None:
    excluded = [tmp_path / "one", tmp_path / "two"]
    for path in excluded:
        path.touch()
    asked = words(
        fstests, tests=["generic/001", "xfs/002"], g="quick", E=excluded, device={"test": "a"}
    )
    assert asked.names == ("generic/001", "xfs/002")
    assert asked.filters == ("-g", "quick")
    assert asked.excluded.paths == tuple(excluded)
    assert asked.devices == {"test": "a"}


def test_a_mapping_is_key_and_value() -> None:
    asked = words(copy_faults, blk_error={"op": "READ", "chance": 3})
    same = copy_faults.parse(["--blk-error", "op=READ,chance=3"])
    assert asked.document() == same.document()


def test_a_name_that_is_taken_ends_in_an_underscore() -> None:
    assert words(fsx, on_="xfs", seed=1).on == "xfs"


def test_a_negative_number_is_a_value() -> None:
    with pytest.raises(UsageError, match="must be positive"):
        words(copy_faults, ranges=-1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"point": "write:2"}, "copy-faults: no option point.*did you mean points"),
        ({"args": ["--fua"]}, "no option args.*there are: path, layer, ranges"),
        ({"help": True}, "no option help"),
        ({"fua": "yes"}, "fua is True or False, not 'yes'"),
        ({"points": "nowhere:2"}, "no such point"),
        ({"ranges": "many"}, "invalid int value: 'many'"),
        ({"ranges": [1, 2]}, "invalid int value: '1,2'"),
        ({"seed": 3}, "--seed and --no-minimise are for --cases"),
    ],
)
def test_what_is_wrong_is_refused_in_words(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        words(copy_faults, **given)


def test_an_option_is_no_name_of_a_test() -> None:
    with pytest.raises(UsageError, match="options go by their own names"):
        words(fstests, tests=["-g"])


@pytest.mark.parametrize(
    ("suite", "given", "said"),
    [
        ("no-such-suite", {}, "no suite no-such-suite"),
        ("copy-fault", {}, "no suite copy-fault .did you mean copy-faults"),
        ("copy-faults", {"plant": "help"}, "help is no run"),
        ("fsx", {"on": "guest"}, "fsx boots guests of its own"),
        ("verity", {"tree": "/tmp"}, "verity needs no tree"),
        ("copy-faults", {"pints": 1}, "no option pints"),
        ("copy-faults", {"kernel": "no-such-kernel"}, "no kernel no-such-kernel"),
        ("copy-faults", {"qemu": "no-such-qemu"}, "no QEMU no-such-qemu"),
        ("copy-faults", {"on": "nobody"}, "no guest nobody"),
    ],
)
def test_a_run_that_cannot_be_is_refused_before_it_begins(
    suite: str, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        lab.run("nvme-copy", suite, **given)


def test_a_set_value_that_is_wrong_names_its_place() -> None:
    with pytest.raises(lab.ProfileError, match=r"machine\.memory"):
        lab.run("nvme-copy", "copy-faults", set=["machine.memory=1 gig"])
