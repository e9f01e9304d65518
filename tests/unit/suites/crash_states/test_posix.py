# SPDX-License-Identifier: GPL-2.0-or-later
"""What a file system may leave: the model of POSIX, and what is found wrong with what is not so."""

import base64
import zlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.suites.crash_states.fs.ace import BLOCK, FsWorkload, base, operations, workloads
from lab.suites.crash_states.fs.kinds import KINDS, Leniency
from lab.suites.crash_states.fs.posix import Promise, Ruled, judge
from lab.suites.crash_states.fs.tree import Inode, Sighting, Tree, differences, seen

EVERY = {each.name: each for each in workloads()}


def sighted(tree: Tree) -> dict[str, Sighting]:
    """What a guest sees of a tree."""
    return {
        path: Sighting(tree.inodes[number], number, len(tree.inodes[number].data))
        for path, number in tree.names.items()
    }


def broken(there: dict[str, Sighting], of: FsWorkload, promise: Promise) -> list[Ruled]:
    """What is wrong with what is there."""
    before = base()
    return [*judge(there, before, before.after(of.step), of.step, promise)]


@pytest.mark.parametrize("name", EVERY)
def test_before_and_after_are_allowed_where_they_are(name: str) -> None:
    of = EVERY[name]
    before, after = sighted(base()), sighted(base().after(of.step))
    assert broken(before, of, Promise()) == []
    assert broken(before, of, Promise(begun=True)) == []
    assert broken(after, of, Promise(begun=True)) == []
    assert broken(after, of, Promise(begun=True, synced=of.sync)) == []
    # What nobody asked for yet cannot be there.
    changed = differences(before, base().after(of.step))
    assert bool(broken(after, of, Promise())) == bool(changed)


@pytest.mark.parametrize("name", [name for name, each in EVERY.items() if each.sync])
def test_what_was_synced_must_be_there(name: str) -> None:
    of = EVERY[name]
    before = sighted(base())
    found = broken(before, of, Promise(begun=True, synced=of.sync))
    # An allocation without a size, a deduplication: nothing of it can be seen.
    visible = differences(before, base().after(of.step))
    if visible and of.sync and of.sync["do"] != "fdatasync":
        assert {each.rule for each in found} == {"SYNCED"}
    elif not visible:
        assert found == []


def changed(there: dict[str, Sighting], path: str, **fields: Any) -> dict[str, Sighting]:
    """The same with something else in a file."""
    one = there[path]
    return {**there, path: replace(one, inode=replace(one.inode, **fields))}


def test_a_write_may_be_there_in_part_and_nothing_else() -> None:
    of = EVERY["write-append/nothing"]
    old, new = (tree.inode("foo") for tree in (base(), base().after(of.step)))
    assert old and new
    there = sighted(base().after(of.step))
    some = new.data[: 2 * BLOCK + 512]
    for data in (some, some.ljust(3 * BLOCK, b"\0"), old.data.ljust(3 * BLOCK, b"\0")):
        assert broken(changed(there, "foo", data=data), of, Promise(begun=True)) == []
    stale = old.data + bytes([new.data[2 * BLOCK] ^ 1]) * BLOCK
    for data in (stale, old.data[:-1], new.data + b"x", bytes(3 * BLOCK)):
        (wrong,) = broken(changed(there, "foo", data=data), of, Promise(begun=True))
        assert (wrong.rule, "foo" in wrong.evidence) == ("WHOLE", True)


def test_a_renamed_file_is_never_without_a_name() -> None:
    of = EVERY["rename-foo-new/nothing"]
    there = sighted(base())
    del there["foo"]
    assert "neither foo nor new" in str(broken(there, of, Promise(begun=True)))
    of = EVERY["rename-foo-bar/nothing"]
    there = sighted(base())
    del there["bar"]
    (wrong,) = broken(there, of, Promise(begun=True))
    assert wrong.evidence.endswith("bar: missing")


def test_fdatasync_promises_no_xattrs_and_fsync_of_a_directory_no_data() -> None:
    of = EVERY["setxattr-foo/fsync"]
    there = sighted(base())
    assert broken(there, of, Promise(begun=True, synced={"do": "fdatasync", "path": "foo"})) == []
    assert broken(there, of, Promise(begun=True, synced=of.sync))
    of = EVERY["creat-A_new/fsync-directory"]
    there = sighted(base())
    assert broken(there, of, Promise(begun=True, synced=of.sync))[0].evidence.endswith("missing")
    assert broken(there, of, Promise(begun=True, synced={"do": "fsync", "path": "B"})) == []


def test_two_names_of_a_file_are_one_file() -> None:
    of = EVERY["link-foo-new/nothing"]
    there = sighted(base().after(of.step))
    there["new"] = replace(there["new"], number=999)
    assert "not the same file" in str(broken(there, of, Promise(begun=True)))


def test_what_never_was_must_not_be() -> None:
    of = EVERY["unlink-foo/nothing"]
    there = {**sighted(base()), "odd": Sighting(Inode("file"), 99, 0)}
    (wrong,) = broken(there, of, Promise(begun=True))
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


@given(st.sampled_from(sorted(EVERY)), st.data())
def test_the_model_changes_what_an_operation_names_and_nothing_else(
    name: str, data: st.DataObject
) -> None:
    step = EVERY[name].step
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


def test_a_leniency_excuses_just_what_it_says() -> None:
    one = Leniency(("rename",), "fsync", "SYNCED", "tried")
    step, promise = {"do": "rename"}, Promise(begun=True, synced={"do": "fsync", "path": "new"})
    assert one.excuses(step, promise, Ruled("SYNCED", ""))
    assert not one.excuses(step, promise, Ruled("WHOLE", ""))
    assert not one.excuses({"do": "link"}, promise, Ruled("SYNCED", ""))
    assert not one.excuses(step, Promise(begun=True), Ruled("SYNCED", ""))
    assert all(row.source for kind in KINDS.values() for row in kind.lenient)
