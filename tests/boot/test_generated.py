# SPDX-License-Identifier: GPL-2.0-or-later
"""Generated copies on a real guest: no false alarm, small reports, and the same verdict again."""

import json
import re
from typing import Any

import pytest

from tests.boot.conftest import Lab

ALIVE = ("--actions", "resume,eio,enospc,torn")
# Not read:1 eio, in which some versions of QEMU abort (docs/findings.md).
POINTS = ("--points", "read:2,write:1,write:2,write:4,written:1,written:3")


def replay(lab: Lab, case: str, *words: str, status: int = 0) -> dict[str, Any]:
    """A replay's JSON."""
    document: dict[str, Any] = json.loads(
        lab("replay", case, "--json", *words, status=status).stdout
    )
    return document


def test_generated_cases_hold_and_a_seed_draws_them_again(lab: Lab, guest: str) -> None:
    run = lab.faults("--cases", "40", *ALIVE, *POINTS, on=guest)
    assert run["verdicts"] == {"holds": 40}
    assert run["options"]["mode"] == "generated"
    assert [case["number"] for case in run["cases"]] == list(range(1, 41))
    assert len({case["name"] for case in run["cases"]}) > 5
    assert len({len(case["copy"]["sources"]) for case in run["cases"]}) > 3
    seed = str(run["options"]["seed"])
    again = lab.faults("--cases", "5", "--seed", seed, *ALIVE, *POINTS, on=guest)
    for case, drawn in zip(again["cases"], run["cases"], strict=False):
        assert {key: case[key] for key in ("name", "copy", "window")} == {
            key: drawn[key] for key in ("name", "copy", "window")
        }


def test_the_seed_that_was_drawn_is_printed(lab: Lab, guest: str) -> None:
    done = lab(
        "run", "nvme-copy", "copy-faults", "--on", guest, "--", "--cases", "1",
        "--actions", "resume",
    )  # fmt: skip
    (told,) = re.findall(r"^seed (\d+)$", done.stderr, re.MULTILINE)
    assert f"drawn from seed {told}" in done.stdout


def test_a_case_replays_to_the_same_verdict_20_times_of_20(lab: Lab, guest: str) -> None:
    run = lab.faults("--points", "write:2", "--actions", "torn", "--ranges", "3", on=guest)
    done = replay(lab, f"{run['run']}:write:2,torn", "--times", "20")
    assert done["replay_of"] == f"{run['run']}:1"
    assert done["same"] == [True] * 20
    assert done["differences"] == []
    (recorded,) = run["cases"]
    for case in done["cases"]:
        for key in ("copy", "window", "name", "verdict"):
            assert case[key] == recorded[key]
        assert case["outcome"]["destination"] == recorded["outcome"]["destination"]


def test_a_failing_case_is_minimised_and_replays(lab: Lab, guest: str) -> None:
    run = lab.faults(
        "--cases", "3", "--seed", "1", "--plant", "wrong-range", "--points", "write:3,written:4",
        "--actions", "resume", on=guest, status=1,
    )  # fmt: skip
    assert run["verdicts"] == {"violated": 3}
    small = [case["minimised"] for case in run["cases"] if "minimised" in case]
    # The plant puts the data of the last block where the first one's belongs: it takes two.
    assert small
    for case in small:
        assert sum(sectors for _, sectors in case["copy"]["sources"]) == 2
        assert case["rules"]["NO-FOREIGN"]["verdict"] == "violated"
    number = next(case["number"] for case in run["cases"] if "minimised" in case)
    done = replay(lab, f"{run['run']}:{number}.min", "--times", "3")
    assert done["same"] == [True] * 3
    assert done["plant"] == "wrong-range"
    assert done["verdicts"] == {"violated": 3}


def test_another_verdict_ends_with_1(lab: Lab, guest: str) -> None:
    run = lab.faults("--points", "write:2", "--actions", "resume", on=guest)
    path = lab.state / "lab/runs" / run["run"] / "run.json"
    run["cases"][0]["verdict"] = "violated"
    run["cases"][0]["rules"]["SOURCE"]["verdict"] = "violated"
    path.write_text(json.dumps(run | {"kernel": "2.4.18"}))
    done = lab("replay", f"{run['run']}:1", status=1)
    assert "recorded: violated SOURCE" in done.stdout
    assert "1: holds: NOT the same" in done.stdout
    assert "0 of 1 came to the same" in done.stdout
    assert "kernel was 2.4.18, is " in done.stderr


def test_what_cannot_be_replayed_ends_with_2(lab: Lab) -> None:
    assert "no run " in lab("replay", "20200101-000000-0000:1", status=2).stderr
    assert "no run nonsense" in lab("replay", "nonsense", status=2).stderr
    assert "expected RUN or RUN:CASE" in lab("replay", ":1", status=2).stderr


def test_copies_and_writes_at_once_leave_what_some_order_leaves(lab: Lab, guest: str) -> None:
    # Whether two of a crowd run at the same time is the guest's scheduler's to say, and with that
    # the status.
    asked = ("--actions", "concurrent", "--cases", "20", "--ranges", "3")
    run = lab.faults(*asked, on=guest, status=None)
    assert run["verdicts"].keys() <= {"holds", "not exercised"} and run["verdicts"]["holds"]
    assert sum(run["verdicts"].values()) == 20 and not run["error"]
    rivals = [case["rivals"] for case in run["cases"]]
    assert any(each["copies"] for each in rivals)
    assert any(each["writes"] for each in rivals)
    offloaded = {case["rules"]["OFFLOADED"]["verdict"] for case in run["cases"]}
    assert offloaded == {"holds", "n/a"}
    # A sweep has some as well, and each can be carried out again.
    asked = ("--actions", "concurrent", "--ranges", "2", "--blocks", "16")
    swept = lab.faults(*asked, on=guest, status=None)
    assert swept["verdicts"].keys() <= {"holds", "not exercised"} and swept["verdicts"]["holds"]
    assert not swept["error"]
    again = replay(lab, f"{swept['run']}:3", "--times", "2")
    assert again["same"] == [True, True]
    assert [case["rivals"] for case in again["cases"]] == [swept["cases"][2]["rivals"]] * 2


@pytest.mark.parametrize(("plant", "rule"), [("flip-bit", "NO-FOREIGN"), ("no-copy", "COMPLETE")])
def test_what_is_wrong_with_copies_at_once_is_noticed(
    lab: Lab, guest: str, plant: str, rule: str
) -> None:
    args = ("--cases", "2", "--seed", "4", "--actions", "concurrent", "--plant", plant)
    run = lab.faults(*args, on=guest, status=1)
    assert all(case["rules"][rule]["verdict"] == "violated" for case in run["cases"])
