# SPDX-License-Identifier: GPL-2.0-or-later
"""What a file system may leave: the model of POSIX, and what is found wrong with what is not so."""

import base64
import zlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.suites.crash_states.fs.ace import BLOCK, base, operations, sequences, workloads
from lab.suites.crash_states.fs.given import FILE_SIZE
from lab.suites.crash_states.fs.history import CrashMoment, FsHistory, Step
from lab.suites.crash_states.fs.posix import Ruled, judge
from lab.suites.crash_states.fs.tree import Inode, Sighting, Tree, differences, seen
from lab.suites.crash_states.fs.workload import FsWorkload

EVERY = {each.name: each for each in workloads()}
BEFORE, BEGUN = CrashMoment(), CrashMoment(1, 0)


def sighted(tree: Tree) -> dict[str, Sighting]:
    """What a guest sees of a tree."""
    return {
        path: Sighting(tree.inodes[number], number, len(tree.inodes[number].data))
        for path, number in tree.names.items()
    }


def history(of: FsWorkload) -> FsHistory:
    """Of a workload whose steps are known."""
    found = of.history
    assert found
    return found


def ended(of: FsWorkload) -> CrashMoment:
    """When all its steps have returned."""
    return CrashMoment(len(of.steps), len(of.steps))


def broken(
    there: dict[str, Sighting], of: FsWorkload, moment: CrashMoment, *, ordered: bool = False
) -> list[Ruled]:
    """What is wrong with what is there."""
    return [*judge(there, history(of), moment, ordered=ordered)]


@pytest.mark.parametrize("name", EVERY)
def test_before_and_after_are_allowed_where_they_are(name: str) -> None:
    of = EVERY[name]
    before, after = sighted(base()), sighted(history(of).after)
    for ordered in (False, True):
        assert broken(before, of, BEFORE, ordered=ordered) == []
        assert broken(before, of, BEGUN, ordered=ordered) == []
        assert broken(after, of, BEGUN, ordered=ordered) == []
        assert broken(after, of, ended(of), ordered=ordered) == []
    # What nobody asked for yet cannot be there.
    changed = differences(before, history(of).after)
    assert bool(broken(after, of, BEFORE)) == bool(changed)


@pytest.mark.parametrize("name", [name for name, each in EVERY.items() if len(each.steps) > 1])
def test_what_was_synced_must_be_there(name: str) -> None:
    of = EVERY[name]
    before = sighted(base())
    # An allocation without a size, a deduplication: nothing of it can be seen.
    visible = differences(before, history(of).after)
    for ordered in (False, True):
        found = broken(before, of, ended(of), ordered=ordered)
        if visible and of.steps[-1]["do"] != "fdatasync":
            assert {each.rule for each in found} == {"SYNCED"}
        elif not visible:
            assert found == []


def changed(there: dict[str, Sighting], path: str, **fields: Any) -> dict[str, Sighting]:
    """The same with something else in a file."""
    one = there[path]
    inode = replace(one.inode, **fields)
    return {**there, path: replace(one, inode=inode, size=len(inode.data))}


def test_a_write_may_be_there_in_part_and_nothing_else() -> None:
    of = EVERY["write-append/nothing"]
    old, new = (tree.inode("foo") for tree in (base(), history(of).after))
    assert old and new
    there = sighted(history(of).after)
    some = new.data[: 2 * BLOCK + 512]
    for data in (some, some.ljust(3 * BLOCK, b"\0"), old.data.ljust(3 * BLOCK, b"\0")):
        assert broken(changed(there, "foo", data=data), of, BEGUN) == []
    stale = old.data + bytes([new.data[2 * BLOCK] ^ 1]) * BLOCK
    for data in (stale, old.data[:-1], new.data + b"x", bytes(3 * BLOCK)):
        (wrong,) = broken(changed(there, "foo", data=data), of, BEGUN)
        assert (wrong.rule, "foo" in wrong.evidence) == ("WHOLE", True)


@pytest.mark.parametrize("how", ["write", "direct", "mapped", "copy", "clone"])
def test_what_is_written_over_is_never_zero_meanwhile(how: str) -> None:
    of = EVERY[f"{how}-begin/nothing"]
    there = sighted(history(of).after)
    zeroed = bytes(BLOCK) + there["foo"].inode.data[BLOCK:]
    (wrong,) = broken(changed(there, "foo", data=zeroed), of, BEGUN)
    assert (wrong.rule, "never there" in wrong.evidence) == ("WHOLE", True)


def test_a_renamed_file_is_never_without_a_name() -> None:
    of = EVERY["rename-foo-new/nothing"]
    there = sighted(base())
    del there["foo"]
    assert "new: missing, and so is foo" in str(broken(there, of, BEGUN))
    of = EVERY["rename-foo-bar/nothing"]
    there = sighted(base())
    del there["bar"]
    (wrong,) = broken(there, of, BEGUN)
    assert wrong.evidence.endswith("bar: missing")


def test_fdatasync_promises_no_xattrs_and_fsync_of_a_directory_no_data() -> None:
    of = EVERY["setxattr-foo/fsync"]
    there = sighted(base())
    assert broken(there, of, ended(of))
    lax = replace(of, steps=(of.steps[0], {"do": "fdatasync", "path": "foo"}))
    assert broken(there, lax, ended(lax)) == []
    of = EVERY["creat-A_new/fsync-directory"]
    assert broken(there, of, ended(of))[0].evidence.endswith("missing")
    other = replace(of, steps=(of.steps[0], {"do": "fsync", "path": "B"}))
    assert broken(there, other, ended(other)) == []


def workload(*steps: Step) -> FsWorkload:
    """One on the tree of all the others."""
    return FsWorkload("x", steps, EVERY["creat-new/sync"].setup)


CREAT: Step = {"do": "creat", "path": "D/new"}
RENAME: Step = {"do": "rename", "path": "A", "to": "D"}


def test_what_is_synced_in_a_renamed_directory_is_in_it_whichever_name_that_has() -> None:
    of = workload(RENAME, CREAT, {"do": "fsync", "path": "D/new"})
    both = history(of).after
    old = base().after({"do": "creat", "path": "A/new"}, 1001)
    assert broken(sighted(both), of, ended(of)) == []
    # btrfs and F2FS do not commit the directory's own name; with one log all is in order.
    assert broken(sighted(old), of, ended(of)) == []
    assert {each.rule for each in broken(sighted(old), of, ended(of), ordered=True)} == {"WHOLE"}
    without = base().after(RENAME)
    for ordered in (False, True):
        (lost,) = broken(sighted(without), of, ended(of), ordered=ordered)
        assert lost.rule == "SYNCED"
        assert "new: missing" in lost.evidence


def test_operations_come_about_in_their_order_where_there_is_one_log() -> None:
    second: Step = {"do": "mkdir", "path": "F"}
    of = workload({"do": "creat", "path": "new"}, second)
    moment = CrashMoment(2, 2)
    only = sighted(base().after(second, 1001))
    assert broken(only, of, moment) == []
    assert {each.rule for each in broken(only, of, moment, ordered=True)} == {"WHOLE"}


def test_a_file_that_was_renamed_away_is_not_lost() -> None:
    of = workload(
        {"do": "rename", "path": "foo", "to": "old"}, {"do": "creat", "path": "foo"},
        {"do": "fsync", "path": "foo"},
    )  # fmt: skip
    there = sighted(history(of).after)
    assert broken(there, of, ended(of)) == []
    del there["old"]
    assert [each.rule for each in broken(there, of, ended(of))] == ["WHOLE"]
    # F2FS, unless it is mounted with fsync_mode=strict.
    assert [*judge(there, history(of), ended(of), replacing=True)] == []
    del there["foo"]
    assert [*judge(there, history(of), ended(of), replacing=True)]


def test_what_a_sync_in_the_middle_made_durable_stays() -> None:
    write: Step = {"do": "write", "path": "foo", "at": 0, "length": BLOCK, "fill": "x"}
    of = workload(write, {"do": "sync"}, {"do": "unlink", "path": "bar"})
    made = history(of)
    middle = made.trees[2]
    assert broken(sighted(middle), of, CrashMoment(3, 2)) == []
    assert broken(sighted(made.after), of, CrashMoment(3, 2)) == []
    assert {each.rule for each in broken(sighted(base()), of, CrashMoment(3, 2))} == {"SYNCED"}


@given(st.integers(0, 10_000), st.booleans(), st.data())
def test_what_any_sequence_makes_is_allowed_at_each_of_its_steps(
    seed: int, ordered: bool, data: st.DataObject
) -> None:
    of = sequences(seed, data.draw(st.integers(2, 3)), 1)[0]
    made = history(of)
    for step in range(len(of.steps)):
        for tree in made.trees[step : step + 2]:
            found = broken(sighted(tree), of, CrashMoment(step + 1, step), ordered=ordered)
            assert found == []
        # A power cut may have come before anything but what was synced.
    final = broken(sighted(made.after), of, ended(of), ordered=ordered)
    assert final == []


def test_two_names_of_a_file_are_one_file() -> None:
    of = EVERY["link-foo-new/nothing"]
    there = sighted(history(of).after)
    there["new"] = replace(there["new"], number=999)
    assert "not the same file" in str(broken(there, of, BEGUN))


def test_what_never_was_must_not_be() -> None:
    of = EVERY["unlink-foo/nothing"]
    there = {**sighted(base()), "odd": Sighting(Inode("file"), 99, 0)}
    (wrong,) = broken(there, of, BEGUN)
    assert wrong.evidence.endswith("odd: there, and never was")


def test_what_a_guest_says_is_understood() -> None:
    data = base64.b64encode(zlib.compress(b"hello")).decode()
    names: dict[str, dict[str, Any]] = {
        "a": {"kind": "file", "size": 5, "data": data, "xattrs": {"user.x": "79"}, "ino": 7},
        "l": {"kind": "link", "target": "a", "ino": 8},
        "bad": {"kind": "?", "unreadable": "Input/output error"},
    }
    found, wrong = seen(names)
    assert found["a"] == Sighting(Inode("file", b"hello", (("user.x", "y"),)), 7, 5)
    assert found["l"].inode == Inode("link", target="a")
    assert wrong == ["bad cannot be read: Input/output error"]


def test_a_file_of_which_only_the_beginning_was_read_is_not_what_that_is() -> None:
    of = EVERY["write-begin/sync"]
    there = sighted(history(of).after)
    there["foo"] = replace(there["foo"], size=FILE_SIZE + 1)
    said = f"foo: {FILE_SIZE + 1} bytes, of which only {2 * BLOCK} were read"
    assert differences(there, history(of).after) == [said]
    assert said in str(broken(there, of, ended(of)))


@given(st.sampled_from(sorted(EVERY)), st.data())
def test_the_model_changes_what_an_operation_names_and_nothing_else(
    name: str, data: st.DataObject
) -> None:
    step = EVERY[name].steps[0]
    tree = base()
    after = tree.after(step)
    touched = {step.get("path", ""), step.get("to", "")}
    for path in tree.names:
        if not any(path == one or path.startswith(f"{one}/") for one in touched):
            assert after.inode(path) == tree.inode(path)
    assert tree == base()


def test_workloads_have_names_of_their_own() -> None:
    every = list(workloads())
    assert len({each.name for each in every}) == len(every) > 200
    kinds = {step["do"] for _, step in operations()}
    assert kinds >= {"copy", "clone", "dedupe", "falloc", "direct", "mapped", "link", "symlink"}


def test_fdatasync_of_what_was_written_in_place_promises_nothing_of_others() -> None:
    """Times alone have changed: neither ext4 nor XFS commits their log for these."""
    over, longer = (EVERY[f"write-{where}/fdatasync"] for where in ("begin", "append"))
    for of, promised in ((over, False), (longer, True)):
        made = FsWorkload("x", ({"do": "creat", "path": "other"}, *of.steps), of.setup)
        there = sighted(history(of).after)
        found = broken(there, made, ended(made), ordered=True)
        assert [each.rule for each in found] == ["SYNCED"] * promised, of.name
