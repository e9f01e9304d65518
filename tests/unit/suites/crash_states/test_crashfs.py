# SPDX-License-Identifier: GPL-2.0-or-later
"""The model of POSIX against the file system of this host, without any crash.

60 sequences of operations in all; LAB_SEQUENCES=N makes that N.
"""

import errno
import json
import os
import runpy
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.errors import GuestError
from lab.suites.crash_states.fs.ace import BLOCK, SETUP, base, operations
from lab.suites.crash_states.fs.bench import StepMissing, StepRefused, refusal, whole
from lab.suites.crash_states.fs.given import FILE_SIZE
from lab.suites.crash_states.fs.history import Step
from lab.suites.crash_states.fs.tree import Inode, StepImpossible, Tree, differences, seen
from tests import ROOT

SEQUENCES = int(os.environ.get("LAB_SEQUENCES", "60"))
SCRIPTS = ROOT / "guest-scripts"
FILES = ("foo", "bar", "A/foo", "A/bar", "new", "A/new", "B/foo", "D/foo", "same")
DIRECTORIES = ("A", "B", "E", "D", "A/C", "B/A")


class CrashFs:
    """guest-scripts/suites/crashfs, on a directory instead of a mount point."""

    def __init__(self, place: Path) -> None:
        sys.path.insert(0, str(SCRIPTS / "layers"))
        try:
            self.module = runpy.run_path(str(SCRIPTS / "suites/crashfs"))
        finally:
            sys.path.remove(str(SCRIPTS / "layers"))
            for name in ("ioctls", "kernellog", "statedisks", "system"):
                sys.modules.pop(name, None)
        self._place = place
        self.module["below"].__globals__.update(MOUNT=str(place), TOP=str(place))

    def fresh(self) -> None:
        """An empty directory, with what workloads begin with."""
        shutil.rmtree(self._place, ignore_errors=True)
        self._place.mkdir()
        for step in SETUP:
            assert self.do(step) == 0

    def do(self, step: Step) -> int:
        """Carry out a step; its errno."""
        try:
            self.module["do"](dict(step))
        except OSError as problem:
            return problem.errno or -1
        return 0

    def unlike(self, tree: Tree) -> list[str]:
        """How the directory differs from a tree."""
        names, wrong = seen(self.module["walk"]()["names"])
        return [*wrong, *differences(names, tree)]


@pytest.fixture(scope="module")
def crashfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashFs]:
    """One for all tests: each begins afresh."""
    yield CrashFs(tmp_path_factory.mktemp("crashfs") / "mount")


@st.composite
def steps(draw: st.DrawFn) -> Step:
    """Any operation, on names that may be there or not."""
    pick = st.sampled_from
    if draw(st.booleans()):
        return draw(pick([step for _, step in operations()]))
    path, to = draw(pick(FILES)), draw(pick(FILES))
    at, length = draw(st.integers(0, 3 * BLOCK)), draw(st.integers(1, 2 * BLOCK))
    kind = draw(pick(["creat", "write", "truncate", "rename", "link", "unlink", "mkdir", "rmdir",
                      "rename-directory", "mapped", "copy", "fsync", "falloc"]))  # fmt: skip
    if kind in ("mkdir", "rmdir"):
        return {"do": kind, "path": draw(pick(DIRECTORIES))}
    if kind == "rename-directory":
        return {"do": "rename", "path": draw(pick(DIRECTORIES)), "to": draw(pick(DIRECTORIES))}
    if kind in ("rename", "link"):
        return {"do": kind, "path": path, "to": to}
    if kind in ("write", "mapped"):
        return {"do": kind, "path": path, "at": at, "length": length, "fill": str(at)}
    if kind == "truncate":
        return {"do": kind, "path": path, "length": at}
    if kind == "copy":
        given = {"source": path, "path": to, "start": 0, "at": at, "length": length}
        return {"do": kind, **given}
    if kind == "falloc":
        mode = draw(pick(["extend", "keep-size", "punch", "zero", "zero-keep-size"]))
        return {"do": kind, "path": path, "mode": mode, "at": at, "length": length}
    return {"do": kind, "path": path}


@settings(max_examples=SEQUENCES)
@given(sequence=st.lists(steps(), min_size=1, max_size=8))
def test_the_model_is_what_a_real_file_system_does(crashfs: CrashFs, sequence: list[Step]) -> None:
    crashfs.fresh()
    tree = base()
    for step in sequence:
        if step["do"] == "copy" and tree.names.get(step["source"]) == tree.names.get(step["path"]):
            return  # a file copied onto its own end grows while it is read
        if crashfs.do(step):
            # What fails half-way leaves what it had done: the rest says nothing about the model.
            if step["do"] in ("copy", "clone", "mapped", "write"):
                return
            continue
        tree = tree.after(step)
        assert crashfs.unlike(tree) == [], step


def test_a_state_that_cannot_be_mounted_is_told(crashfs: CrashFs, tmp_path: Path) -> None:
    node = tmp_path / "node"
    node.touch()
    place = {"node": str(node), "disks": [], "assemble": [], "release": []}
    found: dict[str, Any] = crashfs.module["judge"](place, "ext4", "", ["true"], 10)
    assert found["stage"] == "mount"
    assert found["said"]


def test_disks_that_cannot_be_put_together_are_told(crashfs: CrashFs, tmp_path: Path) -> None:
    place = {
        "node": str(tmp_path / "array"), "disks": [], "release": ["false"],
        "assemble": ["sh", "-c", "echo no superblock; exit 2"],
    }  # fmt: skip
    found: dict[str, Any] = crashfs.module["judge"](place, "ext4", "", ["true"], 10)
    assert found["stage"] == "assemble"
    assert "no superblock" in found["said"]


@pytest.mark.parametrize("stage", ["write", "umount", "done"])
def test_a_state_that_cannot_be_let_go_of_is_told(
    crashfs: CrashFs, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    crashfs.fresh()

    def busy() -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    def no_room() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    own = crashfs.module["judge"].__globals__
    monkeypatch.setitem(own, "mount_node", lambda *_: None)
    monkeypatch.setitem(own, "leave", (lambda: None) if stage == "done" else busy)
    if stage == "write":
        monkeypatch.setitem(own, "use", no_room)
    if stage == "done":
        monkeypatch.setattr(own["statedisks"], "release", lambda _: busy())
    place: dict[str, Any] = {"node": "/dev/null", "disks": [], "assemble": [], "release": []}
    found: dict[str, Any] = own["judge"](place, "ext4", "", ["true"], 10)
    assert found["held"] == "Device or resource busy"
    said = "No space left on device" if stage == "write" else "Device or resource busy"
    assert (found["stage"], found["said"]) == ("write" if stage == "write" else "umount", said)
    assert found["names"]


def test_what_a_guest_does_to_see_whether_it_can_write_leaves_nothing(crashfs: CrashFs) -> None:
    crashfs.fresh()
    crashfs.module["use"]()
    assert crashfs.unlike(base()) == []


@pytest.mark.parametrize("size", [2 << 20, FILE_SIZE])
def test_a_file_as_large_as_a_workload_may_have_it_is_read_to_its_end(
    crashfs: CrashFs, size: int
) -> None:
    crashfs.fresh()
    step = {"do": "write", "path": "foo", "at": size - 4096, "length": 4096, "fill": "end"}
    assert crashfs.do(step) == 0
    assert crashfs.unlike(base().after(step)) == []


@pytest.mark.parametrize("path", ["foo", "new"])
def test_a_mapping_behind_the_end_of_a_file_is_refused(crashfs: CrashFs, path: str) -> None:
    crashfs.fresh()
    tree = base().after({"do": "creat", "path": "new"})
    assert crashfs.do({"do": "creat", "path": "new"}) == 0
    size = len(tree.inodes[tree.names[path]].data)
    step = {"do": "mapped", "path": path, "at": size, "length": 1, "fill": ""}
    assert crashfs.do(step) == errno.EINVAL
    with pytest.raises(StepImpossible, match=f"mapped.* {path} ends at {size}"):
        tree.after(step)
    assert crashfs.unlike(tree) == []


@pytest.mark.parametrize(
    "step",
    [
        {"do": "write", "path": "A", "at": 0, "length": 1, "fill": ""},
        {"do": "truncate", "path": "link", "length": 0},
        {"do": "falloc", "path": "A", "mode": "punch", "at": 0, "length": 1},
        {"do": "creat", "path": ""},
        {"do": "link", "path": "A", "to": "new"},
        {"do": "symlink", "path": "", "to": "new"},
        {"do": "unlink", "path": "A"},
        {"do": "rmdir", "path": "foo"},
        {"do": "setxattr", "path": "link", "name": "user.x", "value": ""},
        {"do": "fsync", "path": "link"},
        {
            "do": "copy",
            "source": "bar",
            "path": "foo",
            "start": BLOCK,
            "at": 0,
            "length": 2 * BLOCK,
        },
        {"do": "copy", "source": "A", "path": "foo", "start": 0, "at": 0, "length": 1},
        {"do": "clone", "source": "bar", "path": "bar", "start": 0, "at": 1, "length": BLOCK},
        {"do": "dedupe", "source": "bar", "path": "foo", "start": 0, "at": 0, "length": BLOCK},
        {"do": "dedupe", "source": "same", "path": "new", "start": 0, "at": 0, "length": BLOCK},
    ],
)
def test_the_model_allows_nothing_that_must_fail(crashfs: CrashFs, step: Step) -> None:
    crashfs.fresh()
    link = {"do": "symlink", "path": "foo", "to": "link"}
    assert crashfs.do(link) == 0
    assert crashfs.do(step)
    with pytest.raises(StepImpossible):
        base().after(link).after(step)


def test_xattrs_of_directories_are_read(crashfs: CrashFs) -> None:
    crashfs.fresh()
    step = {"do": "setxattr", "path": "A", "name": "user.x", "value": "y"}
    assert crashfs.do(step) == 0
    assert crashfs.unlike(base().after(step)) == []


def test_nothing_is_opened_but_files(crashfs: CrashFs) -> None:
    crashfs.fresh()
    below = crashfs.module["below"]
    os.mkfifo(below("fifo"))
    with socket.socket(socket.AF_UNIX) as own:
        own.bind(below("socket"))
    names, unreadable = seen(crashfs.module["walk"]()["names"])
    assert unreadable == []
    assert (names["fifo"].inode, names["socket"].inode) == (Inode("FIFO"), Inode("socket"))
    assert "foo: a FIFO, not a file" in differences({**names, "foo": names["fifo"]}, base())


@pytest.mark.parametrize(
    ("step", "number", "kind", "said"),
    [
        ({"do": "fsync", "path": "foo"}, errno.EIO, StepRefused, "fsync foo: Input/output error"),
        ({"do": "rename", "path": "a", "to": "b"}, errno.EUCLEAN, StepRefused, "rename a: "),
        ({"do": "write", "path": "foo"}, errno.ENOSPC, StepRefused, "No space left"),
        ({"do": "write", "path": "foo"}, errno.EINVAL, StepRefused, "Invalid argument"),
        ({"do": "sync"}, errno.EROFS, StepRefused, "sync: Read-only file system"),
        ({"do": "clone", "path": "a"}, errno.EOPNOTSUPP, StepMissing, "clone a: Operation not"),
        ({"do": "dedupe", "path": "a"}, errno.EINVAL, StepMissing, "Invalid argument"),
        ({"do": "falloc", "path": "a"}, errno.ENOSPC, StepRefused, "No space left"),
        ({"do": "setxattr", "path": "a"}, errno.EOPNOTSUPP, StepMissing, "not supported"),
        ({"do": "clone", "path": "a"}, errno.ENOTTY, StepMissing, "ioctl"),
    ],
)  # fmt: skip
def test_only_what_a_file_system_does_not_have_is_missing(
    step: Step, number: int, kind: type[StepRefused], said: str
) -> None:
    refused = refusal(step, {"errno": number, "said": os.strerror(number)})
    assert type(refused) is kind
    assert said in str(refused)


def test_a_command_that_fails_is_told_with_its_last_words(crashfs: CrashFs) -> None:
    crashfs.fresh()
    with pytest.raises(OSError, match="exit status 3: alas") as raised:
        crashfs.module["do"]({"do": "run", "command": "echo alas; exit 3"})
    answer = crashfs.module["refused"](raised.value)
    refused = refusal({"do": "run", "command": "…"}, answer)
    assert (type(refused), str(refused)) == (StepRefused, "run: exit status 3: alas")


def test_an_answer_that_is_longer_than_a_line_comes_in_pieces(crashfs: CrashFs) -> None:
    crashfs.fresh()
    step = {"do": "write", "path": "foo", "at": 0, "length": 10 << 20, "fill": "much"}
    assert crashfs.do(step) == 0
    walked = crashfs.module["walk"]()
    begun = crashfs.module["in_pieces"](walked)
    assert begun["longer"] > 10 << 20
    pieces: list[int] = []

    def rest(at: int) -> dict[str, Any]:
        answer: dict[str, Any] = crashfs.module["rest"](at)
        pieces.append(len(json.dumps(answer)))
        return answer

    assert whole(begun, rest) == walked
    assert len(pieces) > 2
    assert max(pieces) < 16 << 20
    assert crashfs.module["in_pieces"]({"errno": 0}) == {"errno": 0}


@pytest.mark.parametrize("begun", [{"longer": 1 << 40}, {"longer": "x"}, {"longer": 4}])
def test_pieces_of_no_answer_are_told(begun: dict[str, Any]) -> None:
    with pytest.raises(GuestError, match="answer"):
        whole(begun, lambda at: {"piece": "{]"[at:]})
