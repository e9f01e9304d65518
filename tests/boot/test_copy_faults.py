# SPDX-License-Identifier: GPL-2.0-or-later
"""A copy interrupted at every point, and an oracle that can fail."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from lab.copy.plant import KINDS
from tests.boot.conftest import Lab, make_lab

ALIVE = "resume,eio,enospc,torn,corrupt,throttle,delay"

# Where each kind of defect can do its harm: points and actions.
WHERE = {
    "drop-flushed-write": ("flushed", "power-cut"),
    "swallow-error": ("write:2", "eio"),
    "fall-back": ("write:2", "eio"),
    "overstate-progress": ("write:2", "eio"),
    "fault-stays": ("read:3", "eio"),
    "hide-corruption": ("write:2", "corrupt"),
    "tear-cached-block": ("written:2", "power-cut-kept"),
}


ON_EVERY_COPY = {"flip-bit", "touch-neighbour", "change-source", "drop-last-range", "no-copy"}
"""What shows where nothing is done to the copy, too."""

# The one cell in which some versions of QEMU abort (docs/findings.md): that is their defect, and
# the lab must say so and go on.
MAY_CRASH = ("read:1", "eio")


def crashed(case: dict[str, Any]) -> bool:
    """Whether QEMU crashed in this case; everything else about it must hold then."""
    violated = [rule for rule, found in case["rules"].items() if found["verdict"] == "violated"]
    evidence = case["rules"]["NO-HANG"]["evidence"]
    return violated == ["NO-HANG"] and "QEMU was killed by signal 6" in evidence


def test_every_point_without_killing_the_guest(lab: Lab, guest: str) -> None:
    run = lab.faults("--actions", ALIVE, on=guest, status=None)
    cells = {(case["point"], case["action"]): case for case in run["cases"]}
    assert len(cells) == 54
    if crashed(cells[MAY_CRASH]):
        del cells[MAY_CRASH]
    assert {case["verdict"] for case in cells.values()} == {"holds"}
    for k in range(1, 5):
        done = 64 * (k - 1)
        # The k-th range failed: those before it are new, those from it on are old.
        for point, action, new in (
            (f"read:{k}", "eio", done),
            (f"write:{k}", "eio", done),
            (f"write:{k}", "enospc", done),
            (f"write:{k}", "torn", done + 32),
        ):
            if (point, action) not in cells:
                continue
            outcome = cells[point, action]["outcome"]
            expected = ", ".join(
                f"{count} {state}" for count, state in ((new, "new"), (256 - new, "old")) if count
            )
            assert outcome["destination"] == expected, (point, action)
            assert outcome["completion"]["status"] != 0
            assert outcome["completion"]["dw0"] == k - 1
            assert cells[point, action]["rules"]["SIGNALLED"]["verdict"] == "holds"
    for (_, action), case in cells.items():
        found = {rule for rule, each in case["rules"].items() if each["verdict"] == "caught"}
        assert found == ({"COMPLETE", "NO-FOREIGN"} if action == "corrupt" else set())
        if action in ("throttle", "delay"):
            assert case["outcome"]["completion"]["status"] == 0
            # Unheld it takes some milliseconds.  Throttle waits 0.1 s from sending the request,
            # which takes its time to reach the guest, whose clock this is.
            assert case["outcome"]["seconds"] >= {"throttle": 0.05, "delay": 0.25}[action]
    minutes = sum(case["seconds"] for case in cells.values()) / 60
    assert len(cells) / minutes >= 120


def test_a_case_shows_each_of_its_sectors(lab: Lab, guest: str, tmp_path: Path) -> None:
    """In its document, at the terminal, and drawn on its page."""
    words = ("--points", "write:2", "--actions", "torn", "--plant", "touch-neighbour")
    run = lab.faults(*words, on=guest, status=1)
    case = next(case for case in run["cases"] if case["action"] == "torn")
    copy, seen = case["copy"], case["sectors"]
    end = copy["destination"] + sum(sectors for _, sectors in copy["sources"])
    assert seen["struck"] == [copy["destination"] + 64, 64]
    assert seen["copied"]["destination"] == "96 new, 160 old"
    assert seen["copied"]["changed"] == f"{end}+1 foreign"
    assert seen["recovered"]["destination"] == "256 new"
    name = f"{run['run']}:{case['number']}"
    said = lab("results", "show", f"{run['run']}:write:2,torn").stdout.splitlines()
    assert max(map(len, said)) <= 80
    row = next(line for line in said if line.split()[:1] == [str(copy["destination"] + 64)])
    assert row.split()[1:] == ["n" * 32 + "o" * 32, "◄"]
    assert next(line for line in said if line.split()[:1] == [str(end)]).split()[1][:2] == "X·"
    assert said[0].startswith(name) and any(f"sectors: {end}+1" in line for line in said)
    asked = lab("results", "html", str(tmp_path), "--run", run["run"]).stdout.splitlines()
    assert asked[-1] == (tmp_path / f"{run['run']}.html").as_uri()
    page = (tmp_path / f"{name.replace(':', '.')}.html").read_text()
    assert page.count("<svg") == 3 and "var(--foreign)" in page and "held for" in page
    assert "NEIGHBOUR is violated" in page


def test_kill_and_power_cut(lab: Lab) -> None:
    run = lab.faults("--actions", "kill,power-cut", "--points", "read:2,written:3,flushed")
    assert run["verdicts"] == {"holds": 6}
    found = {
        (case["point"], case["action"]): case["outcome"]["destination"] for case in run["cases"]
    }
    # What was written is on the medium after a kill, and gone after a power cut: not flushed.
    assert found["read:2", "kill"] == "64 new, 192 old"
    assert found["read:2", "power-cut"] == "256 old"
    assert found["written:3", "kill"] == "192 new, 64 old"
    assert found["written:3", "power-cut"] == "256 old"
    assert found["flushed", "power-cut"] == found["flushed", "kill"] == "256 new"
    durable = {
        case["action"]: case["rules"]["DURABLE"]["verdict"]
        for case in run["cases"]
        if case["point"] == "flushed"
    }
    assert durable == {"kill": "holds", "power-cut": "holds"}


def test_what_survives_of_the_cache(lab: Lab) -> None:
    run = lab.faults(
        "--actions", "power-cut-kept,power-cut-prefix", "--points", "written:3,completed,flushed"
    )
    assert run["verdicts"] == {"holds": 6}
    cells = {(case["point"], case["action"]): case for case in run["cases"]}
    found = {cell: case["outcome"]["destination"] for cell, case in cells.items()}
    assert found["written:3", "power-cut-kept"] == "192 new, 64 old"
    assert found["completed", "power-cut-kept"] == "256 new"
    assert cells["completed", "power-cut-kept"]["rules"]["COMPLETE"]["verdict"] == "holds"
    # Some first part of what was written, drawn from the case: the same each time.
    assert found["written:3", "power-cut-prefix"] == "53 new, 203 old"
    assert found["completed", "power-cut-prefix"] == "12 new, 244 old"
    for action in ("power-cut-kept", "power-cut-prefix"):
        assert found["flushed", action] == "256 new"
        assert cells["flushed", action]["rules"]["DURABLE"]["verdict"] == "holds"


def test_a_reset_in_mid_copy_is_judged_whatever_the_device_makes_of_it(
    lab: Lab, guest: str
) -> None:
    run = lab.faults("--actions", "reset", "--points", "write:2", on=guest, status=None)
    assert run["error"] is None
    (case,) = run["cases"]
    outcome = case["outcome"]
    assert outcome["disturbed"] == "the controller was reset" or case["verdict"] == "violated"
    if case["verdict"] == "violated":
        # Some versions of QEMU crash or hang: that is theirs.
        assert "NO-HANG" in {
            rule for rule, found in case["rules"].items() if found["verdict"] == "violated"
        }
    else:
        # It waited for the held write, which thus came while the copy was in the device.
        assert outcome["seconds"] > 1
        assert outcome["completion"]["status"] != 0


def test_a_controller_that_is_unplugged_in_mid_copy_comes_back(lab: Lab) -> None:
    run = lab.faults("--actions", "unplug", "--points", "write:2")
    (case,) = run["cases"]
    assert case["verdict"] == "holds"
    assert case["outcome"]["aftermath"] == "controller removed"
    events = (lab.state / "lab/runs" / run["run"] / "timeline.jsonl").read_text()
    assert '"event": "DEVICE_DELETED"' in events
    assert case["rules"]["RECOVERS"]["verdict"] == "holds"


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"stale-cache", "no-limits"}))
def test_every_planted_defect_is_caught_by_its_rule(lab: Lab, guest: str, kind: str) -> None:
    points, actions = WHERE.get(kind, ("write:2", "resume"))
    run = lab.faults(
        "--plant", kind, "--points", points, "--actions", actions, "--hang-deadline", "2",
        on=guest, status=1,
    )  # fmt: skip
    (case,) = run["cases"]
    assert case["rules"][KINDS[kind].rule]["verdict"] == KINDS[kind].ruling
    assert case["rules"][KINDS[kind].rule]["evidence"]
    assert case["verdict"] == KINDS[kind].ruling
    if kind in ON_EVERY_COPY:
        assert run["rehearsal"]["rules"][KINDS[kind].rule]["verdict"] == KINDS[kind].ruling


def test_a_size_that_is_not_refused_is_caught(lab: Lab, guest: str) -> None:
    run = lab.faults("--plant", "no-limits", "--actions", "size", on=guest, status=1)
    found = {case["name"]: case["rules"]["LIMITS"]["verdict"] for case in run["cases"]}
    assert found["at msrc"] == "holds"
    assert found["above msrc"] == "violated"


def test_plant_help_lists_the_kinds(lab: Lab) -> None:
    lines = lab("run", "nvme-copy", "copy-faults", "--", "--plant", "help").stdout.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == list(KINDS)


def test_the_run_directory_holds_the_evidence(lab: Lab, guest: str) -> None:
    run = lab.faults("--points", "write:1", "--actions", "eio", on=guest)
    directory = lab.state / "lab/runs" / run["run"]
    names = {path.name for path in directory.iterdir()}
    assert {
        "timeline.jsonl", "console.log", "argv.json", "profile.json", "run.json", "write-log-000"
    } <= names  # fmt: skip
    assert "lab: ready" in (directory / "console.log").read_text()
    events = (directory / "timeline.jsonl").read_text()
    for event in ("held", "inject", "release", "completion", "copy_source_range", "verdict"):
        assert f'"event": "{event}"' in events


def test_a_failing_case_is_bundled_and_replayed_elsewhere(
    lab: Lab, guest: str, tmp_path: Path
) -> None:
    run = lab.faults("--plant", "swallow-error", "--points", "write:2", "--actions", "eio,delay",
                     on=guest, status=1)  # fmt: skip
    bundle = tmp_path / "case.tar.gz"
    done = lab("results", "bundle", run["run"], str(bundle))
    assert "left out" not in done.stderr
    with tarfile.open(bundle) as tar:
        names = {member.name.partition("/")[2] for member in tar}
    assert {"kernel.config", "kernel.log", "argv.json", "write-log-000"} <= names
    elsewhere = make_lab(tmp_path / "elsewhere")
    again = json.loads(elsewhere("replay", str(bundle), "--json").stdout)
    assert (again["same"], again["differences"]) == ([True], [])
    assert again["recorded"]["rules"]["SIGNALLED"] == "violated"
    assert again["replay_of"] == f"{run['run']}:1"
    assert elsewhere.leftovers() == []
