# SPDX-License-Identifier: GPL-2.0-or-later
"""What copies came to, as a mail: findings first."""

from typing import Any

from lab.results.executed import COLUMNS
from lab.results.findings import cells, findings, judged, kept
from lab.results.mail import mail
from lab.results.rules import WORDS


def case(number: int, action: str, sectors: int = 64, **rules: str) -> dict[str, Any]:
    """A judged case in which all rules hold but these."""
    found = {
        rule: {"verdict": rules.get(rule.replace("-", "_"), "holds"), "evidence": f"{rule} seen"}
        for rule in WORDS
    }
    broken = "violated" in rules.values()
    verdict = "violated" if broken else "fell back" if "fell back" in rules.values() else "holds"
    return {
        "number": number, "name": f"write:1 {action}", "action": action, "path": "bdev-cfr",
        "on": "S:1", "copy": {"sources": [[2112, sectors]], "destination": 4096, "unit": 1},
        "rules": found, "verdict": verdict,
    }  # fmt: skip


def run(*cases: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A run's document."""
    return {
        "run": "20261130-120000-abcd", "suite": "copy-faults", "profile": "nvme-copy",
        "kernel": "7.2.13-lab", "kernel_name": "series", "qemu": "7.2.22", "path": "bdev-cfr",
        "on": "S:1", "error": None, "not_supported": None, "lacking": {}, "cases": list(cases),
    } | more  # fmt: skip


def minimised(of: dict[str, Any], sectors: int) -> dict[str, Any]:
    """A case for which a smaller one was found."""
    return of | {"minimised": case(of["number"], of["action"], sectors, COMPLETE="violated")}


FOUND = run(
    case(1, "rehearsal", 64, COMPLETE="violated", RECOVERS="violated"),
    case(2, "eio", 8, COMPLETE="violated"),
    minimised(case(3, "torn", 64, COMPLETE="violated"), 1),
    case(4, "delay"),
    case(5, "resume", OFFLOADED="fell back"),
)


def test_findings_are_rules_in_the_contracts_order_with_their_smallest_case() -> None:
    complete, recovers = findings(judged([FOUND]))
    assert (complete.rule, recovers.rule) == ("COMPLETE", "RECOVERS")
    assert (len(complete.copies), complete.judged) == (3, 5)
    assert complete.faults == {"rehearsal": 1, "eio": 1, "torn": 1}
    assert complete.smallest.name == "20261130-120000-abcd:3.min"
    assert recovers.smallest.name == "20261130-120000-abcd:1"


def test_paths_are_told_apart_and_what_is_broken_most_comes_first() -> None:
    other = run(case(1, "eio", COMPLETE="violated"), profile="null-blk")
    found = findings(judged([other, FOUND]))
    assert [each.where for each in found if each.rule == "COMPLETE"] == [
        "bdev-cfr on nvme-copy (S:1)", "bdev-cfr on null-blk (S:1)",
    ]  # fmt: skip


def test_a_rule_that_said_nothing_neither_holds_nor_is_broken() -> None:
    rules = kept(judged([run(case(1, "eio", LIMITS="n/a"), case(2, "eio", PREFIX="violated"))]))
    (found,) = rules.values()
    assert found["LIMITS"] == (1, 1)
    assert found["PREFIX"] == (1, 2)
    assert found["COMPLETE"] == (2, 2)


def test_cells_are_path_by_fault() -> None:
    found = cells(judged([FOUND, FOUND]))
    assert found["bdev-cfr on nvme-copy (S:1)", "eio"] == {"violated": 2}
    assert found["bdev-cfr on nvme-copy (S:1)", "resume"] == {"fell back": 2}


def test_a_mail_has_findings_first_and_says_what_was_not_exercised() -> None:
    absent = run(profile="zns", not_supported="EINVAL (Invalid argument)")
    text = mail([absent, FOUND])
    order = ["2 of its rules", "1. COMPLETE", "2. RECOVERS", "What holds", "What was not exercised",
             "zns (S:1): not supported: EINVAL", "1 fell back", "On what", "7.2.13-lab (series)",
             "\nAgain\n", "lab run nvme-copy copy-faults --kernel series"]  # fmt: skip
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert "lab replay 20261130-120000-abcd:3.min --times 20" in text
    assert "2112+1 to 4096" in text
    commands = ("lab replay", "lab run", "  lab ")
    assert all(
        len(line) <= COLUMNS or any(word in line for word in commands) for line in text.splitlines()
    )


def test_a_rule_that_several_paths_break_stands_there_once() -> None:
    """With how to see it on each of them, and the smallest copy of all."""
    other = run(case(7, "eio", 512, COMPLETE="violated"), run="20261130-130000-ffff", profile="zns")
    text = mail([other, FOUND])
    assert "2 of its rules" in text
    assert text.count("COMPLETE: ") == 1
    for name in ("20261130-130000-ffff:7", "20261130-120000-abcd:3.min"):
        assert f"     lab replay {name} --times 20\n" in text
    complete = " ".join(text[text.index("1. ") : text.index("2. ")].split())
    assert "zns (S:1), in 1 of 1 copies (eio 1)" in complete
    assert "Smallest: 2112+1 to 4096 (sectors), write:1 torn (bdev-cfr on nvme-copy" in complete


def test_where_nothing_is_broken_there_are_no_findings() -> None:
    text = mail([run(case(1, "eio"))])
    assert text.startswith("0 of 1 judged copies, on 1 paths, broke the contract: 0 of its rules.")
    assert "What was not exercised" not in text
