# SPDX-License-Identifier: GPL-2.0-or-later
"""fstests' check, driven: with a small suite of our own that speaks its language, and with a real
tree where LAB_FSTESTS_TREE names one."""

import json
import os
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.boot.conftest import Lab, case, kept

FIXTURE = Path(__file__).parents[1] / "fixtures/fstests"
DEADLINE = 900
"""Seconds for a run; a busy host is slow."""


def fstests(
    lab: Lab, *args: str, status: int | None, on: str = "", profile: str = "nvme-copy", **more: Any
) -> dict[str, Any]:
    """A run of the fixture, in the image that other tests use; its JSON."""
    done = lab(
        "run", profile, "fstests", "--tree", str(FIXTURE), "--json",
        *(["--on", on] if on else []), "--", "--image", "trixie", *args,
        status=status, deadline=DEADLINE, **more,
    )  # fmt: skip
    document: dict[str, Any] = json.loads(done.stdout)
    return document


LIST = """\
#if LINUX_VERSION_CODE < KERNEL_VERSION(5,0,0)
generic/001
#else
// It passes every other time.
-g flaky
#endif
"""


@pytest.fixture(scope="module")
def whole(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run of all cases but one: some pass, fail, decline, hang, panic, and upset the kernel."""
    path = tmp_path_factory.mktemp("fstests") / "exclude"
    path.write_text(LIST)
    return fstests(lab, "-g", "auto", "-E", str(path), "--deadline", "0.5", status=1)


def test_every_case_has_its_result_whatever_the_others_did(whole: dict[str, Any]) -> None:
    assert {case["name"]: case["status"] for case in whole["cases"]} == {
        "generic/001": "pass",
        "generic/002": "fail",
        "generic/003": "notrun",
        "generic/004": "hung",
        "generic/005": "crashed",
        "generic/006": "crashed",
        "generic/007": "notrun",
        "generic/008": "pass",
    }
    assert whole["error"] is None
    assert whole["counts"] == {"pass": 2, "fail": 1, "notrun": 2, "hung": 1, "crashed": 2}
    assert whole["selected"] == 8


def test_a_failure_comes_with_its_diff_and_exactly_its_kernel_messages(
    lab: Lab, whole: dict[str, Any]
) -> None:
    failed = case(whole, "generic/002")
    place = "cases/xfs/generic-002"
    assert failed["reason"] == "output mismatch"
    assert "+something else" in failed["output"]
    assert failed["files"] == [f"{place}/{name}" for name in ("dmesg", "full", "out.bad", "output")]
    assert kept(lab, whole, f"{place}/full") == "all that was done, in full\n"
    assert kept(lab, whole, f"{place}/out.bad").endswith("something else\n")
    dmesg = kept(lab, whole, f"{place}/dmesg")
    assert "lab fixture: 002 was here" in dmesg
    assert [line for line in dmesg.splitlines() if line.startswith("run fstests")] == [
        line for line in dmesg.splitlines() if line.startswith("run fstests generic/002")
    ]


def test_what_declines_says_why(whole: dict[str, Any]) -> None:
    assert case(whole, "generic/003")["reason"] == "this test requires a valid $SCRATCH_DEV"


def test_what_a_list_leaves_out_has_its_reason_there(whole: dict[str, Any]) -> None:
    (path,) = whole["options"]["excluded"]
    reason = f"left out: It passes every other time., {path}:5"
    assert case(whole, "generic/007")["reason"] == reason


def test_a_hung_case_is_found_within_its_deadline_with_the_stack_of_what_hangs(
    lab: Lab, whole: dict[str, Any]
) -> None:
    hung = case(whole, "generic/004")
    assert 0.5 * whole["speed"] <= hung["seconds"] < 0.5 * whole["speed"] + 10
    assert kept(lab, whole, "cases/xfs/generic-004/full") == "before it hung\n"
    console = kept(lab, whole, "cases/xfs/generic-004/console")
    assert "Show Blocked State" in console
    assert "Show State" in console
    blocked = console.partition("Show State")[0]
    assert "task:touch" in blocked
    assert "mnt_want_write" in blocked or "percpu_rwsem" in blocked


def test_a_panic_is_the_cases_and_its_trace_is_kept(lab: Lab, whole: dict[str, Any]) -> None:
    crashed = case(whole, "generic/005")
    assert crashed["reason"].startswith("Kernel panic - not syncing: sysrq triggered crash")
    console = kept(lab, whole, "cases/xfs/generic-005/console")
    assert "sysrq_handle_crash" in console
    assert "</TASK>" in console, "the trace is cut off"


def test_a_kernel_in_trouble_is_found_at_its_word_and_its_trace_is_kept(
    lab: Lab, whole: dict[str, Any]
) -> None:
    crashed = case(whole, "generic/006")
    assert crashed["reason"].startswith("INFO: task touch")
    assert "Call Trace:" in kept(lab, whole, "cases/xfs/generic-006/dmesg")


def test_results_can_be_shown_and_exported(lab: Lab, whole: dict[str, Any]) -> None:
    run = whole["run"]
    assert run in lab("results", "list").stdout
    shown = lab("results", "show", run).stdout
    assert "xfs:generic/004" in shown and "hung" in shown
    assert json.loads(lab("results", "show", run, "--json").stdout) == whole
    found = ET.fromstring(lab("results", "export", run, "--to", "junit").stdout).attrib
    numbers = [found[key] for key in ("tests", "failures", "errors", "skipped")]
    assert numbers == ["8", "1", "3", "2"]


def test_shards_repetitions_and_known_failures(lab: Lab, tmp_path: Path) -> None:
    known = tmp_path / "known.yaml"
    known.write_text(
        "- cases: [generic/002]\n"
        "  reason: it is the fixture's way\n"
        "  when: {fs: [ext4], works: [test, -d, /run/lab], fails: [test, -d, /nowhere]}\n"
        "- cases: [generic/008]\n"
        "  reason: it passes all the same\n"
        "- cases: [generic/007]\n"
        "  reason: not here\n"
        "  when: {fails: [test, -d, /run/lab]}\n"
    )
    args = ["--fs", "ext4", "--shards", "2", "--loop", "2", "--known", str(known)]
    run = fstests(lab, *args, "-", status=1, text="generic/002 # fails\ngeneric/00[78]\n")
    assert sorted((case["name"], case["attempt"]) for case in run["cases"]) == [
        (f"generic/{name}", attempt) for name in ("002", "007", "008") for attempt in (1, 2)
    ]
    assert run["flaky"] == {"ext4:generic/007": {"passed": 1, "of": 2}}
    assert run["unexpected"] == ["ext4:generic/007"]
    assert set(run["repaired"]) == {"ext4:generic/008"}
    assert not [name for name in lab.ls() if run["run"] in name]


def test_an_nfs_mount_is_tested_while_its_server_is_up(lab: Lab) -> None:
    run = fstests(lab, "generic/001", profile="nfs42", status=0)
    assert [case["section"] for case in run["cases"]] == ["client"]
    assert "TEST_DEV=127.0.0.1:/client/test\n" in run["sections"]["client"]


FLAKEY = """
description: XFS on a disk that can fail
devices:
  - {type: nvme, serial: LABNVME0, namespaces: [size: 512M]}
layers:
  - {name: flakey, type: dm-flakey, over: LABNVME0}
"""
FAULTS = """
- {layer: flakey, action: dm-error, every: 2s, for: 1s}
- {disk: LABNVME0, at: "write:1", error: eio}
"""


def test_cases_run_while_faults_are_made_and_what_they_leave_recovers(
    lab: Lab, tmp_path: Path
) -> None:
    profile, faults = tmp_path / "flakey.yaml", tmp_path / "faults.yaml"
    profile.write_text(FLAKEY)
    faults.write_text(FAULTS)
    done = lab(
        "run", str(profile), "fstests", "--tree", str(FIXTURE), "--json", "--",
        "--image", "trixie", "--faults", str(faults), "generic/009", "generic/005",
        status=1, deadline=DEADLINE,
    )  # fmt: skip
    run = json.loads(done.stdout)
    assert {case["name"]: case["status"] for case in run["cases"]} == {
        "generic/005": "crashed",
        "generic/005.recovery": "pass",
        "generic/009": "fail",
        "generic/009.recovery": "pass",
    }
    # What fails because something was made to fail is no news; a crash always is.
    assert run["unexpected"] == ["xfs:generic/005"]
    known = case(run, "generic/009")["known"]
    assert "dm-error of flakey" in known
    assert "a request of nvme0n1 failed" in known
    assert run["selected"] == 4


class Came(NamedTuple):
    """What check came to."""

    found: dict[str, str]
    took: dict[str, float]
    """Seconds of each test that has them; whole ones by hand."""
    seconds: float
    """From the start of check to its end."""


def by_hand(lab: Lab, guest: str, section: str, names: list[str]) -> Came:
    """What ./check comes to in a guest that was kept."""
    clock = "cut -d' ' -f1 /proc/uptime"
    said = lab(
        "ssh", guest, "--",
        f"cd /run/lab/suite/tree && {clock} && HOST_OPTIONS=/run/lab/suite/{section}.config "
        f"./check {' '.join(names)}; {clock}",
        status=None, deadline=14400,
    ).stdout.splitlines()  # fmt: skip
    lines = {line.split()[0]: line for line in said if line.startswith("generic/")}
    found = {
        name: "notrun" if "[not run]" in line else "pass" if line.endswith("s") else "fail"
        for name, line in lines.items()
    }
    took = {name: float(lines[name].split()[-1][:-1]) for name in lines if found[name] == "pass"}
    return Came(found, took, float(said[-1]) - float(said[0]))


def by_lab(lab: Lab, run: dict[str, Any]) -> Came:
    """What a run came to."""
    events = [json.loads(line) for line in kept(lab, run, "timeline.jsonl").splitlines()]
    start, end = (
        next(event["t"] for event in events if (event["source"], event["event"]) == ("suite", word))
        for word in ("start", "exit")
    )
    found = {case["name"]: case["status"] for case in run["cases"]}
    return Came(found, {case["name"]: case["seconds"] for case in run["cases"]}, end - start)


def test_a_guest_that_was_kept_is_used_again(lab: Lab, tmp_path: Path) -> None:
    names = ["generic/001", "generic/002", "generic/003"]
    first = fstests(lab, "--keep", *names, status=1)
    guest = f"run-{first['run']}"
    found = by_hand(lab, guest, "xfs", names).found
    assert found == by_lab(lab, first).found
    again = fstests(lab, *names, status=1, on=guest)
    assert by_lab(lab, again).found == found
    # It stays as it was, and is no other profile's.
    assert lab.ls()[guest]["state"] == "up"
    done = lab(
        "run", "zns", "fstests", "--on", guest, "--tree", str(FIXTURE), status=2
    )  # fmt: skip
    assert "is of another profile than zns" in done.stderr
    lab("down", guest)


REAL = {
    "nvme-copy": ("xfs", ["devices[0].namespaces[0].size=2G"]),
    "loop-xfs-reflink": ("ext4", ["devices[0].namespaces[0].size=3G", "layers[1].size=2G"]),
    "zns-btrfs": ("btrfs", ["devices[0].namespaces[0].size=2G"]),
}
"""The section of each profile, and what it needs to be large enough for generic/013."""
NAMES = [f"generic/{number}" for number in ("001", "003", "013", "112", "127")]
NAMES += [f"generic/43{number}" for number in range(5)]


@pytest.mark.skipif("LAB_FSTESTS_TREE" not in os.environ, reason="LAB_FSTESTS_TREE is not set")
@pytest.mark.parametrize("profile", REAL)
def test_a_real_tree_comes_to_what_check_by_hand_comes_to(lab: Lab, profile: str) -> None:
    """Lab and hand in one guest, which a short test has warmed up for both."""
    section, changes = REAL[profile]
    sets = [word for change in changes for word in ("--set", change)]
    tree = os.environ["LAB_FSTESTS_TREE"]
    words = ["run", profile, "fstests", "--tree", tree, "--json", *sets]
    names = os.environ.get("LAB_FSTESTS", " ".join(NAMES)).split()
    warm = json.loads(lab(*words, "--", "--keep", "generic/430", deadline=DEADLINE).stdout)
    guest = f"run-{warm['run']}"
    done = lab(*words, "--on", guest, "--", *names, status=None, deadline=14400)
    ours = by_lab(lab, json.loads(done.stdout))
    hand = by_hand(lab, guest, section, names)
    lab("down", guest)
    print(f"{profile}: lab {ours.seconds:.1f} s, by hand {hand.seconds:.1f} s")
    for name in hand.took:
        print(f"  {name}: lab {ours.took[name]:.1f} s, by hand {hand.took[name]} s")
    assert ours.found == hand.found
    assert ours.seconds <= 1.05 * hand.seconds
