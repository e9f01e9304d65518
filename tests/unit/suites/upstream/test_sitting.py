# SPDX-License-Identifier: GPL-2.0-or-later
"""A sitting: how what a suite, the kernel and the clock say becomes results with evidence."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from lab.guest.relay import File, Read
from lab.guest.session import Session
from lab.results.cases import Case, CaseStatus
from lab.results.run import Run
from lab.suites.cryptsetup.run import judge
from lab.suites.fstests.output import FstestsReader
from lab.suites.guest import GuestLost
from lab.suites.ledger import Ledger
from lab.suites.upstream.driver import Batch, Command, External
from lab.suites.upstream.marks import MarkReader
from lab.suites.upstream.reader import CaseStart, Reader
from lab.suites.upstream.sitting import FileRequest, Sitting, kept
from lab.suites.upstream.watchdog import Watchdog

NAMES = ["generic/001", "generic/002", "generic/003"]


class Nobody:
    """Watches, and does not care."""

    def progress(self, text: str) -> None: ...
    def on_total(self, cases: int) -> None: ...
    def on_begin(self, title: str) -> None: ...
    def on_case(self, case: Case) -> None: ...


class Suite:
    """fstests, without a guest."""

    def prepare(self, session: Session, section: str) -> None:
        raise AssertionError("nothing is prepared here")

    def command(self, section: str, names: Sequence[str]) -> Command:
        return Command(["check", *names])

    def reader(self, names: Sequence[str]) -> Reader:
        return FstestsReader(names)

    def evidence(self, section: str, name: str) -> Mapping[str, str]:
        return {"full": f"/results/{section}/{name}.full", "out.bad": f"/r/{name}.out.bad"}


class MarkedSuite(Suite):
    """A suite that is a script of the lab's own."""

    def reader(self, names: Sequence[str]) -> Reader:
        return MarkReader(judge)


class ManyFiles(Suite):
    """A suite whose cases leave any number of files."""

    def evidence(self, section: str, name: str) -> Mapping[str, str]:
        return {"*.out": "/r/*.out"}


@pytest.fixture
def run() -> Iterator[Run]:
    with Run("profile", "fstests") as made:
        yield made


@pytest.fixture
def ledger(run: Run) -> Ledger:
    return Ledger(run, Nobody(), known={"xfs:generic/002": "since ever"})


def sitting_of(
    ledger: Ledger, left: list[str], deadline: float | None = None, suite: External | None = None
) -> Sitting:
    batch = Batch("xfs", tuple(left))
    return Sitting(suite or Suite(), batch, left, ledger, Watchdog(deadline))


def told(sitting: Sitting, text: str) -> list[CaseStart | FileRequest]:
    return list(sitting.read(text))


def contents(run: Run, case: Case) -> dict[str, str]:
    return {Path(name).name: (run.directory / name).read_text() for name in case.files}


def test_a_pass_is_written_down_at_once(ledger: Ledger) -> None:
    left = list(NAMES)
    sitting = sitting_of(ledger, left)
    assert told(sitting, "generic/001   3s\n") == [CaseStart("generic/001")]
    assert [(case.title, case.status) for case in ledger.cases] == [("xfs:generic/001", "pass")]
    assert left == NAMES[1:]


def test_a_failure_waits_for_its_evidence_while_the_next_case_runs(
    run: Run, ledger: Ledger
) -> None:
    left = list(NAMES)
    sitting = sitting_of(ledger, left)
    sitting.hear(["before any case"])
    told(sitting, "generic/002 ")
    sitting.hear(["its own message"])
    wanted, _ = told(sitting, "- output mismatch (see x)\n    +wrong\ngeneric/003 ")
    sitting.hear(["of the next case"])
    assert isinstance(wanted, FileRequest)
    assert wanted.paths == ("/results/xfs/generic/002.full", "/r/generic/002.out.bad")
    assert (ledger.cases, sitting.settled, left) == ([], False, NAMES)
    sitting.file(File(wanted.tag, wanted.paths[0], 4, b"all\n"))
    sitting.file(Read(wanted.tag))
    (case,) = ledger.cases
    assert (case.status, case.known, sitting.settled) == (CaseStatus.FAIL, "since ever", True)
    assert contents(run, case) == {
        "full": "all\n",
        "dmesg": "its own message\n",
        "output": "- output mismatch (see x)\n    +wrong",
    }


def passed_over(run: Run) -> list[tuple[str, str]]:
    lines = (run.directory / "timeline.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    return [(each["case"], each["said"]) for each in events if each["event"] == "passed over"]


def test_a_case_that_passed_does_not_pass_again(run: Run, ledger: Ledger) -> None:
    left = list(NAMES)
    sitting = sitting_of(ledger, left)
    assert told(sitting, "generic/001  5s\ngeneric/001  5s\ngeneric/002  1s\n") == [
        CaseStart("generic/001"), CaseStart("generic/002"),
    ]  # fmt: skip
    assert [case.name for case in ledger.cases] == NAMES[:2]
    assert passed_over(run) == [("generic/001", "begins"), ("generic/001", "ends")]


def test_a_case_whose_evidence_is_awaited_does_not_begin_again(run: Run, ledger: Ledger) -> None:
    left = list(NAMES)
    sitting = sitting_of(ledger, left)
    steps = told(sitting, "generic/001 - bad\ngeneric/001 - bad\ngeneric/001  5s\ngeneric/002 ")
    assert [type(step) for step in steps] == [CaseStart, FileRequest, CaseStart]
    sitting.file(Read("generic/001"))
    assert [(case.name, case.status) for case in ledger.cases] == [("generic/001", "fail")]
    assert sitting.case == "generic/002"


@pytest.mark.parametrize(
    "text",
    [
        "== other ends 0\n", "== other begins\n", "== generic/002 ends 1\n",
        f"== generic/001 ends {'9' * 5000}\n", "== generic/001 begins\n",
        "== generic/002 begins\n",
    ],
)  # fmt: skip
def test_words_of_other_cases_end_nothing_and_put_off_no_deadline(
    run: Run, ledger: Ledger, text: str
) -> None:
    sitting = sitting_of(ledger, list(NAMES), 0.0001, MarkedSuite())
    assert told(sitting, "== generic/001 begins\n") == [CaseStart("generic/001")]
    assert told(sitting, text * 50) == []
    assert (sitting.case, ledger.cases) == ("generic/001", [])
    assert len(passed_over(run)) <= 20
    with pytest.raises(GuestLost, match="no end within"):
        while told(sitting, text) == []:
            sitting.check_time()


def test_a_reason_is_a_line_that_can_be_listed(ledger: Ledger) -> None:
    left = list(NAMES)
    sitting = sitting_of(ledger, left)
    told(sitting, f"generic/001 [not run] {'x' * 100_000}\n")
    assert len(ledger.cases[0].reason) <= 1000


def test_a_case_that_is_overdue_costs_the_guest(ledger: Ledger) -> None:
    sitting = sitting_of(ledger, list(NAMES), 0.0001)
    told(sitting, "generic/001 ")
    with pytest.raises(GuestLost, match="no end within") as caught:
        while True:
            sitting.check_time()
    assert caught.value.status is CaseStatus.HUNG


def test_a_lab_that_was_stopped_does_not_call_a_case_overdue(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("lab.suites.upstream.sitting.time.monotonic", lambda: now)
    sitting = sitting_of(ledger, list(NAMES), 60.0)
    told(sitting, "generic/001 ")
    for _ in range(59):
        now += 1
        sitting.check_time()
    now += 500
    sitting.check_time()
    now += 1
    sitting.check_time()
    now += 1
    with pytest.raises(GuestLost, match="no end within 60 s"):
        sitting.check_time()


def test_who_is_buried_has_what_could_be_fetched_and_others_keep_their_results(
    run: Run, ledger: Ledger
) -> None:
    left = list(NAMES)
    sitting = sitting_of(ledger, left)
    told(sitting, "generic/001 - output mismatch\ngeneric/003 ")
    sitting.hear(["Oops: oh"])
    wanted = sitting.so_far()
    sitting.file(File(wanted.tag, wanted.paths[0], 9, b"so far\n"))
    sitting.file(Read(wanted.tag))
    sitting.bury(GuestLost(CaseStatus.CRASHED, "Oops: oh"), "trace\n")
    failed, crashed = ledger.cases
    assert (failed.name, failed.status) == ("generic/001", CaseStatus.FAIL)
    assert (crashed.name, crashed.status, crashed.reason) == (
        "generic/003", CaseStatus.CRASHED, "Oops: oh",
    )  # fmt: skip
    assert contents(run, crashed) == {
        "full": "so far\n", "console": "trace\n", "dmesg": "Oops: oh\n",
    }  # fmt: skip
    assert left == ["generic/002"]


def test_of_files_without_end_some_are_kept_and_the_rest_is_told(run: Run, ledger: Ledger) -> None:
    sitting = sitting_of(ledger, list(NAMES), suite=ManyFiles())
    told(sitting, "generic/001 - bad\ngeneric/002 ")
    for number in range(300):
        sitting.file(File("generic/001", f"/r/{number % 290}.out", 1, b"x"))
    sitting.file(Read("generic/001"))
    assert len(ledger.cases[0].files) == 128 + 2
    lines = (run.directory / "timeline.jsonl").read_text().splitlines()
    (event,) = [each for each in map(json.loads, lines) if each["event"] == "left out"]
    assert (event["case"], event["files"]) == ("generic/001", 300 - 128)
    told(sitting, "- bad\ngeneric/003 ")
    for number in range(20):
        sitting.file(File("generic/002", f"/r/{number}.out", 4 << 20, bytes(4 << 20)))
    sitting.file(Read("generic/002"))
    assert len(ledger.cases[1].files) == 16 + 2


def test_of_a_kernel_that_floods_a_case_has_no_more_than_a_part(run: Run, ledger: Ledger) -> None:
    sitting = sitting_of(ledger, list(NAMES))
    told(sitting, "generic/001 ")
    for _ in range(300):
        sitting.hear(["flood " * 100] * 100)
    told(sitting, "- bad\ngeneric/002 ")
    sitting.file(Read("generic/001"))
    dmesg = contents(run, ledger.cases[0])["dmesg"]
    assert len(dmesg) < 2 << 20
    assert "messages of the kernel are left out here" in dmesg


def test_a_suite_that_ends_in_the_middle_of_a_case_fails_it(ledger: Ledger) -> None:
    sitting = sitting_of(ledger, list(NAMES))
    told(sitting, "generic/001 ")
    (wanted,) = sitting.end(143)
    assert isinstance(wanted, FileRequest)
    sitting.file(Read(wanted.tag))
    (case,) = ledger.cases
    assert (case.status, case.output) == (CaseStatus.FAIL, "the suite ended with status 143")


def test_repetitions_keep_their_evidence_apart(run: Run, ledger: Ledger) -> None:
    for attempt in (1, 2):
        batch = Batch("xfs", ("generic/001",), attempt)
        sitting = Sitting(Suite(), batch, ["generic/001"], ledger, Watchdog())
        told(sitting, "generic/001 ")
        sitting.bury(GuestLost(CaseStatus.HUNG, "no end"))
    assert [case.files for case in ledger.cases] == [
        ("cases/xfs/generic-001/dmesg",), ("cases/xfs/generic-001.2/dmesg",),
    ]  # fmt: skip


def test_results_stand_in_the_timeline(run: Run, ledger: Ledger) -> None:
    ledger.add(Case("generic/001", CaseStatus.PASS, 1.0, section="xfs"))
    lines = (run.directory / "timeline.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["event"] == "case"
    assert json.loads(lines[-1])["status"] == "pass"


def test_what_a_pattern_finds_is_kept_under_the_piece_that_it_stands_for() -> None:
    evidence = {"log": "/r/a.log", "*.out": "/r/*/a.out", "*.out.bad": "/r/*/a.out.bad"}
    assert kept(evidence, "/r/a.log") == "log"
    assert kept(evidence, "/r/nodev/a.out") == "nodev.out"
    assert kept(evidence, "/r/nodev_tr_loop/a.out.bad") == "nodev_tr_loop.out.bad"
