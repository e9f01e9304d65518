# SPDX-License-Identifier: GPL-2.0-or-later
"""Workloads on file systems: drawn ones, those of a file, and what a run has come to so far."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.crash.marks import ACKNOWLEDGED, STARTED, LogMark
from lab.crash.states import EpochCoverage
from lab.errors import ProfileError, UsageError
from lab.host import dirs
from lab.profile.load import load
from lab.results.cases import Case, CaseStatus
from lab.suites.crash_states.fs import given, progress
from lab.suites.crash_states.fs.ace import sequences, workloads
from lab.suites.crash_states.fs.bases import BaseMedia
from lab.suites.crash_states.fs.history import CrashMoment
from lab.suites.crash_states.fs.kinds import KINDS, SINGLE
from lab.suites.crash_states.fs.progress import JudgedWorkload, ProgressLog
from lab.suites.crash_states.fs.record import FsRecording, base_name
from lab.suites.crash_states.fs.selection import chosen
from lab.suites.crash_states.fs.workload import FsWorkload
from lab.suites.crash_states.loss import PowerLoss
from lab.suites.crash_states.options import parse
from lab.suites.crash_states.report import CoverageRow, StateFailure
from lab.suites.crash_states.run import run

GOOD = """
workloads:
  - name: rename-over
    file_systems: [ext4, btrfs]
    setup:
      - creat: foo
      - write: {path: foo, length: 8K}
    steps:
      - creat: new
      - rename: {path: new, to: foo}
      - fsync: .
      - sync
  - name: anything
    steps:
      - run: echo x >y
"""


def written(tmp_path: Path, text: str) -> Path:
    """A file with that in it."""
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_sequences_are_drawn_from_the_seed_and_can_be_carried_out() -> None:
    drawn = sequences(7, 2, 40)
    assert drawn == sequences(7, 2, 40) != sequences(8, 2, 40)
    assert len({each.name for each in drawn}) == 40
    for each in drawn:
        assert each.history
        operations = [step for step in each.steps if "sync" not in step["do"]]
        assert len(operations) == 2
        assert each.steps[-1]["do"] in ("fsync", "fdatasync", "sync")
    # What comes second has to do with what came first, often enough.
    assert sum("@" in each.name for each in drawn) > 8


def test_a_file_of_workloads_is_read(tmp_path: Path) -> None:
    over, anything = given.load(written(tmp_path, GOOD))
    assert over.steps[1] == {"do": "rename", "path": "new", "to": "foo"}
    assert over.steps[2:] == ({"do": "fsync", "path": ""}, {"do": "sync"})
    assert over.setup[1] == {"do": "write", "path": "foo", "at": 0, "length": 8192, "fill": ""}
    assert over.history
    assert over.history.after.inode("foo")
    # Nobody knows what a command makes of it: there is no tree to compare with.
    assert anything.history is None
    pairs = chosen(parse(["--workload", str(tmp_path / "mine.yaml")]))
    assert [name for name, each in pairs if each == over] == ["ext4", "btrfs"]
    assert [name for name, each in pairs if each.name == "anything"] == list(SINGLE)
    # What is for btrfs is for btrfs over two disks.
    both = chosen(parse(["--workload", str(tmp_path / "mine.yaml"), "--fs", "btrfs-raid1,xfs"]))
    assert [(name, each.name) for name, each in both] == [
        ("btrfs-raid1", over.name), ("btrfs-raid1", "anything"), ("xfs", "anything"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("- creat: /etc/passwd", "no path below"),
        ("- creat: ../x", "no path below"),
        ("- vanish: x", "no step is called vanish"),
        ("- write: {path: x, length: much}", "is not a size"),
        ("- write: {path: x, length: 4K, at: 0}", "there is no x"),
        ("- creat", "a step is one word"),
        ("- fsync: x", "there is no x"),
        ("- rename: {path: x}", "to"),
        ("- setxattr: {path: x, name: trusted.x, value: v}", r"steps.0..name: 'trusted.x' .*users"),
        (
            "- removexattr: {path: x, name: user.}",
            r"steps.0..name: 'user.' .* is no xattr of users",
        ),
        ("- creat: x\n      - mapped: {path: x, length: 4K}", "mapped.* x ends at 0"),
        ("- write: {path: x, at: 16M, length: 1}", "ends at 16777217; .* 16M at most"),
    ],
)
def test_what_a_file_cannot_mean_is_told(tmp_path: Path, steps: str, said: str) -> None:
    path = written(tmp_path, f"workloads:\n  - name: x\n    steps:\n      {steps}\n")
    with pytest.raises((ProfileError, UsageError), match=said) as raised:
        given.load(path)
    assert "mine.yaml" in str(raised.value)


def test_the_corpus_is_read_and_each_has_its_source() -> None:
    every = given.load(given.CORPUS)
    assert len(every) > 30
    assert all(each.source for each in every)
    assert sum(each.name.startswith("btrfs-progs-1026") for each in every) == 6
    # What only a command does is judged by its structure; there is little of it.
    assert sum(each.history is None for each in every) <= 3


def test_a_command_is_a_workload() -> None:
    options = parse(["--command", "echo x >y", "--fs", "xfs"])
    ((name, workload),) = chosen(options)
    assert (name, workload.steps) == ("xfs", ({"do": "run", "command": "echo x >y"},))
    with pytest.raises(UsageError, match="--command"):
        parse(["--workload", "command"])


def test_workloads_are_read_back_as_they_were_kept() -> None:
    for each in [*workloads()][:20]:
        assert FsWorkload.read(each.document()) == each


def test_what_a_run_came_to_is_read_back_and_a_line_that_was_broken_off_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.results.runs.directory", lambda _: tmp_path)
    options = parse(["--workload", "ace", "--fs", "ext4", "--losses", "2", "--seed", "5"])
    ground = progress.ground_of(load("virtio-scsi"), "a-kernel")
    log = ProgressLog(tmp_path, options, ground)
    coverage = EpochCoverage(3, 24, 1, enumerated=7, whole=4, distinct=5, wrong=1)
    loss = PowerLoss(9, (3,))
    judged = JudgedWorkload(
        Case("creat-new/fsync", CaseStatus.FAIL, 1.5, "why", "ext4", output="more"),
        (CoverageRow("ext4:creat-new/fsync", coverage, 1.0, 0.1, 3, 1),),
        (StateFailure(1, "ext4:creat-new/fsync", ("SYNCED",), ("x",), 1, (1,), loss, loss),),
    )
    log.add(judged)
    with (tmp_path / progress.JUDGED).open("a") as file:
        file.write('{"case": {"name": "half')
    assert list(progress.judged("run")) == [judged]
    again = parse(["--resume", "run", "--shards", "2"]).resuming(progress.asked("run"))
    assert (again.workload, again.file_systems, again.plan) == ("ace", ("ext4",), options.plan)
    assert (again.shards, again.resume) == (2, "run")
    progress.check_ground("run", ground)
    for other, said in (
        (progress.ground_of(load("virtio-scsi"), "another"), "another kernel"),
        (progress.ground_of(load("virtio-scsi-pair"), "a-kernel"), "another profile"),
    ):
        with pytest.raises(UsageError, match=said):
            progress.check_ground("run", other)


def test_a_run_on_another_kernel_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused before there is another run."""
    monkeypatch.setattr("lab.results.runs.directory", lambda _: tmp_path)
    profile = load("virtio-scsi")
    options = parse(["--workload", "ace", "--fs", "ext4"])
    ProgressLog(tmp_path, options, progress.ground_of(profile, "a-kernel"))
    platform = SimpleNamespace(kernel=SimpleNamespace(key="another"))
    monkeypatch.setattr(
        "lab.suites.crash_states.run.Platform", SimpleNamespace(find=lambda *_: platform)
    )
    asked: Any = SimpleNamespace(profile=profile, options=parse(["--resume", "run"]))
    watcher: Any = SimpleNamespace(progress=None)
    with pytest.raises(UsageError, match="another kernel"):
        run(asked, watcher)
    assert not [*dirs.state("runs").iterdir()]


def test_what_a_run_begins_with_goes_along_with_its_failures(tmp_path: Path) -> None:
    """Another file system, made anew, is none that their logs fit."""
    old, new = tmp_path / "old", tmp_path / "new"
    for place in (old, new):
        place.mkdir()
    kind, of = KINDS["ext4"], next(iter(workloads()))
    (old / base_name(kind, of)).write_bytes(b"made before")
    (old / base_name(kind, of)).with_suffix(".new").write_bytes(b"half of one")
    media = BaseMedia(new)
    media.take_over(old)
    media.keep(kind, of)
    media.close()
    assert [(path.name, path.read_bytes()) for path in new.iterdir()] == [
        (base_name(kind, of), b"made before")
    ]


def test_a_workload_whose_steps_have_changed_is_another() -> None:
    first, second, *_ = workloads()
    renamed = replace(second, name=first.name)
    assert first.meaning != renamed.meaning
    assert first.meaning == replace(first, source="somewhere").meaning


def test_a_step_that_wrote_nothing_has_begun_when_it_has_returned(tmp_path: Path) -> None:
    marks = [(STARTED, 1, 5), (ACKNOWLEDGED, 1, 5), (STARTED, 2, 5), (ACKNOWLEDGED, 2, 8)]
    of = FsRecording(
        FsWorkload("x", ({"do": "creat", "path": "foo"}, {"do": "sync"})), tmp_path, tmp_path,
        tuple(LogMark(event, number, position, 0.0) for event, number, position in marks), (),
    )  # fmt: skip
    assert [of.moment(cut) for cut in (4, 5, 6, 8)] == [
        CrashMoment(0, 0), CrashMoment(1, 1), CrashMoment(2, 1), CrashMoment(2, 2),
    ]  # fmt: skip
