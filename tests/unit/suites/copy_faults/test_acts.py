# SPDX-License-Identifier: GPL-2.0-or-later
"""What is done to a held copy: which actions do more than to hold, and the tables they swap in."""

import subprocess

import pytest

from lab.copy.contract import Aftermath
from lab.errors import GuestError
from lab.faults.tables import ACTIONS, struck
from lab.suites.copy_faults import fault
from lab.suites.copy_faults.acts.act import Act
from lab.suites.copy_faults.acts.guest import (
    _ADD_RULE,
    _FAIL_NO_MORE,
    _FAIL_REQUEST,
    _NO_RULES,
    _REMOVE_TARGET,
    _SWAP,
)
from lab.suites.copy_faults.acts.registry import OWN
from tests import ROOT

POWER_CUTS = (Aftermath.POWER_LOST, Aftermath.CACHE_KEPT, Aftermath.CACHE_PART)
NEEDS = [act.need.trial for act in OWN if act.need]

ONLY_HOLDS = {"resume", "throttle"}
"""What is done to these copies is to hold them, and to let them go."""

UNHELD = {"concurrent", "eio-unheld", "fail-page-alloc", "failslab", "rehearsal", "size"}
"""The fault layer counts to the request by itself, or there is none."""

ENDS = {"kill", "power-cut", "power-cut-kept", "power-cut-prefix"}
"""QEMU is killed at the point."""


def test_every_act_does_something_or_only_holds() -> None:
    assert {act.name for act in OWN if act.do is None} == ONLY_HOLDS | UNHELD | ENDS


@pytest.mark.parametrize("act", OWN, ids=lambda act: act.name)
def test_a_record_does_not_contradict_itself(act: Act) -> None:
    assert (act.errno != 0) == (act.fault in (fault.fail, fault.fail_unheld, fault.tear))
    assert (act.fault is fault.nothing) == (not act.action.at_a_point)
    assert bool(act.allocation) == act.action.beforehand
    if act.action.ends_guest:
        assert act.aftermath not in (Aftermath.LIVE, Aftermath.UNPLUGGED)
    assert (act.survivors is None) == (act.aftermath not in POWER_CUTS)
    assert not act.hold or act.action.throttles
    assert act.need is None or act.action.layer or act.allocation
    assert bool(act.action.at) == act.action.at_a_point


def test_no_two_acts_have_one_name() -> None:
    assert len({act.name for act in OWN}) == len(OWN)


@pytest.mark.parametrize("act", OWN, ids=lambda act: act.name)
def test_each_is_told_of(act: Act) -> None:
    assert f"| `{act.name}`" in (ROOT / "docs/copy-faults.md").read_text()


def test_every_action_that_strikes_a_device_mapper_layer_has_a_table() -> None:
    assert [act.name for act in OWN if act.action.layer == "device mapper"] == list(ACTIONS)


@pytest.mark.parametrize(
    ("action", "table"),
    [
        # Documentation/admin-guide/device-mapper: error has no arguments; delay has a device, an
        # offset and milliseconds; dm-flakey.rst: up, down, number of features, features.
        ("dm-error", "error"),
        ("dm-delay", "delay 259:3 {offset} 100"),
        ("dm-drop-writes", "flakey 259:3 {offset} 0 3600 1 drop_writes"),
        ("dm-corrupt", "flakey 259:3 {offset} 0 3600 5 corrupt_bio_byte 100 w 170 0"),
    ],
)
@pytest.mark.parametrize(
    ("target", "more"),
    [("linear", ""), ("flakey", " 3600 0"), ("flakey", " 0 3600 1 error_writes")],
)
def test_a_table_keeps_its_place_and_device_and_gets_another_target(
    action: str, table: str, target: str, more: str
) -> None:
    present = f"0 1048576 {target} 259:3 0{more}\n1048576 2048 {target} 259:3 4096{more}\n"
    assert struck(present, action).splitlines() == [
        "0 1048576 " + table.format(offset=0), "1048576 2048 " + table.format(offset=4096),
    ]  # fmt: skip


def test_a_target_that_says_nothing_of_its_blocks_is_not_touched() -> None:
    with pytest.raises(GuestError, match="0 8 zero"):
        struck("0 8 zero", "dm-delay")


@pytest.mark.parametrize(
    "script",
    [_SWAP, _REMOVE_TARGET, _FAIL_REQUEST, _FAIL_NO_MORE, _ADD_RULE, _NO_RULES, *NEEDS],
)
def test_each_is_a_script_that_a_shell_understands(script: str) -> None:
    subprocess.run(["sh", "-nec", script], check=True)
