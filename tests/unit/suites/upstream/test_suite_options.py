# SPDX-License-Identifier: GPL-2.0-or-later
"""What stands after `--` for fstests, known failures, and how cases are shared out."""

import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import ProfileError, UsageError
from lab.guest.speed import Speed
from lab.suites.blktests import options as blktests
from lab.suites.fstests import lists
from lab.suites.fstests import options as fstests
from lab.suites.fstests.options import parse
from lab.suites.fstests.run import meant
from lab.suites.fstests.sections import Section
from lab.suites.upstream import known
from lab.suites.upstream.driver import Batch
from lab.suites.upstream.shards import share
from lab.suites.upstream.watchdog import Watchdog


def test_tests_and_the_options_of_check_may_be_mixed() -> None:
    asked = parse(["generic/001", "-g", "quick,rw", "--loop", "3", "generic/002", "-x", "soak"])
    assert asked.names == ("generic/001", "generic/002")
    assert asked.filters == ("-g", "quick,rw", "-x", "soak")
    assert asked.loop == 3


def test_without_a_selection_it_is_the_quick_group() -> None:
    assert parse([]).filters == ("-g", "quick")
    assert parse(["-x", "soak"]).filters == ("-x", "soak", "-g", "quick")


def test_a_list_comes_on_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("generic/001 # why\n\ngeneric/002 generic/003\n"))
    assert parse(["-"]).names == ("generic/001", "generic/002", "generic/003")


def test_lists_to_leave_out_are_read_here_since_the_guest_has_no_such_file(tmp_path: Path) -> None:
    path = tmp_path / "exclude"
    path.write_text("generic/001 # slow\n")
    asked = parse(["-E", str(path)])
    assert [str(entry) for entry in asked.excluded.entries("6.12.1")] == [f"slow, {path}:1"]
    assert asked.document()["excluded"] == [str(path)]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--fs", "ntfs"], "no file system ntfs"),
        (["--shards", "0"], "--shards must be within"),
        (["--loop", "x"], "invalid int value"),
        (["--deadline", "0"], "--deadline"),
        (["--device", "home=A"], "expected ROLE=NAME"),
        (["-E", "/nowhere/list"], "/nowhere/list"),
        (["--frobnicate"], "unrecognized arguments"),
    ],
)
def test_a_mistake_is_told(args: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse(args)


# What their usage() says today, but for what the lab has as well.
HABITS = {
    "fstests": "-n -r -i:4 -I:10 -d -l -udiff -b -R:xunit -T -c:local.config -L:3 --large-fs "
    "--exact-order -nfs -overlay -tmpfs",
    "blktests": "-d --device-only -o:results --output=results -t --cmd-trace",
}


@pytest.mark.parametrize(
    ("suite", "habit"), [(suite, habit) for suite in HABITS for habit in HABITS[suite].split()]
)
def test_an_option_of_check_by_habit_is_answered_with_the_labs_word(suite: str, habit: str) -> None:
    parse = {"fstests": fstests.parse, "blktests": blktests.parse}[suite]
    with pytest.raises(UsageError, match="is an option of check, not of the lab") as raised:
        parse([*habit.split(":"), "generic/001"])
    assert raised.value.hint


def test_what_check_has_and_the_lab_too_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("")
    asked = fstests.parse(["-s", "xfs", "-S", "ext4", "-X", "known.failures", "-E", str(path)])
    assert (asked.sections, asked.not_sections) == (("xfs",), ("ext4",))
    assert asked.inner == ("known.failures",)
    ours = blktests.parse(["--quick=5", "--exclude", "zbd", "-c", str(path), "-E", str(path)])
    assert (ours.quick, ours.excluded, ours.lists.paths) == (5, ("zbd",), (path,))


def test_sections_are_chosen_by_name() -> None:
    found = [Section(name, "xfs", {}) for name in ("one", "two", "three")]

    def chosen(*args: str) -> list[str]:
        return list(meant(found, fstests.parse(list(args))))

    assert chosen() == ["one", "two", "three"]
    assert chosen("-s", "two", "-s", "one") == ["one", "two"]
    assert chosen("-S", "two") == ["one", "three"]
    with pytest.raises(UsageError, match="no section xfs_4k"):
        chosen("-s", "xfs_4k")
    with pytest.raises(UsageError, match="no section is left"):
        chosen("-s", "one", "-S", "one")


def test_lists_in_the_tree_have_the_numbers_of_tests(tmp_path: Path) -> None:
    generic = tmp_path / "tests/generic"
    generic.mkdir(parents=True)
    (generic / "slow").write_text("001 # takes long\n")
    (generic / "group.list").write_text("001 auto\n002 auto dax\n003 auto dax # comment\n")
    mine = tmp_path / "mine"
    mine.write_text("// no such memory\n-g dax\n")
    options = fstests.parse(["-X", "slow", "-E", str(mine)])
    made = {"xfs": Section("xfs", "xfs", {})}
    lists.check(options, tmp_path, made)
    names = ["generic/001", "generic/002", "generic/003", "generic/004"]
    found = lists.chosen(options, tmp_path, made["xfs"], "6.12.1", names)
    assert found == {
        "generic/001": f"left out: takes long, {generic}/slow:1",
        "generic/002": f"left out: no such memory, {mine}:2",
        "generic/003": f"left out: no such memory, {mine}:2",
    }
    with pytest.raises(UsageError, match="-X nothing: no directory"):
        lists.check(fstests.parse(["-X", "nothing"]), tmp_path, made)


KNOWN = """- cases: ["generic/00?"]
  reason: slow
  when: {fs: [xfs], works: [has, reflink]}
- cases: [generic/100]
  reason: broken
  when: {fails: [has, reflink]}
"""


def write(tmp_path: Path, text: str) -> Path:
    (tmp_path / "known").mkdir()
    (tmp_path / "known/fstests.yaml").write_text(text)
    return tmp_path / "profile.yaml"


@pytest.mark.parametrize("works", [True, False])
def test_known_failures_hold_where_it_was_tried_that_they_do(tmp_path: Path, works: bool) -> None:
    tried: list[Sequence[str]] = []

    def attempt(argv: Sequence[str]) -> bool:
        tried.append(argv)
        return works

    found = known.beside(write(tmp_path, KNOWN), "fstests")
    names = {"xfs": ["generic/001", "generic/100"], "small": ["generic/002"]}
    applying = known.applying(found, names, {"xfs": "xfs", "small": "ext4"}, attempt)
    expected = {"xfs:generic/001": "slow"} if works else {"xfs:generic/100": "broken"}
    assert applying == expected
    assert tried == [["has", "reflink"], ["has", "reflink"]]


def test_without_a_file_nothing_is_known(tmp_path: Path) -> None:
    assert known.beside(tmp_path / "profile.yaml", "fstests") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- cases: [a]\n", "yaml:1: \\[0\\].reason: Field required"),
        ("- {cases: [a], reason: r, when: {kernel: 6.1}}\n", "yaml:1: \\[0\\].when.kernel: Extra"),
        ("- [\n", "yaml:1: not valid YAML"),
    ],
)
def test_a_mistake_in_known_failures_is_told_with_its_key(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(ProfileError, match=said):
        known.beside(write(tmp_path, text), "fstests")


titles = st.lists(st.from_regex(r"generic/\d{3}", fullmatch=True), unique=True, max_size=30)


@given(titles, st.integers(1, 5), st.data())
def test_every_case_is_in_one_lane_and_none_waits_for_the_others(
    names: list[str], lanes: int, data: st.DataObject
) -> None:
    durations = {
        f"xfs:{name}": data.draw(st.floats(0.1, 100)) for name in names if data.draw(st.booleans())
    }
    shared = share([Batch("xfs", tuple(names), 2)], lanes, durations)
    assert len(shared) == lanes
    placed = [name for lane in shared for batch in lane for name in batch.names]
    assert sorted(placed) == sorted(names)
    assert all(batch.attempt == 2 for lane in shared for batch in lane)
    if len(durations) == len(names):
        loads = [sum(durations[f"xfs:{n}"] for b in lane for n in b.names) for lane in shared]
        assert max(loads) - min(loads) <= max(durations.values(), default=0) + 1e-6


def test_repetitions_of_a_case_are_in_one_lane() -> None:
    batches = [Batch("xfs", ("a", "b", "c"), attempt) for attempt in (1, 2, 3)]
    for lane in share(batches, 2, {}):
        assert len({batch.names for batch in lane}) == 1
        assert [batch.attempt for batch in lane] == [1, 2, 3]


def test_a_slower_guest_has_more_time_and_a_case_that_was_seen_has_its_own() -> None:
    watchdog = Watchdog(seen={"xfs:generic/001": 70.0})
    watchdog.speed.measure(10.0)
    watchdog.speed.measure(99.0)
    assert watchdog.deadline("xfs:generic/002") == 3000
    assert watchdog.deadline("xfs:generic/001") == 700
    assert Watchdog(asked=5, seen={"a": 70.0}, speed=Speed(2)).deadline("a") == 10
    assert "kernel.watchdog_thresh=60" in watchdog.speed.sysctls()
    assert "kernel.hung_task_timeout_secs=1200" in watchdog.speed.sysctls()
