# SPDX-License-Identifier: GPL-2.0-or-later
"""The pytest plugin on real guests, in sessions of pytest of their own."""

import re
from pathlib import Path

import pytest

from tests.boot.conftest import Lab
from tests.boot.inner import use_lab

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def directories(lab: Lab, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sessions of pytest have the lab's directories."""
    use_lab(lab, monkeypatch)


SHARED = """
import lab, pytest

pytestmark = pytest.mark.lab("nvme-copy", scope="module")
NAMES = []

def say(guest, words):
    NAMES.append(guest.name)
    guest.run(["sh", "-c", 'echo "$1" >/dev/kmsg', "sh", words])

def test_before(lab_guest):
    say(lab_guest, "of the test before")

def test_it_fails(lab_guest):
    say(lab_guest, "of the test that fails")
    assert lab_guest.run(["hostname"]).stdout == "another"

def test_after(lab_guest):
    say(lab_guest, "of the test after")
    assert len(set(NAMES)) == 1, "it is shared"

def test_a_copy_is_judged(lab_copy):
    outcome = lab_copy(ranges=2)
    assert outcome.holds, str(outcome)
    assert [case.name for case in outcome.cases] == ["rehearsal"]

def test_a_copy_that_breaks_a_rule_is_a_failure(lab_copy):
    outcome = lab_copy(points=["write:1"], actions=["resume"], plant="flip-bit")
    assert outcome.holds, str(outcome)

def test_a_copy_is_held_and_fails(lab_guest, lab_fault):
    with lab_fault("write:2", "eio") as fault:
        assert lab_guest.run(["pidof", "python3"]).stdout
        with pytest.raises(lab.UsageError, match="the copy is held at write:2"):
            fault.outcome
    assert fault.outcome.holds, str(fault.outcome)
    assert fault.outcome.cases[-1].name == "write:2 eio"

def test_what_a_copy_does_not_come_to_is_no_point(lab_fault):
    with pytest.raises(lab.UsageError, match="has none"), lab_fault("write:99"):
        raise AssertionError("it is not held")

def test_a_copy_goes_on_when_its_test_fails(lab_fault):
    with pytest.raises(ZeroDivisionError), lab_fault("read:1"):
        1 / 0

def test_the_kernel_crashes(lab_guest):
    NAMES.append(lab_guest.name)
    lab_guest.run(["sh", "-c", "echo c >/proc/sysrq-trigger"])

def test_another_guest_takes_its_place(lab_guest):
    assert lab_guest.name not in NAMES
    lab_guest.down()
    assert False, "after its end"
"""


def test_guests_are_shared_and_tell_of_the_test_that_failed(
    lab: Lab, pytester: pytest.Pytester
) -> None:
    before = lab.leftovers()
    pytester.makepyfile(SHARED)
    result = pytester.runpytest_subprocess("-p", "no:xdist", "-rA", timeout=600)
    result.assert_outcomes(passed=6, failed=4)
    report = failure(result, "test_it_fails")
    assert "of the test that fails" in kernel_messages(report)
    assert "of the test before" not in report
    console = section(report, "lab: console")
    assert re.search(r"\[ *\d+\.\d+\] of the test that fails", console)
    assert "lab: mark" not in console
    place = Path(section(report, "lab: evidence").strip())
    assert (place / "kernel.log").read_text() == kernel_messages(report)
    assert {"console.log", "argv.json"} <= {path.name for path in place.iterdir()}
    broken = failure(result, "test_a_copy_that_breaks_a_rule_is_a_failure")
    assert "copy-faults: 0 of 2 cases passed" in broken
    assert re.search(r"write:1 resume: fail: .*NO-FOREIGN: ", broken)
    (run,) = re.findall(r"run: (\S+)", section(broken, "lab: evidence"))
    assert (Path(run) / "timeline.jsonl").exists()
    crashed = failure(result, "test_the_kernel_crashes")
    assert "ended with exit status" in crashed
    assert "Kernel panic - not syncing: sysrq triggered crash" in section(crashed, "lab: console")
    assert "was taken down" in failure(result, "test_another_guest_takes_its_place")
    assert lab.leftovers() == before


def failure(result: pytest.RunResult, test: str) -> str:
    """What is reported of a test that failed."""
    found = re.search(rf"^_+ {test} _+$(.*?)(?=^_+ test_|^=+ )", result.stdout.str(), re.M | re.S)
    assert found, result.stdout.str()
    return found[1]


def section(report: str, title: str) -> str:
    """A section of a report, by how its title begins."""
    found = re.search(rf"^-+ {title}.*?-+\n(.*?)(?=^-+ |\Z)", report, re.M | re.S)
    assert found, report
    return found[1]


def kernel_messages(report: str) -> str:
    return section(report, "lab: kernel messages of this test")


FAILS = """
import pytest

@pytest.mark.lab("nvme-copy")
def test_it_fails(lab_guest):
    lab_guest.run(["touch", "/run/left-by-the-test"])
    assert False
"""
DIES = """
import os, pytest, signal

@pytest.mark.lab("nvme-copy", scope="session")
def test_it_kills_its_worker(lab_guest):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_have_guests_of_their_own_which_may_be_kept(
    lab: Lab, pytester: pytest.Pytester
) -> None:
    before = set(lab.ls())
    pytester.makepyfile(test_fails=FAILS, test_dies=DIES)
    result = pytester.runpytest_subprocess(
        "-n", "2", "--max-worker-restart=0", "--lab-keep", timeout=600
    )
    result.assert_outcomes(failed=2)
    left = re.findall(r"test_it_fails: lab ssh (\S+) goes in, lab down \1", result.stdout.str())
    # One was kept; that of the worker that was killed is gone.
    assert len(left) == 1
    there = set(lab.ls())
    lab("ssh", left[0], "--", "test", "-e", "/run/left-by-the-test")
    lab("down", left[0])
    assert there - before == set(left)
