# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of quirks: written and read back, matched by patterns, refused with what is right."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.copy.contract import RULES, Ruling
from lab.errors import ProfileError
from lab.faults.actions import Action
from lab.faults.model import Stage
from lab.suites.conformance import quirks
from lab.suites.conformance.matrix import CaseRuling, RuleDifference, Situation
from lab.suites.conformance.quirks import CONSEQUENCES, Quirk, propose
from lab.suites.copy_faults.acts.registry import action_called, actions

DEVICE = "QEMU 7.2.22 (Debian 1:7.2+dfsg-7), Linux 6.12.117"
EIO = action_called("eio")
VIOLATED = CaseRuling(Ruling.VIOLATED, "as told", "run:1")


def difference(
    path: str = "nvme-copy",
    rule: str = "ERROR-CLASS",
    stage: Stage = Stage.WRITE,
    action: Action = EIO,
) -> RuleDifference:
    """A difference that was seen."""
    return RuleDifference(path, rule, Situation(stage, action), VIOLATED, None)


def quirk(**keys: str) -> Quirk:
    """A quirk that covers difference() on DEVICE, but for what is given."""
    covering = {
        "path": "nvme-copy", "device": DEVICE, "rule": "ERROR-CLASS", "situation": "write eio",
        "consequence": "none",
    }  # fmt: skip
    return Quirk.model_validate(covering | keys)


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
QUIRKS = st.lists(
    st.builds(Quirk, path=TEXT, device=TEXT, rule=TEXT, situation=TEXT, consequence=TEXT)
)
DIFFERENCES = st.builds(
    difference,
    st.sampled_from(["nvme-copy", "zns-copy"]),
    st.sampled_from(list(RULES)),
    st.sampled_from(Stage),
    st.sampled_from(actions()),
)


@given(QUIRKS)
def test_quirks_read_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, wanted: list[Quirk]
) -> None:
    path = tmp_path_factory.mktemp("quirks") / "quirks.yaml"
    path.write_text(quirks.dump(wanted))
    assert quirks.load(path) == wanted


@pytest.mark.parametrize(
    "text", ["0E0", "1e5", ".5", "0o17", "12", "null", "plain words", "a: b", "~"]
)
def test_a_consequence_that_looks_like_a_number_is_read_back_as_text(
    tmp_path: Path, text: str
) -> None:
    wanted = [Quirk(path="", device="", rule="", situation="", consequence=text)]
    path = tmp_path / "quirks.yaml"
    path.write_text(quirks.dump(wanted))
    assert quirks.load(path) == wanted


@pytest.mark.parametrize(
    ("keys", "covered"),
    [
        ({}, True),
        ({"device": "QEMU 7.2*"}, True),
        ({"device": "*, Linux 6.12.*"}, True),
        ({"device": "QEMU 7.2"}, False),
        ({"device": "QEMU 10*"}, False),
        ({"situation": "write *"}, True),
        ({"situation": "* eio"}, True),
        ({"situation": "*"}, True),
        ({"situation": "read eio"}, False),
        ({"situation": "write eio-unheld"}, False),
        ({"path": "zns-copy"}, False),
        ({"rule": "SOURCE"}, False),
        # Patterns are for devices and situations: what is accepted of one path or rule is not
        # accepted of others.
        ({"path": "*"}, False),
        ({"rule": "*"}, False),
    ],
)
def test_a_quirk_covers_what_its_patterns_match(keys: dict[str, str], covered: bool) -> None:
    assert quirk(**keys).covers(difference(), DEVICE) is covered


@given(DIFFERENCES, TEXT | st.text("[]!*?-aQ "))
def test_a_proposed_quirk_covers_the_difference_it_is_proposed_for(
    found: RuleDifference, device: str
) -> None:
    (proposed,) = propose([found], device)
    assert proposed.covers(found, device)


@given(DIFFERENCES, DIFFERENCES)
def test_a_proposed_quirk_covers_nothing_else(one: RuleDifference, other: RuleDifference) -> None:
    (proposed,) = propose([one], DEVICE)
    assert proposed.covers(other, DEVICE) == (one == other)
    assert not proposed.covers(one, f"another {DEVICE}")


def test_every_rule_has_a_consequence_to_propose() -> None:
    assert CONSEQUENCES.keys() == RULES.keys()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("quirks: [", "not valid YAML"),
        ("", "valid dict"),
        ("- a", "a list does not fit"),
        ("quirks: 7", "quirks"),
        ("quirk: []", "quirk"),
        ("quirks: [{path: nvme-copy}]", "consequence"),
        ("quirks: [{path: p, device: d, rule: r, situation: s, consequence: c, why: x}]", "why"),
        ("quirks: [{path: p, device: 7.2, rule: r, situation: s, consequence: c}]", "device"),
    ],
)
def test_what_is_no_file_of_quirks_is_refused_with_what_one_holds(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "quirks.yaml"
    path.write_text(text)
    with pytest.raises(ProfileError) as caught:
        quirks.load(path)
    assert caught.value.message.startswith(f"{path}:1: ")
    assert said in caught.value.message
    assert "path, device, rule, situation, consequence" in caught.value.hint


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "quirks.yaml"
    path.write_bytes(b"\xff\xfe\x00quirks")
    with pytest.raises(ProfileError, match=r"quirks\.yaml:1: byte 0xff") as caught:
        quirks.load(path)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "said"), [("none.yaml", "cannot be read: No such file"), (".", "directory")]
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(ProfileError, match=said) as caught:
        quirks.load(tmp_path / name)
    assert str(tmp_path / name) in caught.value.message
    assert caught.value.hint
