# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults that are made while suites run: what a file may ask for, and what is made of it."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import ProfileError
from lab.faults.model import Point, Stage
from lab.profile.load import load as load_profile
from lab.results.cases import CaseStatus
from lab.suites.fstests.faults.making import seen
from lab.suites.fstests.faults.plan import MAX_K, FailedRequest, FaultPlan, Window, load
from lab.suites.fstests.faults.recovery import _RECOVER, FileSystemRecovery
from lab.suites.fstests.sections import Section, SectionRequest, sections
from lab.suites.upstream.reader import CaseEnd, CaseStart

BOTH = """
- layer: flakey
  action: dm-error
  every: 20s
  for: 2s
- disk: LABNVME0
  at: write:100
  error: eio
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "faults.yaml"
    path.write_text(text)
    return path


def test_a_plan_has_windows_and_requests(tmp_path: Path) -> None:
    plan = load(written(tmp_path, BOTH))
    assert [str(fault) for fault in plan] == [
        "dm-error of flakey for 2s every 20s", "eio at write:100 of LABNVME0",
    ]  # fmt: skip
    assert plan.requests == (FailedRequest(disk="LABNVME0", at="write:100", error="eio"),)
    assert plan.requests[0].at == Point(Stage.WRITE, 100)
    assert (plan.windows[0].every, plan.windows[0].length) == (20, 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "valid list"),
        ("{}", "valid list"),
        ("- [", "1: not valid YAML"),
        ("- 7", "[0]: 7 does not fit"),
        (
            "- {layer: a, action: eio, every: 9s, for: 1s}",
            "[0].action: 'eio' does not fit: eio; expected one of dm-error",
        ),
        (
            "- {layer: a, action: dm-error, every: 9, for: 1s}",
            "[0].every: 9 does not fit: 9 is not a duration",
        ),
        ("- {layer: a, action: dm-error, every: 1s, for: 1s}", "at least 0.5 s"),
        ("- {layer: a, action: dm-error, every: 9s, for: 1s, k: 1}", "k: Extra"),
        (
            "- {disk: a, at: 'written:1', error: eio}",
            "at: 'written:1' does not fit: written:1; expected read:K",
        ),
        (f"- {{disk: a, at: 'write:{MAX_K + 1}', error: eio}}", f"up to {MAX_K}"),
        ("- {disk: a, at: 'write:0', error: eio}", "at: 'write:0' does not fit: expected read:K"),
        ("- {disk: a, at: 'write:1', error: none}", "error: 'none' does not fit: none is no fault"),
        ("- {disk: a, at: 'write:1', error: e2big}", "error: 'e2big' does not fit: one of eio"),
        ("- {disk: a, at: 'write:1'}", "error: Field required"),
        ("- {disk: a, at: 'write:1', error: eio}\n" * 2, "a has more than one fault"),
        ("- {layer: a, action: [eio], every: 9s, for: 1s}", "action: a list does not fit"),
    ],
)
def test_what_cannot_be_is_told_with_its_key(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ProfileError) as caught:
        load(written(tmp_path, text))
    assert words in caught.value.message
    assert "faults.yaml" in caught.value.message


def test_a_profile_must_have_what_is_to_fail(tmp_path: Path) -> None:
    plan = load(written(tmp_path, BOTH))
    plan.check(load_profile("dm-flakey-loop"))
    with pytest.raises(ProfileError, match="called flakey") as caught:
        plan.check(load_profile("nvme-copy"))
    assert "none" in caught.value.hint
    with pytest.raises(ProfileError, match="no emulated disk LABNVME7"):
        FaultPlan(requests=(FailedRequest(disk="LABNVME7", at="read:1", error="5"),)).check(
            load_profile("nvme-copy")
        )


def test_the_kernels_log_tells_what_failed_and_why() -> None:
    messages = [
        "run fstests generic/013",
        "lab: fault: dm-error of flakey",
        "critical medium error, dev nvme0n1, sector 2048 op 0x1:(WRITE) flags 0x0 phys_seg 1",
        "I/O error, dev nvme0n1, sector 8 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2",
        "I/O error, dev loop0, sector 8 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2",
        "lab: no fault: dm-error of flakey",
        "lab: fault: dm-error of flakey",
    ]
    assert seen(["nvme0n1"], messages) == (
        "dm-error of flakey 2 times; a request of nvme0n1 failed 2 times"
    )
    assert seen([], messages) == "dm-error of flakey 2 times"
    assert seen(["nvme0n1"], messages[:1]) == ""


@given(st.sampled_from(sorted({"dm-error", "dm-delay", "dm-drop-writes", "dm-corrupt"})))
def test_a_window_tells_itself(action: str) -> None:
    window = Window.model_validate({"layer": "x", "action": action, "every": "1.5m", "for": "1s"})
    assert window.action == action
    assert str(window) == f"{action} of x for 1s every 90s"


def test_recovery_is_a_script_whose_first_line_is_the_reason() -> None:
    subprocess.run(["sh", "-nec", _RECOVER], check=True)
    section = Section("ext4", "ext4", {"test": "disk"}, options=("noatime",))
    suite = FileSystemRecovery({"ext4": section}, stacked=True)
    argv = suite.command("ext4", ["generic/001.recovery"]).argv
    assert list(argv[4:]) == [
        "generic/001.recovery", "yes", "ext4", "/dev/lab/disk", "-o noatime", "/mnt/test",
        "/mnt/scratch",
    ]  # fmt: skip
    said = "it is damaged: exit status 4\nInode 12 …\n"
    told = list(
        suite.reader([]).feed(
            f"== generic/001.recovery begins\n{said}== generic/001.recovery ends 1\n"
        )
    )
    assert told == [
        CaseStart("generic/001.recovery"),
        CaseEnd("generic/001.recovery", CaseStatus.FAIL, "it is damaged: exit status 4", said),
    ]


def test_an_nfs_mount_recovers_when_it_can_be_mounted() -> None:
    (section,) = sections(load_profile("nfs42"), SectionRequest())
    argv = (
        FileSystemRecovery({"client": section}, stacked=True)
        .command("client", ["generic/001"])
        .argv
    )
    assert list(argv[6:9]) == ["nfs", "127.0.0.1:/client/test", "-o vers=4.2"]
