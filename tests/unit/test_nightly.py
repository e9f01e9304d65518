# SPDX-License-Identifier: GPL-2.0-or-later
"""Plans, and nights that are interrupted anywhere and resumed.

Here a run is a function that writes what `lab run` would; tests/boot/test_nightly.py has real ones.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from lab.errors import GuestError, HostError, ProfileError
from lab.farm import night as nights
from lab.farm.actions import matrix
from lab.farm.estimate import seconds
from lab.farm.job import JobEnd, failure, run_job, run_of
from lab.farm.outcome import document, exit_status, outcome
from lab.farm.page import known, page
from lab.farm.plan import Job, Plan, jobs, load
from lab.farm.retention import trim
from lab.host import dirs
from lab.results.run import PROFILE, TOKEN, Run
from lab.results.store.database import session
from lab.results.store.feed import RunLeftOut
from lab.results.store.query import night_named
from lab.results.store.schema import CaseRow, JobRow, NightRow, RunRow
from lab.suites.request import Request
from tests.unit.conftest import empty_store

TEXT = """\
kernels:
  - kernel: debian
    baseline: true
  - kernel: debian-sid
profiles: [nvme-copy, zns]
suites:
  - suite: fstests
    args: [-g, quick]
    profiles: [nvme-copy]
  - suite: copy-faults
    priority: 5
    repeat: 2
budget: 8h
"""


class Killed(BaseException):
    """The lab is gone, as by SIGKILL."""


def plan_in(place: Path, text: str = TEXT) -> Plan:
    path = place / "night.yaml"
    path.write_text(text)
    return load(path)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return plan_in(tmp_path)


class Bench:
    """Stands for `lab run`: writes runs, and is killed where `kills` says (counted in steps)."""

    def __init__(self, kills: set[int]) -> None:
        self.kills = kills
        self.steps = 0
        self.begun: list[str] = []
        self.failing = ""
        """The kernel, or the QEMU, on which everything fails."""
        self.plant = ""
        self.attempt = 1
        """What every case says of itself; 2**70 takes no database."""

    def _step(self) -> None:
        self.steps += 1
        if self.steps in self.kills:
            raise Killed

    def carry_out(self, asked: Request, token: str, _directory: Path) -> JobEnd:
        self._step()
        self.begun.append(token)
        broken = self.failing and self.failing in (asked.kernel, asked.qemu)
        verdict = "violated" if broken else "holds"
        rules = {"PREFIX": {"verdict": verdict, "evidence": "sector 1"}}
        case = {"name": "write:1 eio", "number": 1, "verdict": verdict, "rules": rules,
                "attempt": self.attempt}  # fmt: skip
        os.environ[TOKEN] = token
        run = Run(asked.profile, asked.suite)
        self._step()
        run.write(PROFILE, json.dumps({"kernel": asked.kernel, "machine": {"qemu": asked.qemu}}))
        run.finish({"suite": asked.suite, "profile": asked.profile, "kernel": asked.kernel,
                    "cases": [case], "seconds": 2.0, "plant": self.plant or None})  # fmt: skip
        run.close()
        # Between the end of the run and the entry in the store.
        self._step()
        return JobEnd(run.id, "")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from benches(monkeypatch, set())


def benches(monkeypatch: pytest.MonkeyPatch, kills: set[int]) -> Iterator[Bench]:
    made = Bench(kills)
    monkeypatch.setattr(nights, "run_job", made.carry_out)
    monkeypatch.setattr(nights, "ensure_kernel", lambda _name, _progress: None)
    monkeypatch.setattr(nights, "ensure_qemu", lambda _name, _progress: None)
    yield made
    os.environ.pop(TOKEN, None)


def carry_out(plan: Plan) -> NightRow:
    with session() as store:
        night = nights.carry_out(store, plan, lambda _: None, lambda _job, _total: None)
        assert night.jobs
        return night


def test_a_job_whose_run_the_store_does_not_take_has_failed(bench: Bench, plan: Plan) -> None:
    bench.attempt = 2**70
    with session() as store, pytest.warns(RunLeftOut):
        night = nights.carry_out(store, plan, print, lambda _job, _total: None)
        assert {job.state for job in night.jobs} == {"failed"}
        for job in night.jobs:
            assert job.said.startswith(f"the store does not take run {job.run_id}: ")


def test_priorities_come_first_and_kernels_stay_together(plan: Plan) -> None:
    told = [
        (job.request.suite, job.request.profile, job.repetition, job.request.kernel)
        for job in jobs(plan)
    ]
    assert told == [
        ("copy-faults", "nvme-copy", 1, "debian"), ("copy-faults", "nvme-copy", 1, "debian-sid"),
        ("copy-faults", "nvme-copy", 2, "debian"), ("copy-faults", "nvme-copy", 2, "debian-sid"),
        ("copy-faults", "zns", 1, "debian"), ("copy-faults", "zns", 1, "debian-sid"),
        ("copy-faults", "zns", 2, "debian"), ("copy-faults", "zns", 2, "debian-sid"),
        ("fstests", "nvme-copy", 1, "debian"), ("fstests", "nvme-copy", 1, "debian-sid"),
    ]  # fmt: skip


def test_shards_are_an_argument_of_the_suite(tmp_path: Path) -> None:
    text = TEXT.replace("args: [-g, quick]", "args: [-g, quick]\n    shards: 3")
    args = {job.request.suite: job.request.options for job in jobs(plan_in(tmp_path, text))}
    assert args == {"copy-faults": (), "fstests": ("-g", "quick", "--shards", "3")}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("debian-sid", "nope", r"night\.yaml:4: kernels\[1\]\.kernel: no kernel nope"),
        ("debian-sid", "debian", "the same kernel twice"),
        ("    baseline: true\n", "", "expected one kernel with `baseline: true`"),
        ("zns]", "nope]", r"profiles\[1\]: no profile 'nope'"),
        ("suite: fstests", "suite: nope", r"suites\[0\]\.suite: no such suite; there are: copy"),
        ("profiles: [nvme-copy]", "profiles: [zns-btrfs]", "none of the plan's profiles"),
        ("budget: 8h", "budget: 8", "budget"),
        ("repeat: 2", "repeat: 0", r"suites\[1\]\.repeat"),
        ("repeat: 2", "again: 2", r"suites\[1\]\.again"),
        (
            "[-g, quick]",
            "[--quack]",
            r"suites\[0\]\.args: fstests: unrecognized .* --quack",
        ),
        ("[-g, quick]", "['-']", "no list on stdin"),
        ("[-g, quick]", "[-h]", "help is for people"),
        ("repeat: 2", "shards: 2", r"suites\[1\]\.suite: copy-faults: unrecognized .* --shards 2"),
        ("repeat: 2", "shards: 0", r"suites\[1\]\.shards"),
        (TEXT, "- a list\n", "expected kernels, profiles and suites"),
        (TEXT, "kernels: [", "not valid YAML"),
    ],
)
def test_what_is_wrong_with_a_plan_is_told_at_once(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in TEXT
    with pytest.raises(ProfileError, match=said):
        plan_in(tmp_path, TEXT.replace(old, new))


def test_a_plan_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ProfileError) as caught:
        load(tmp_path / "none.yaml")
    why = "cannot be read: No such file or directory; expected a YAML file"
    assert caught.value.message == f"{tmp_path}/none.yaml: {why}"
    (tmp_path / "image.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ProfileError, match=r"image.yaml:1: byte 0xff; expected UTF-8"):
        load(tmp_path / "image.yaml")


def test_a_night(plan: Plan, bench: Bench) -> None:
    bench.failing = "debian-sid"
    night = carry_out(plan)
    assert {job.state for job in night.jobs} == {"done"}
    assert len(bench.begun) == 10
    with session() as store:
        found = outcome(store, night)
    assert exit_status(night, found) == 1
    assert list(found) == ["debian-sid"]
    told = document(night, found)
    # On two profiles copy-faults, twice each; on one fstests.
    assert told["kernels"]["debian-sid"]["cases"] == {"regressed": 3}
    assert told["kernels"]["debian-sid"]["changes"][0]["run"] == {"passed": 0, "ran": 2}
    with session() as store:
        assert seconds(store, jobs(plan)[0]) is not None
        assert seconds(store, Job(Request("nvme-copy", "fsx"), baseline=True)) is None


def test_the_next_night_is_a_new_one(plan: Plan, bench: Bench, tmp_path: Path) -> None:
    first = carry_out(plan)
    with session() as store:
        assert nights.unfinished(store, plan) is None
    assert first.ended is not None


@settings(max_examples=20)
@given(kills=st.sets(st.integers(1, 40), max_size=8))
def test_a_night_that_is_killed_anywhere_comes_to_the_same(
    kills: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    state = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(state))
        empty_store(patch)
        plan = plan_in(state)
        (bench,) = list(take(benches(patch, kills)))
        bench.failing = "debian-sid"
        lives = 1
        while True:
            try:
                night = carry_out(plan)
                break
            except Killed:
                lives += 1
        os.environ.pop(TOKEN, None)
        with session() as store:
            rows = store.query(JobRow).all()
            found = outcome(store, night)
        assert lives <= len(kills) + 1
        assert store_nights() == 1
        assert {row.state for row in rows} == {"done"}
        runs = [row.run_id for row in rows]
        assert len(set(runs)) == len(runs) == 10
        # What had ended was never begun again.
        ended = {token for token in bench.begun if bench.begun.count(token) == 1}
        assert len(bench.begun) <= 10 + len(kills)
        assert ended <= {f"{night.id}/{number}" for number in range(1, 11)}
        assert document(night, found)["kernels"]["debian-sid"]["cases"] == {"regressed": 3}


def take(generator: Iterator[Bench]) -> Iterator[Bench]:
    yield next(generator)


def store_nights() -> int:
    with session() as store:
        return store.query(NightRow).count()


def test_a_changed_plan_is_another_night(plan: Plan, bench: Bench, tmp_path: Path) -> None:
    bench.kills = {2}
    with pytest.raises(Killed):
        carry_out(plan)
    changed = plan_in(tmp_path, TEXT.replace("repeat: 2", "repeat: 1"))
    with session() as store:
        assert nights.unfinished(store, plan) is not None
        assert nights.unfinished(store, changed) is None


def test_the_budget_leaves_out_what_matters_least(tmp_path: Path, bench: Bench) -> None:
    night = carry_out(plan_in(tmp_path, TEXT.replace("8h", "0.000001s")))
    states = [job.state for job in night.jobs]
    assert states == ["done", *["left out"] * 9]


def test_a_kernel_that_cannot_be_built_fails_its_runs_alone(
    plan: Plan, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ensure(name: str, _progress: object) -> None:
        if name == "debian-sid":
            raise HostError("the kernel does not build: a.c", detail="a.c:1:1: error: no")

    monkeypatch.setattr(nights, "ensure_kernel", ensure)
    night = carry_out(plan)
    assert [job.state for job in night.jobs if job.baseline] == ["done"] * 5
    failed = [job for job in night.jobs if not job.baseline]
    assert {job.state for job in failed} == {"failed"}
    assert "a.c:1:1: error: no" in failed[0].said
    with session() as store:
        assert exit_status(night, outcome(store, night)) == 3


QEMUS = (
    TEXT
    + """\
qemus:
  - qemu: host
    baseline: true
  - qemu: qemu-system-x86/sid
"""
)


def test_qemus_are_a_dimension_of_a_plan(tmp_path: Path, bench: Bench) -> None:
    plan = plan_in(tmp_path, QEMUS)
    first = [(job.request.kernel, job.request.qemu, job.baseline) for job in jobs(plan)[:4]]
    assert first == [
        ("debian", "host", True),
        ("debian", "qemu-system-x86/sid", False),
        ("debian-sid", "host", False),
        ("debian-sid", "qemu-system-x86/sid", False),
    ]
    assert jobs(plan)[1].title == "copy-faults on nvme-copy, debian in qemu-system-x86/sid"
    bench.failing = "qemu-system-x86/sid"
    night = carry_out(plan)
    with session() as store:
        found = outcome(store, night)
        assert {name: one.exit_status for name, one in found.items()} == {
            "debian in qemu-system-x86/sid": 1,
            "debian-sid in host": 0,
            "debian-sid in qemu-system-x86/sid": 1,
        }
        assert {row.qemu_name for row in found["debian-sid in host"].runs} == {"host"}
        assert document(night, found)["jobs"][1]["qemu"] == "qemu-system-x86/sid"


def test_a_qemu_that_cannot_be_had_fails_its_runs_alone(
    tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ensure(name: str, _progress: object) -> None:
        if name != "host":
            raise HostError("its Release file has expired")

    monkeypatch.setattr(nights, "ensure_qemu", ensure)
    night = carry_out(plan_in(tmp_path, QEMUS))
    states = {(job.qemu_name, job.state, job.said) for job in night.jobs}
    assert states == {
        ("host", "done", ""),
        ("qemu-system-x86/sid", "failed", "its Release file has expired"),
    }


@pytest.mark.parametrize(
    ("qemus", "wrong"),
    [
        ("[{qemu: host}]", "expected one QEMU with `baseline: true`"),
        ("[{qemu: host, baseline: true}, {qemu: host}]", "the same QEMU twice"),
        ("[{qemu: host, baseline: true}, {qemu: q99}]", "no QEMU q99"),
    ],
)
def test_what_is_wrong_with_the_qemus_of_a_plan(tmp_path: Path, qemus: str, wrong: str) -> None:
    with pytest.raises(ProfileError, match=wrong):
        plan_in(tmp_path, f"{TEXT}qemus: {qemus}\n")


def test_a_page_of_a_night_has_qemus_by_kernels(tmp_path: Path, bench: Bench) -> None:
    bench.failing = "qemu-system-x86/sid"
    carry_out(plan_in(tmp_path, QEMUS))
    explained = tmp_path / "known.yaml"
    explained.write_text("- says: 'PREFIX: sector [0-9]'\n  because: a sector is lost\n")
    with session() as store:
        text = page(store, night_named(store, ""), known(explained), "plans/night.yaml")
    assert "- command: `lab nightly plans/night.yaml`" in text
    assert "## nvme-copy" in text
    assert "| QEMU | debian | debian-sid |" in text
    assert "| host | 1 hold; 1 hold | 1 hold; 1 hold |" in text
    assert "| qemu-system-x86/sid | **1 PREFIX**; **1 PREFIX** |" in text
    broken = text.partition("## What does not hold")[2]
    assert "`write:1 eio: PREFIX: sector 1`" in broken
    assert "  - a sector is lost" in broken


def test_what_a_guest_says_stays_in_its_place_on_a_page(tmp_path: Path, bench: Bench) -> None:
    bench.failing = "debian"
    evil = "x\n\n# All well\n| a | `b` <script>alert(1)</script> [here](http://example.org)"
    carry_out(plan_in(tmp_path, QEMUS))
    with session() as store:
        night = night_named(store, "")
        tame = page(store, night, [], "night.yaml")
        for case in store.scalars(select(CaseRow)):
            case.reason = evil if case.status != "pass" else ""
        for run in store.scalars(select(RunRow)):
            run.release = f"{evil} {run.kernel}"
        said = page(store, night, [], "night.yaml")
    assert "`write:1 eio: x # All well | a | 'b' <script>" in said
    shown = re.sub(r"`[^`\n]*`", "", said)
    assert "<script>" not in shown and "[here]" not in re.sub(r"\\\[", "", shown)
    # As many lines, and of those of tables as many cells.
    before, after = tame.splitlines(), said.splitlines()
    assert [line[:2] for line in before] == [line[:2] for line in after]
    for one, other in zip(before, after, strict=True):
        if one.startswith("|"):
            assert one.count("|") == len(re.findall(r"(?<!\\)\|", other))


def test_a_page_of_a_night_tells_of_planted_defects(tmp_path: Path, bench: Bench) -> None:
    bench.plant = "flip-bit"
    carry_out(plan_in(tmp_path, QEMUS))
    with session() as store:
        text = page(store, night_named(store, ""), [], "plans/night.yaml")
    cell = "1 hold, **planted: flip-bit**; 1 hold, **planted: flip-bit**"
    assert f"| host | {cell} | {cell} |" in text


def test_two_labs_at_one_plan(plan: Plan, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def nested(job: Job, token: str, directory: Path) -> JobEnd:
        with pytest.raises(HostError, match="holds the lock"):
            carry_out(plan)
        raise GuestError("enough")

    monkeypatch.setattr(nights, "run_job", nested)
    with pytest.raises(GuestError):
        carry_out(plan)


def test_evidence_of_old_nights_is_removed_and_results_stay(tmp_path: Path, bench: Bench) -> None:
    plan = plan_in(tmp_path, TEXT + "retention: {nights: 2, size: 1G}\n")
    ids = [carry_out(plan).id for _ in range(3)]
    with session() as store:
        oldest, latest = (store.get_one(NightRow, ids[at]).jobs[0].run_id for at in (0, 2))
        site = dirs.state("site")
        for name in (f"{oldest}.html", f"{oldest}.1.html", f"{latest}.1.html"):
            (site / name).touch()
        assert trim(store, plan) == [ids[0]]
        # What was drawn of the evidence goes with it.
        assert {path.name for path in site.iterdir()} == {f"{oldest}.html", f"{latest}.1.html"}
        assert trim(store, plan) == []
        assert len(store.get(NightRow, ids[0]).jobs) == 10  # type: ignore[union-attr]
    assert len(list(dirs.state("runs").iterdir())) == 20


def test_a_run_is_a_process_of_its_own(tmp_path: Path) -> None:
    ended = run_job(Request("nvme-copy", "nope", kernel="debian"), "n/1", tmp_path / "1")
    assert ended.run == ""
    assert "no suite nope" in ended.said


def test_a_run_failed_with_the_last_thing_the_lab_said_and_what_that_quotes() -> None:
    said = [
        "lab: packages: try again", "lab: mmdebstrap: exit status 25 (take another mirror)",
        *(f"  | line {number}" for number in range(9)),
    ]  # fmt: skip
    assert failure("\n".join(["lab: warning: no KVM", *said, ""])).splitlines() == [
        said[1], *said[-5:],
    ]  # fmt: skip
    assert failure("Killed\n") == "Killed"
    assert failure("") == ""


def test_a_run_that_was_broken_off_is_not_taken_for_one_that_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(TOKEN, "n/1")
    with pytest.raises(KeyboardInterrupt), Run("nvme-copy", "copy-faults") as run:
        run.finish({"cases": []})
        raise KeyboardInterrupt
    assert run_of("n/1") == ""
    monkeypatch.setenv(TOKEN, "n/1")
    with Run("nvme-copy", "copy-faults") as run:
        run.finish({"cases": []})
    assert run_of("n/1") == run.id
    assert run_of("n/2") == ""


def test_a_run_that_is_made_of_others_is_what_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(TOKEN, "n/1")
    with Run("nvme-copy", "conformance") as whole:
        with Run("nvme-copy", "copy-faults") as part:
            part.finish({"cases": []})
        assert run_of("n/1") == ""
        whole.finish({"cases": []})
    assert run_of("n/1") == whole.id


def test_a_plan_is_a_matrix_for_github(tmp_path: Path) -> None:
    wanted = jobs(plan_in(tmp_path, TEXT + "labels: [kvm]\n"))
    told = matrix([(wanted[0], 700.0), (wanted[8], None), (wanted[9], 1.0)])
    assert told["include"][0] == {
        "number": 1,
        "title": "copy-faults on nvme-copy, debian",
        "command": "lab run nvme-copy copy-faults --kernel debian --",
        "labels": ["self-hosted", "linux", "x64", "kvm"],
        "minutes": 35,
    }
    assert told["include"][1]["command"] == "lab run nvme-copy fstests --kernel debian -- -g quick"
    assert [entry["minutes"] for entry in told["include"]] == [35, 180, 15]
