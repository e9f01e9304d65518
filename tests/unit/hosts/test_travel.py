# SPDX-License-Identifier: GPL-2.0-or-later
"""What travels between hosts: who makes an artifact, kernels of one host, evidence."""

import json
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from lab.artifacts import cache
from lab.artifacts.cache import Artifact
from lab.artifacts.kernel import Kernel
from lab.artifacts.kernels import names
from lab.artifacts.kernels.brought import BroughtKernel
from lab.artifacts.kernels.tree import KernelTree
from lab.errors import HostError, UsageError
from lab.farm.hosts import deferral, evidence
from lab.farm.hosts.deferral import defer
from lab.farm.hosts.lease import lease
from lab.farm.hosts.needs import Needs, Offer, refusals
from lab.farm.hosts.watch import waiting_for_nobody
from lab.host import dirs
from lab.results.store.database import session
from lab.results.store.schema import JobRow, NightRow
from tests.unit.hosts.conftest import TEXT, plan_in
from tests.unit.hosts.crew import crew, until_over


@pytest.fixture
def depot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("LAB_ARTIFACTS", str(tmp_path / "depot"))
    return tmp_path / "depot"


def test_one_host_at_a_time_makes_an_artifact(store: str) -> None:
    order: list[str] = []
    waits = threading.Event()

    def other() -> None:
        def told(line: str) -> None:
            order.append(line)
            waits.set()

        with lease("image/x", told):
            order.append("other")

    with lease("image/x", order.append):
        with lease("image/y", order.append):
            order.append("both")
        thread = threading.Thread(target=other)
        thread.start()
        assert waits.wait(30)
        order.append("first")
    thread.join(30)
    assert order == ["both", "image/x: another host is making it", "first", "other"]


def test_a_lease_ends_with_the_connection_of_whoever_has_it(store: str) -> None:
    with lease("image/x", print):
        with session() as opened:
            opened.execute(
                text(
                    "select pg_terminate_backend(pid) from pg_locks"
                    " where locktype = 'advisory' and pid != pg_backend_pid()"
                )
            )
        said: list[str] = []
        with lease("image/x", said.append):
            pass
    assert said == []


def test_without_a_database_things_are_made_all_the_same(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_STORE", "postgresql://lab@127.0.0.1:1/lab")
    said: list[str] = []
    with lease("image/x", said.append):
        said.append("made")
    assert said[0].startswith("image/x is made without a lease: the store")
    assert said[1:] == ["made"]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    """A kernel that has a name here alone, and is built."""
    names.BOOK.add("offload", KernelTree(tree=tmp_path / "linux"))

    def build(directory: Path) -> dict[str, str]:
        (directory / "vmlinux").write_text("a kernel")
        return {"release": "7.3-offload", "source": "~/linux"}

    made = cache.ensure("kernel", "offload", {"built": "1"}, build, print, room=0)
    kernel = Kernel("offload", made.key, "7.3", made.path / "vmlinux", *[made.path] * 3)
    monkeypatch.setattr(deferral, "ensure_kernel", lambda _name, _progress: kernel)
    return made


PLAN = TEXT.replace("debian-sid", "offload")


def test_a_kernel_of_this_host_is_brought_to_the_workers(
    store: str, depot: Path, own: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with session() as opened:
        defer(opened, plan_in(tmp_path, PLAN), print)
        rows = opened.query(JobRow).order_by(JobRow.position).all()
    wanted = [Needs.model_validate(row.needs) for row in rows]
    assert [needs.kernel for needs in wanted] == ["", own.path.name] * 2
    assert {needs.paths for needs in wanted} == {()}
    bare = Offer(version="0.2.0", memory=8 << 30)
    assert list(refusals(wanted[1], bare, "0.2.0")) == [
        f"no LAB_ARTIFACTS, where the kernel {own.path.name} is"
    ]
    assert list(refusals(wanted[1], bare.model_copy(update={"depot": True}), "0.2.0")) == []
    # On another host nobody knows that name, but for what the worker says.
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other/state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other/cache"))
    with pytest.raises(UsageError, match="no kernel offload"):
        names.resolve("offload")
    monkeypatch.setenv("LAB_KERNELS", json.dumps({"offload": own.path.name}))
    source = names.resolve(names.kernel_name("offload"))
    assert isinstance(source, BroughtKernel)
    made = cache.brought("kernel", source.artifact_name, lambda _: {}, print, room=0)
    assert (made.path / "vmlinux").read_text() == "a kernel"
    assert made.manifest().versions == {"release": "7.3-offload", "source": "~/linux"}
    assert (made.name, made.key) == (own.name, own.key)


def test_a_kernel_that_is_not_in_the_depot(depot: Path) -> None:
    source = BroughtKernel(artifact_name="offload-0123456789abcdef")
    with pytest.raises(HostError, match="is not in the depot, and its sources are on another host"):
        cache.brought("kernel", source.artifact_name, lambda at: source.build(at, print), print,
                      room=0)  # fmt: skip


def test_without_a_depot_such_a_kernel_goes_nowhere(
    store: str, own: Artifact, tmp_path: Path
) -> None:
    from lab.farm.hosts.roster import Presence, enrol, sign

    with session() as opened:
        night = defer(opened, plan_in(tmp_path, PLAN), print)
        enrol(opened, Presence("a", 1, 30.0, Offer(version="0.2.0", memory=8 << 30)))
        sign(opened, "a", 1, "")
        assert list(waiting_for_nobody(opened, night)) == [
            "2 runs can go nowhere: copy-faults on nvme-copy: a: no kernel offload"
        ]


def test_evidence_comes_back(store: str, depot: Path, tmp_path: Path) -> None:
    with session() as opened:
        night = defer(opened, plan_in(tmp_path, repeat=1), print).id
    with crew(tmp_path, store, "a") as hands:
        until_over(night, hands)
    with session() as opened:
        runs = list(evidence.runs_named(opened, night[:14]))
        assert len(runs) == 2
        assert list(evidence.runs_named(opened, runs[0])) == [runs[0]]
        jobs = opened.get_one(NightRow, night).jobs
        assert {job.host for job in jobs} == {"a"}
        first, second = jobs
        assert first.baseline and not second.baseline
        assert list(evidence.runs_named(opened, night, baseline=False)) == [second.run_id]
        # A night of one kernel has no other than its baseline.
        second.baseline = True
        assert list(evidence.runs_named(opened, night, baseline=False)) == runs
    for run in runs:
        assert evidence.bring(run, print)
        assert not evidence.bring(run, print)
        theirs, ours = hands[0].state / "lab/runs" / run, dirs.state("runs") / run
        files = sorted(path.name for path in theirs.iterdir())
        assert files == sorted(path.name for path in ours.iterdir())
        assert all((theirs / name).read_bytes() == (ours / name).read_bytes() for name in files)
    with pytest.raises(HostError, match="has no evidence of run 20000101-000000-0000"):
        evidence.bring("20000101-000000-0000", print)
    assert not list(dirs.state("runs").glob(".partial*"))
