# SPDX-License-Identifier: GPL-2.0-or-later
"""The suite conformance: its arguments, its exit status, its document."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.cli.show.conformance import show
from lab.copy.contract import Offload, Ruling, Verdict, judge
from lab.copy.model import Completion, Layout
from lab.copy.paths import REFERENCE, find
from lab.copy.plant import Plant
from lab.errors import GuestError, HostError, LabError, ProfileError, UsageError
from lab.faults.model import Point, Stage
from lab.profile.load import load
from lab.suites.conformance.options import ACTIONS, parse
from lab.suites.conformance.quirks import Quirk, propose
from lab.suites.conformance.report import Conformance
from lab.suites.conformance.run import sweeps
from lab.suites.copy_faults.acts import registry
from lab.suites.copy_faults.acts.registry import action_called
from lab.suites.copy_faults.case import CaseResult
from lab.suites.copy_faults.cell import Setup
from lab.suites.copy_faults.report import JudgedCase, Report
from tests.unit.builders import COPY, WINDOW, copied, facts, findings

LAYOUT = Layout(COPY, WINDOW)
MODEL = load("loop-xfs-reflink", [])
NVME = load("nvme-copy", [])


def test_without_arguments_what_every_path_can_be_done_is_compared() -> None:
    asked = parse([])
    assert (asked.paths, asked.ranges, asked.actions, asked.known) == (
        (),
        2,
        registry.named(ACTIONS),
        (),
    )
    for profile, path in ((NVME, "nvme-copy"), (MODEL, REFERENCE), (load("zns", []), "zns-copy")):
        options = asked.options(profile, path)
        assert all(find(profile, path).possible(action) for action in options.selection.actions)
        # The same copy everywhere, whatever the blocks of a path are.
        copy = find(profile, path).layout(options.ranges, options.blocks).copy
        assert [source.sectors for source in copy.sources] == [64, 64]


def test_every_argument_arrives(tmp_path: Path) -> None:
    known = tmp_path / "known.yaml"
    known.write_text(
        "quirks: [{path: zns-copy, device: '*', rule: RECOVERS, situation: '*', consequence: x}]"
    )
    asked = parse(
        ["--paths", "zns-copy,nvme-copy,zns-copy,", "--ranges", "3", "--actions", "eio,kill",
         "--hang-deadline", "2.5", "--quirks", str(known)]
    )  # fmt: skip
    assert asked.paths == ("zns-copy", "nvme-copy")
    assert (asked.ranges, asked.hang_deadline) == (3, 2.5)
    assert asked.actions == (action_called("eio"), action_called("kill"))
    assert [quirk.rule for quirk in asked.known] == ["RECOVERS"]


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        (["--paths", "nvme-copy,warp"], "no offload path warp", "loop-reflink"),
        (["--actions", "explode"], "action 'explode'", "one of resume, eio"),
        (["--ranges", "0"], "--ranges must be positive", ""),
        (["--ranges", "two"], "invalid int value: 'two'", "conformance -- --help"),
        (["--rangs", "2"], "unrecognized arguments: --rangs", "conformance -- --help"),
        (["--path", "zns-copy"], "unrecognized arguments: --path", "conformance -- --help"),
        (["--paths"], "expected one argument", "conformance -- --help"),
        (["--hang-deadline", "0"], "--hang-deadline must be within 3600 s", ""),
        (["--hang-deadline", "3601"], "--hang-deadline must be within 3600 s", ""),
        (["--hang-deadline", "nan"], "--hang-deadline must be within 3600 s", ""),
    ],
)
def test_what_cannot_be_asked_for_is_refused(args: list[str], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(args)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_quirks_that_are_not_there() -> None:
    why = r"/nowhere/quirks.yaml: cannot be read: No such file or directory; .*\(quirks: "
    with pytest.raises(ProfileError, match=why):
        parse(["--quirks", "/nowhere/quirks.yaml"])


def result(
    *broken: str, error: str = "", status: int = 0x280, point: str = "write:1", **seen: Any
) -> CaseResult:
    """A judged case in which these rules are violated; `error` and `status`: what its caller was
    told after the medium had failed."""
    if error:
        seen |= {
            "completion": Completion(status, 0, 0.01, error), "injected": "write 1 failed",
            "findings": findings({}),
        }  # fmt: skip
    case = facts(**seen)
    rules = judge(case) | {rule: Verdict(Ruling.VIOLATED, f"{rule} broken") for rule in broken}
    verdict = "violated" if broken else "holds"
    action = action_called("eio") if error else action_called("resume")
    return CaseResult(Point.parse(point), action, case, rules, verdict, 0.1)


def report(path: str, *results: CaseResult, **changes: Any) -> Report:
    """The report of a path with these cases."""
    profile = MODEL if path == REFERENCE else NVME
    on = find(profile, path)
    cases = [
        JudgedCase(number, Setup(LAYOUT, each.point, each.action, path, on.ref), each)
        for number, each in enumerate(results, 1)
    ]
    made = Report(
        run=f"run-{path}", directory=Path("/nowhere"), suite="copy-faults", profile=profile,
        asked={}, plant=Plant(), path=on, kernel="6.12", qemu="7.2", accelerator="tcg",
        cases=cases,
    )  # fmt: skip
    return replace(made, **changes)


def done(
    *reports: Report, known: tuple[Quirk, ...] = (), error: LabError | None = None
) -> Conformance:
    """A run of the suite with these reports."""
    found = Conformance(
        run="run", directory=Path("/nowhere"), suite="conformance", profile=NVME, asked={},
        known=known, seconds=1.0,
    )  # fmt: skip
    for each in reports:
        found.add(each)
    found.error = error
    return found


WELL = report(REFERENCE, result(), result(error="EIO"))
TORN = result("NO-FOREIGN", error="EIO")
TORN_QUIRK = Quirk(
    path="nvme-copy", device="QEMU 7.*", rule="NO-FOREIGN", situation="write eio",
    consequence="write it anew",
)  # fmt: skip
OTHER_ERROR = result(error="ENODATA")


def only(found: Conformance) -> dict[str, Any]:
    """The only difference in a document, which can be written as JSON."""
    (difference,) = json.loads(json.dumps(found.document()))["differences"]
    assert isinstance(difference, dict)
    return difference


def test_no_difference_ends_with_0() -> None:
    same = done(WELL, report("nvme-copy", result(), result(error="EIO")))
    assert (same.exit_status, same.differences(), same.new()) == (0, [], [])
    document = json.loads(json.dumps(same.document()))
    assert document["reference"] == REFERENCE
    assert document["device"] == "QEMU 7.2, Linux 6.12"
    assert document["differences"] == [] and document["error"] is None
    assert [(column["path"], column["verdicts"]) for column in document["paths"]] == [
        (REFERENCE, {"holds": 2}), ("nvme-copy", {"holds": 2}),
    ]  # fmt: skip
    assert [(case["run"], case["path"], case["situation"]) for case in document["cases"]] == [
        ("run-loop-reflink", REFERENCE, "write resume"),
        ("run-loop-reflink", REFERENCE, "write eio"),
        ("run-nvme-copy", "nvme-copy", "write resume"),
        ("run-nvme-copy", "nvme-copy", "write eio"),
    ]
    assert all(case["rules"].keys() == judge(facts()).keys() for case in document["cases"])


def test_a_new_difference_ends_with_1_and_is_shown_with_both_sides() -> None:
    found = done(WELL, report("nvme-copy", result(), TORN))
    assert found.exit_status == 1
    assert len(found.new()) == 1
    difference = only(found)
    assert (difference["path"], difference["rule"]) == ("nvme-copy", "NO-FOREIGN")
    assert (difference["situation"], difference["known"]) == ("write eio", None)
    assert difference["here"] == {
        "verdict": "violated", "evidence": "NO-FOREIGN broken", "case": "run-nvme-copy:2",
    }  # fmt: skip
    assert difference["reference"]["verdict"] == "holds"
    assert difference["reference"]["case"] == "run-loop-reflink:2"


def test_an_error_of_another_class_is_a_difference() -> None:
    found = done(WELL, report("nvme-copy", OTHER_ERROR))
    assert found.exit_status == 1
    difference = only(found)
    assert difference["rule"] == "ERROR-CLASS"
    assert difference["here"]["evidence"] == "the caller is told ENODATA"
    assert difference["reference"]["evidence"] == "the caller is told EIO"


def test_an_internal_error_is_not_what_happened() -> None:
    found = done(WELL, report("nvme-copy", result(error="EIO", status=0x006)))
    assert found.exit_status == 1
    difference = only(found)
    assert difference["rule"] == "ERROR-CLASS"
    assert "told status 0x6" in difference["here"]["evidence"]
    assert "0x280, Write Fault" in difference["here"]["evidence"]


def test_a_known_quirk_ends_with_0_and_is_shown_all_the_same() -> None:
    found = done(WELL, report("nvme-copy", result(), TORN), known=(TORN_QUIRK,))
    assert (found.exit_status, found.new()) == (0, [])
    assert only(found)["known"] == "write it anew"


def test_a_quirk_of_another_device_or_a_second_difference_does_not_end_with_0() -> None:
    elsewhere = TORN_QUIRK.model_copy(update={"device": "QEMU 10.*"})
    torn = report("nvme-copy", result(), TORN)
    assert done(WELL, torn, known=(elsewhere,)).exit_status == 1
    more = report("nvme-copy", result("SOURCE"), TORN)
    found = done(WELL, more, known=(TORN_QUIRK,))
    assert found.exit_status == 1
    assert [each.rule for each in found.new()] == ["SOURCE"]


def test_what_is_proposed_for_all_differences_makes_them_known() -> None:
    found = done(WELL, report("nvme-copy", result("SOURCE"), TORN, OTHER_ERROR))
    assert len(found.new()) == 3
    accepted = tuple(propose(found.new(), found.device))
    again = done(*found.reports, known=accepted)
    assert (again.exit_status, len(again.differences())) == (0, 3)


def test_a_path_that_is_not_supported_ends_with_1_and_says_why() -> None:
    found = done(WELL, report("nvme-copy", not_supported="EINVAL (Invalid argument)"))
    assert found.exit_status == 1
    column = found.document()["paths"][1]
    assert column["not_supported"] == "EINVAL (Invalid argument)"
    assert found.differences() == []


def test_a_path_that_never_offloaded_a_copy_was_not_compared() -> None:
    emulated = replace(
        result(offload=Offload(against="the device saw no Copy command")), verdict="not exercised"
    )
    assert done(WELL, report("nvme-copy", emulated)).exit_status == 1
    assert done(report(REFERENCE, emulated), report("nvme-copy", result())).exit_status == 1
    # One case that a path did not come to is no reason to mistrust the others.
    unreached = replace(result(reached=False), verdict="not exercised")
    assert done(WELL, report("nvme-copy", result(), unreached)).exit_status == 0


@pytest.mark.parametrize("error", [HostError("QEMU is gone"), GuestError("no answer")])
def test_an_error_of_the_lab_is_no_test_result(error: LabError) -> None:
    broken = done(WELL, report("nvme-copy", TORN, error=error), error=error)
    assert broken.exit_status == 3
    assert broken.document()["error"] == str(error)
    nothing = done(error=error)
    assert nothing.exit_status == 3
    assert nothing.document()["device"] is None


def test_a_profile_with_nothing_to_compare_is_refused() -> None:
    alone = load("loop-xfs-reflink", []).model_copy(update={"layers": ()})
    bare = alone.model_copy(update={"devices": ()})
    with pytest.raises(ProfileError, match="no offload path to compare"):
        list(sweeps(bare, parse([])))


def test_the_reference_comes_first_and_from_where_it_is() -> None:
    def found(profile: str, *args: str) -> list[tuple[str, str]]:
        return [
            (sweep.profile.name, sweep.path.name)
            for sweep in sweeps(load(profile, []), parse(list(args)))
        ]

    assert found("nvme-copy") == [("loop-xfs-reflink", REFERENCE), ("nvme-copy", "nvme-copy")]
    assert found("loop-xfs-reflink") == [
        ("loop-xfs-reflink", REFERENCE), ("loop-xfs-reflink", "fs-clone"),
    ]  # fmt: skip
    assert found("nvme-copy", "--paths", "bdev-cfr,nvme-copy") == [
        ("loop-xfs-reflink", REFERENCE), ("nvme-copy", "bdev-cfr"), ("nvme-copy", "nvme-copy"),
    ]  # fmt: skip
    with pytest.raises(ProfileError, match="has no offload path zns-copy"):
        found("nvme-copy", "--paths", "zns-copy")


def test_a_stage_and_an_action_are_the_situation() -> None:
    case = replace(result(error="EIO"), point=Point(Stage.WRITE, 7))
    (seen,) = done(report("nvme-copy", case)).observed()
    assert str(seen.situation) == "write eio"
    assert (seen.error, seen.exercised) == ("EIO", True)
    assert seen.rules["SOURCE"].case == "run-nvme-copy:1"
    # An error that nothing was done for is no matter of its class, but of the contract.
    own = result(completion=Completion(6, 0, 0.01, "EIO"), findings=findings(copied(0)))
    assert done(report("nvme-copy", own)).observed()[0].error == ""


def printed(found: Conformance, capsys: pytest.CaptureFixture[str]) -> str:
    """What a person sees at a terminal of 80 columns."""
    show(found, parse([]))
    return capsys.readouterr().out


def test_a_person_sees_the_matrix_and_both_sides_of_a_difference(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    found = done(WELL, report("nvme-copy", result("SOURCE"), TORN), known=(TORN_QUIRK,))
    said = printed(found, capsys)
    lines = [line.rstrip() for line in said.splitlines()]
    assert (
        max(map(len, lines[: lines.index("1 new difference, 1 known quirk; 4 cases in 1.0 s")]))
        <= 80
    )
    matrix = [line.split() for line in lines[:3]]
    assert matrix == [
        ["situation", "loop-reflink", "nvme-copy"], ["write", "resume", "holds", "SOURCE"],
        ["write", "eio", "holds", "NO-FOREIGN"],
    ]  # fmt: skip
    assert "SOURCE when write resume: new" in said
    assert "NO-FOREIGN when write eio: known quirk" in said
    assert "write it anew" in said
    assert "SOURCE broken" in said and "lab replay run-nvme-copy:1" in said
    assert "proposed quirks: /nowhere/quirks.yaml" in said


def test_a_person_sees_what_was_not_compared(capsys: pytest.CaptureFixture[str]) -> None:
    said = printed(done(WELL, report("nvme-copy", not_supported="EINVAL")), capsys)
    assert "nvme-copy on LABNVME0:1: not supported: EINVAL" in said
    assert "0 new differences, 0 known quirks" in said
    assert "proposed" not in said
    failed = result(point="read:9", error="EIO", status=0x281)
    alone = printed(done(WELL, report("nvme-copy", failed)), capsys)
    assert ["read", "eio", "·", "holds"] in [line.split() for line in alone.splitlines()]


def test_both_run_on_the_kernel_that_was_asked_for() -> None:
    profile = load("nvme-copy", ['kernel="debian-sid"'])
    assert {sweep.profile.kernel for sweep in sweeps(profile, parse([]))} == {"debian-sid"}
