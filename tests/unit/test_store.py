# SPDX-License-Identifier: GPL-2.0-or-later
"""The store: fed from runs, asked, migrated; and what is made of it for others."""

import json
import multiprocessing
import sqlite3
from pathlib import Path
from typing import Any

import kcidb_io
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, func, inspect, select, text

from lab.errors import HostError, UsageError
from lab.host import dirs
from lab.results.baseline import Comparison, compared
from lab.results.kcidb import report
from lab.results.markdown import summary
from lab.results.runs import spelled_out
from lab.results.store import feed as feeding
from lab.results.store.database import session, url
from lab.results.store.feed import RunLeftOut, case_rows, feed
from lab.results.store.query import cases_of, run_named
from lab.results.store.schema import Base, CaseRow, RunRow

LEFT = {"COMPLETE": "holds", "PREFIX": "holds", "FUA": "not applicable"}


def write_run(number: int, cases: list[dict[str, Any]], **other: Any) -> str:
    """A run that has ended, as suites leave it; its id."""
    run = f"20261124-0000{number:02d}-{number:04x}"
    document = {
        "run": run, "suite": "copy-faults", "profile": "nvme-copy", "options": {"seed": None},
        "kernel": "6.12.1", "qemu": "7.2.22", "accelerator": "tcg", "cases": cases,
        "seconds": 12.5, "error": None, **other,
    }  # fmt: skip
    directory = dirs.state("runs", run)
    (directory / "run.json").write_text(json.dumps(document))
    profile = {"kernel": other.get("source", "debian")}
    if "qemu_name" in other:
        profile["machine"] = {"qemu": other["qemu_name"]}
    (directory / "profile.json").write_text(json.dumps(profile))
    return run


def judged(name: str, verdict: str = "holds", broken: str = "") -> dict[str, Any]:
    """A case as copy-faults writes it."""
    rules = {
        rule: {"verdict": "violated" if rule == broken else found, "evidence": "sector 9 is old"}
        for rule, found in LEFT.items()
    }
    return {"number": 1, "name": name, "verdict": verdict, "seconds": 0.5, "rules": rules}


def ran(name: str, status: str = "pass", attempt: int = 1) -> dict[str, Any]:
    """A case as the other suites write it."""
    return {"name": name, "status": status, "seconds": 2.0, "attempt": attempt, "section": "xfs",
            "reason": "" if status == "pass" else "output mismatch"}  # fmt: skip


def fed() -> list[str]:
    with session() as store:
        return feed(store)


def compare_runs(base: str, run: str) -> Comparison:
    with session() as store:
        feed(store)
        return compared(store, [run_named(store, base)], [run_named(store, run)])


def test_each_run_is_taken_in_once() -> None:
    one = write_run(1, [judged("write:1 eio"), judged("write:2 eio", "violated", "PREFIX")])
    two = write_run(2, [ran("generic/430"), ran("generic/431", "notrun")], suite="fstests")
    assert fed() == [one, two]
    assert fed() == []
    with session() as store:
        first = run_named(store, one)
        assert (first.suite, first.kernel, first.release) == ("copy-faults", "debian", "6.12.1")
        assert first.started.isoformat().startswith("2026-11-24T00:00:01")
        good, bad = cases_of(store, [one])
        assert (good.status, good.rules) == ("pass", {"COMPLETE": "", "PREFIX": ""})
        assert (bad.status, bad.reason) == ("fail", "PREFIX: sector 9 is old")
        assert bad.rules == {"COMPLETE": "", "PREFIX": "sector 9 is old"}
        assert [case.name for case in cases_of(store, [two])] == [
            "xfs:generic/430",
            "xfs:generic/431",
        ]


def test_a_run_that_was_broken_off_stays_out() -> None:
    run = write_run(1, [])
    (dirs.state("runs") / run / "run.json").unlink()
    assert fed() == []


def test_a_document_that_says_something_else_keeps_no_other_run_out() -> None:
    write_run(1, [{"title": "of another lab"}])
    good = write_run(2, [judged("write:1 eio")])
    assert fed() == [good]


def test_a_run_that_the_database_refuses_is_told_and_keeps_no_other_out() -> None:
    bad = write_run(1, [ran("a"), ran("a", attempt=2**70)])
    good = write_run(2, [judged("write:1 eio")])
    with pytest.warns(RunLeftOut, match=f"the store does not take run {bad}: "):
        assert fed() == [good]
    # Each time, as long as it is there.
    with pytest.warns(RunLeftOut, match=bad):
        assert fed() == []
    with session() as store:
        assert [case.name for case in store.scalars(select(CaseRow))] == ["write:1 eio"]


@pytest.mark.parametrize("times", [{"seconds": float("nan")}, {"boot": [1]}, {"boot": "long"}])
def test_a_time_that_is_none_keeps_no_other_run_out(times: dict[str, Any]) -> None:
    write_run(1, [judged("write:1 eio")], **times)
    good = write_run(2, [judged("write:1 eio")])
    assert fed() == [good]


def test_cases_with_one_name_are_told_apart_but_repetitions_are_not() -> None:
    drawn = [{**judged("write:1 eio"), "number": number} for number in (1, 2)]
    repeated = [ran("a", attempt=1), ran("a", attempt=2)]
    names = [row["name"] for row in case_rows({"cases": [*drawn, *repeated, ran("b")]})]
    assert names == ["write:1 eio #1", "write:1 eio #2", "xfs:a", "xfs:a", "xfs:b"]


def test_a_run_is_found_by_the_beginning_of_its_id() -> None:
    one, two = write_run(1, []), write_run(2, [])
    fed()
    with session() as store:
        assert run_named(store, one[:16]).id == one
        assert run_named(store, "latest").id == two
        for name, said in (("2026", "more than one run"), ("nope", "no run"), ("%", "no run")):
            with pytest.raises(UsageError, match=said):
                run_named(store, name)


def test_the_latest_of_no_runs() -> None:
    with session() as store, pytest.raises(UsageError, match="no run yet"):
        run_named(store, "latest")
    assert spelled_out("latest:1") == "latest:1"


def test_a_run_by_what_only_one_begins_with() -> None:
    one, two = (dirs.state("runs", f"20260101-00000{k}-1a2b").name for k in (1, 2))
    for given, meant in (
        ("latest", two), ("latest:write:2,eio", f"{two}:write:2,eio"), (f"{one}:4", f"{one}:4"),
        ("20260101-000001:4", f"{one}:4"), ("20260101-000001-1a", one),
        # More than one, none, and what is no run's.
        ("20260101", "20260101"), ("20260102:1", "20260102:1"), ("./latest", "./latest"),
        ("lab-latest.tar.gz:1", "lab-latest.tar.gz:1"), ("nvme-copy", "nvme-copy"), ("", ""),
    ):  # fmt: skip
        assert spelled_out(given) == meant


def test_cases_and_rules_are_compared() -> None:
    base = write_run(1, [judged("write:1 eio"), judged("write:2 eio", "violated", "PREFIX")])
    run = write_run(
        2, [judged("write:1 eio", "violated", "COMPLETE"), judged("write:2 eio")], kernel="6.13"
    )
    found = compare_runs(base, run)
    assert found.exit_status == 1
    document = found.document()
    assert document["cases"] == {"regressed": 1, "fixed": 1}
    assert document["rules"] == {"regressed": 1, "fixed": 1, "same": 2}
    assert document["changes"][0] == {
        "change": "regressed", "suite": "copy-faults", "profile": "nvme-copy",
        "case": "write:1 eio", "rule": None, "baseline": {"passed": 1, "ran": 1},
        "run": {"passed": 0, "ran": 1}, "reason": "COMPLETE: sector 9 is old", "hosts": None,
    }  # fmt: skip
    text = summary(found, "A Tester <a@example.org>")
    assert "# Cases and rules: 2 regressed" in text
    assert "**write:1 eio: COMPLETE** passed 0 of 1, before 1 of 1: sector 9 is old" in text
    assert "lab run nvme-copy copy-faults --kernel debian" in text
    assert "Tested-by" not in text


def test_runs_like_the_baseline_tell_how_flaky_it_is() -> None:
    for number in range(1, 11):
        status = "fail" if number == 4 else "pass"
        base = write_run(number, [ran("generic/013", status)], suite="fstests")
    again = write_run(20, [ran("generic/013", "fail")], suite="fstests", kernel="6.13")
    found = compare_runs(base, again)
    (case,) = found.cases
    assert (case.change, str(case.baseline), str(case.tally)) == ("flaky", "9 of 10", "0 of 1")
    assert found.exit_status == 0
    thrice = [ran("generic/013", "fail", attempt) for attempt in (1, 2, 3)]
    assert (
        compare_runs(base, write_run(21, thrice, suite="fstests", kernel="6.13")).exit_status == 1
    )


def test_a_run_in_another_qemu_is_no_history(tmp_path: Path) -> None:
    # It passes in the host's QEMU, and always fails in another: that is no flakiness.
    other = {"qemu": "11.1.3 (Debian 1:11.1.3+ds-1)", "qemu_name": "q11"}
    for number in range(1, 4):
        write_run(number, [judged("a", "violated", "PREFIX")], **other)
    base = write_run(5, [judged("a")])
    run = write_run(6, [judged("a", "violated", "PREFIX")], **other)
    comparison = compare_runs(base, run)
    assert [str(one.change) for one in comparison.cases] == ["regressed"]
    assert str(comparison.cases[0].baseline) == "1 of 1"
    document = comparison.document()
    assert [each["qemu_name"] for each in (*document["base"], *document["runs"])] == ["host", "q11"]
    text = summary(comparison, "A Tester <a@example.org>")
    assert "QEMU 11.1.3 against 7.2.22." in text
    assert "lab run nvme-copy copy-faults --kernel debian --qemu q11" in text


def test_a_run_is_no_history_of_its_own_baseline() -> None:
    base = write_run(1, [judged("write:1 eio")])
    run = write_run(2, [judged("write:1 eio", "violated", "PREFIX")])
    assert compare_runs(base, run).document()["cases"] == {"regressed": 1}


def test_all_well_is_worth_a_tag() -> None:
    base, run = (write_run(number, [judged("write:1 eio")]) for number in (1, 2))
    text = summary(compare_runs(base, run), "A Tester <a@example.org>")
    assert text.startswith("# No regressions\n")
    assert "    Tested-by: A Tester <a@example.org>\n" in text


def test_what_a_guest_says_stays_in_its_line() -> None:
    evil = "6.12\n# All well | <b>[here](http://example.org)"
    base = write_run(1, [judged("write:1 eio")], kernel=evil)
    run = write_run(2, [judged("write:1 eio", "violated", "PREFIX")], kernel=evil)
    text = summary(compare_runs(base, run), "A Tester <a@example.org>")
    line = "6.12 # All well | &lt;b>\\[here](http://example.org)"
    assert f"Kernel {line} against {line}." in text
    assert line.replace("|", "\\|") in text
    assert "\n# All" not in text and "<b>" not in text


def test_a_failure_of_the_lab_is_never_a_result() -> None:
    base = write_run(1, [judged("write:1 eio")])
    run = write_run(2, [judged("write:1 eio")], error="the guest died | badly\nconsole")
    found = compare_runs(base, run)
    assert found.exit_status == 3
    text = summary(found, "A Tester <a@example.org>")
    assert "The lab failed in 1 of 1 runs" in text
    assert "the guest died \\| badly |" in text
    assert "Tested-by" not in text


def test_runs_that_have_nothing_in_common() -> None:
    base = write_run(1, [], suite="fstests")
    run = write_run(2, [])
    with pytest.raises(UsageError, match="fstests on nvme-copy against copy-faults"):
        compare_runs(base, run)


def test_kcidb_takes_what_is_exported() -> None:
    cases = [judged("write:1 eio", "violated", "PREFIX"), judged("odd: naïve (name)")]
    run = write_run(1, cases)
    fed()
    with session() as store:
        document = report([run_named(store, run)], cases_of(store, [run]), "lab")
    assert kcidb_io.schema.LATEST.is_valid(document)
    (checkout,), (build,), tests = (document[key] for key in ("checkouts", "builds", "tests"))
    assert build["checkout_id"] == checkout["id"] == "lab:6.12.1"
    assert [test["status"] for test in tests] == ["FAIL", "PASS"]
    assert tests[0]["path"] == "copy-faults.nvme-copy.write.1_eio"
    assert tests[0]["log_excerpt"] == "PREFIX: sector 9 is old"
    assert len({test["id"] for test in tests}) == 2


def fell_back(name: str) -> dict[str, Any]:
    """A judged case whose caller was served by reads and writes."""
    how = {"verdict": "fell back", "evidence": "2 writes carried the data"}
    case = judged(name) | {"verdict": "fell back"}
    return case | {"rules": case["rules"] | {"SIGNALLED": how, "OFFLOADED": how}}


def test_a_copy_that_fell_back_neither_passed_nor_failed() -> None:
    offloaded = write_run(1, [judged("write:1 eio")])
    served = write_run(2, [fell_back("write:1 eio")])
    fed()
    with session() as store:
        (case,) = cases_of(store, [served])
        document = report([run_named(store, served)], [case], "lab")
    assert (case.status, case.reason) == ("fell back", "SIGNALLED: 2 writes carried the data")
    assert kcidb_io.schema.LATEST.is_valid(document)
    assert [test["status"] for test in document["tests"]] == ["DONE"]
    # Where there was an offload before, its loss is one.
    lost = compare_runs(offloaded, served)
    assert lost.exit_status == 1
    assert [(one.item.case, one.change) for one in lost.cases] == [("write:1 eio", "regressed")]
    assert compare_runs(served, write_run(3, [fell_back("write:1 eio")])).exit_status == 0


def test_a_planted_defect_is_told_wherever_it_is_compared() -> None:
    honest = write_run(1, [judged("write:1 eio")])
    planted = write_run(2, [judged("write:1 eio")], plant="flip-bit")
    again = write_run(3, [judged("write:1 eio")])
    for base, run, said in (
        (planted, again, f"the baseline {planted}: planted: flip-bit"),
        (honest, planted, f"the run {planted}: planted: flip-bit"),
    ):
        found = compare_runs(base, run)
        assert found.document()["warnings"] == [said]
        text = summary(found, "A Tester <a@example.org>")
        assert text.startswith("# No regressions, with a planted defect\n")
        assert f"- **Careful**: {said}" in text
        assert "Tested-by" not in text
    clean = compare_runs(honest, again)
    assert clean.document()["warnings"] == []
    assert [one["plant"] for one in clean.document()["runs"]] == [None]


def test_a_lab_that_failed_in_the_baseline_is_told() -> None:
    base = write_run(1, [judged("write:1 eio")], error="the guest died")
    run = write_run(2, [judged("write:1 eio")])
    text = summary(compare_runs(base, run), "A Tester <a@example.org>")
    assert f"- **Careful**: the baseline {base}: broken off" in text
    assert "Tested-by" not in text


def test_a_planted_defect_is_no_flakiness_of_an_honest_baseline() -> None:
    for number in range(1, 4):
        write_run(number, [judged("write:1 eio", "violated", "PREFIX")], plant="flip-bit")
    base = write_run(5, [judged("write:1 eio")])
    run = write_run(6, [judged("write:1 eio", "violated", "PREFIX")])
    (case,) = compare_runs(base, run).cases
    assert (case.change, str(case.baseline)) == ("regressed", "1 of 1")


def test_a_suite_that_says_what_was_planted_among_its_options() -> None:
    run = write_run(1, [ran("stray")], suite="verity", options={"plant": "no-flip"})
    fed()
    with session() as store:
        assert run_named(store, run).plant == "no-flip"


@pytest.mark.parametrize(
    ("timeline", "said"),
    [
        ('{"source": "lab", "event": "broken off"}\n', r"interrupted\b(?!, or)"),
        ("", "interrupted, or not ended yet"),
    ],
)
def test_an_interrupted_run_is_called_so_where_it_is_asked_for(timeline: str, said: str) -> None:
    run = write_run(1, [judged("write:1 eio")])
    (dirs.state("runs") / run / "timeline.jsonl").write_text(timeline)
    if not timeline:
        (dirs.state("runs") / run / "run.json").unlink()
    fed()
    with session() as store, pytest.raises(UsageError, match=f"run {run} is no result: {said}"):
        run_named(store, run)


def test_kcidb_tells_of_a_planted_defect_and_of_a_run_that_was_broken_off() -> None:
    cases = [judged("write:1 eio", "violated", "PREFIX")]
    run = write_run(1, cases, plant="flip-bit", error="the guest died")
    fed()
    with session() as store:
        document = report([run_named(store, run)], cases_of(store, [run]), "lab")
    (test,) = document["tests"]
    assert test["comment"].endswith("write:1 eio, planted: flip-bit, broken off")
    assert (test["misc"]["plant"], test["misc"]["error"]) == ("flip-bit", "the guest died")


def test_kcidb_origins() -> None:
    with pytest.raises(UsageError, match="only a-z"):
        report([], [], "My Lab")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """LAB_STORE names another database."""
    path = tmp_path / "elsewhere.sqlite"
    monkeypatch.setenv("LAB_STORE", f"sqlite:///{path}")
    return path


def test_another_database(elsewhere: Path) -> None:
    write_run(1, [judged("write:1 eio")])
    fed()
    assert not (dirs.state() / "store.sqlite").exists()
    with sqlite3.connect(elsewhere) as database:
        assert database.execute("select count(*) from cases").fetchone() == (1,)
        assert database.execute("pragma journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("nonsense", UsageError, "LAB_STORE"),
        ("oracle9://x", UsageError, "LAB_STORE"),
        ("sqlite:////no/such/dir/x.sqlite", HostError, "unable to open database file"),
    ],
)
def test_a_database_that_is_none(
    name: str, error: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_STORE", name)
    with pytest.raises(error, match=said):
        fed()


def test_a_store_of_a_later_lab_is_left_alone() -> None:
    fed()
    with session() as store:
        store.execute(text("update alembic_version set version_num = '9999'"))
    with pytest.raises(HostError, match="of another lab"):
        fed()


def test_the_migrations_lead_to_the_tables_that_the_code_knows() -> None:
    fed()
    with create_engine(url()).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_an_older_store_learns_what_was_planted() -> None:
    planted = write_run(1, [judged("write:1 eio")], plant="flip-bit")
    honest = write_run(2, [judged("write:1 eio")])
    fed()
    config = Config()
    config.set_main_option("script_location", str(Path(feeding.__file__).parent / "migrations"))
    with create_engine(url()).begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0004")
        assert "plant" not in {column["name"] for column in inspect(connection).get_columns("runs")}
    with session() as store:
        assert run_named(store, planted).plant == "flip-bit"
        assert run_named(store, honest).plant == ""


def _feed_and_say(queue: "multiprocessing.Queue[int]") -> None:
    queue.put(len(fed()))


def test_labs_that_feed_at_the_same_time_lose_and_double_nothing() -> None:
    for number in range(1, 20):
        write_run(number, [judged("write:1 eio")])
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[int] = context.Queue()
    labs = [context.Process(target=_feed_and_say, args=(queue,)) for _ in range(3)]
    for lab in labs:
        lab.start()
    for lab in labs:
        lab.join(60)
        assert lab.exitcode == 0
    assert sum(queue.get() for _ in labs) == 19
    with session() as store:
        assert store.scalar(select(func.count()).select_from(RunRow)) == 19
        assert store.scalar(select(func.count()).select_from(CaseRow)) == 19
