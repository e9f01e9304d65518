"""What is done to a held copy: which actions do more than to hold, and the tables they swap in."""

import subprocess

import pytest

from lab.errors import GuestError
from lab.faults.actions import Action
from lab.faults.tables import ACTIONS, struck
from lab.suites.copy_faults.acts.ability import _TRIALS
from lab.suites.copy_faults.acts.guest import (
    _ADD_RULE,
    _FAIL_NO_MORE,
    _FAIL_REQUEST,
    _NO_RULES,
    _REMOVE_TARGET,
    _SWAP,
)
from lab.suites.copy_faults.acts.host import ACTS

ONLY_HOLDS = {"resume", "throttle"}
"""What is done to these copies is to hold them, and to let them go."""

UNHELD = {"eio-unheld", "rehearsal", "size"}
"""The fault layer counts to the request by itself."""

ENDS = {action for action in Action if action.ends_guest} - {Action.SYSRQ_CRASH}
"""QEMU is killed at the point."""


def test_every_action_has_an_act_or_only_holds() -> None:
    assert set(Action) - ACTS.keys() == ONLY_HOLDS | UNHELD | ENDS


def test_every_action_that_strikes_a_device_mapper_layer_has_a_table() -> None:
    assert {action for action in Action if action.layer == "device mapper"} == set(ACTIONS)


@pytest.mark.parametrize(
    ("action", "table"),
    [
        # Documentation/admin-guide/device-mapper: error has no arguments; delay has a device, an
        # offset and milliseconds; dm-flakey.rst: up, down, number of features, features.
        (Action.DM_ERROR, "error"),
        (Action.DM_DELAY, "delay 259:3 {offset} 100"),
        (Action.DM_DROP_WRITES, "flakey 259:3 {offset} 0 3600 1 drop_writes"),
        (Action.DM_CORRUPT, "flakey 259:3 {offset} 0 3600 5 corrupt_bio_byte 100 w 170 0"),
    ],
)
@pytest.mark.parametrize(
    ("target", "more"),
    [("linear", ""), ("flakey", " 3600 0"), ("flakey", " 0 3600 1 error_writes")],
)
def test_a_table_keeps_its_place_and_device_and_gets_another_target(
    action: Action, table: str, target: str, more: str
) -> None:
    present = f"0 1048576 {target} 259:3 0{more}\n1048576 2048 {target} 259:3 4096{more}\n"
    assert struck(present, action).splitlines() == [
        "0 1048576 " + table.format(offset=0), "1048576 2048 " + table.format(offset=4096),
    ]  # fmt: skip


def test_a_target_that_says_nothing_of_its_blocks_is_not_touched() -> None:
    with pytest.raises(GuestError, match="0 8 zero"):
        struck("0 8 zero", Action.DM_DELAY)


@pytest.mark.parametrize(
    "script",
    [_SWAP, _REMOVE_TARGET, _FAIL_REQUEST, _FAIL_NO_MORE, _ADD_RULE, _NO_RULES, *_TRIALS.values()],
)
def test_each_is_a_script_that_a_shell_understands(script: str) -> None:
    subprocess.run(["sh", "-nec", script], check=True)
