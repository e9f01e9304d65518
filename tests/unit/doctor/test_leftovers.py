# SPDX-License-Identifier: GPL-2.0-or-later
"""What is left behind is found, and removed unless something has to do with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.artifacts import kernel
from lab.doctor import leftovers
from lab.doctor.clean import Removal, clean
from lab.doctor.finding import State
from lab.guest import registry
from lab.guest.registry import Record
from lab.host import dirs
from lab.host.process import Process
from lab.results.run import Run
from lab.vm.link import Link
from tests.unit.builders import gone, idle, python, record, said

LOCKED = """\
import sys
from pathlib import Path
from lab.guest import registry
with registry.locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""
IN_A_RUN = """\
import sys
from lab.results.run import Run
with Run("p", "s"):
    print("runs", flush=True)
    sys.stdin.read()
"""
HOLDER = """\
import sys
from lab.artifacts import cache
cache.ensure("kernel", "debian", {}, lambda _: {"release": "6.12"}, print, room=0)
print("held", flush=True)
sys.stdin.read()
"""
BUILDER = """\
import sys, time
from lab.artifacts import cache
def build(directory):
    print("builds", flush=True)
    sys.stdin.read()
    return {}
cache.ensure("kernel", "slow", {}, build, lambda _: None, room=0)
"""


@pytest.fixture
def qemu() -> Iterator[Process]:
    """A process that stands for a QEMU."""
    with idle() as process:
        yield process


def guest(name: str, what: Record | None = None, size: int = 3_000_000) -> Path:
    path = registry.directory(name)
    path.mkdir()
    (path / "LABNVME0.raw").write_bytes(b"x" * size)
    if what:
        registry.write(path, what)
    return path


def done() -> dict[str, str]:
    """What was cleaned up, and why it was kept."""
    return {removal.leftover.path.name: removal.kept for removal in clean()}


def test_nothing_is_left() -> None:
    assert leftovers.guests().state is State.OK
    assert leftovers.artifacts().state is State.OK
    assert list(clean()) == []


def test_guests_of_killed_labs_and_those_that_died_are_told_and_removed(qemu: Process) -> None:
    half, orphan = guest("half"), guest("orphan", record("orphan", qemu, owner=gone()))
    died, up = guest("died", record("died", gone())), guest("up", record("up", qemu))
    found = leftovers.guests()
    assert found.state is State.DEGRADED
    assert found.said == (
        "9 MB: guest half of a killed lab; guest orphan of a killed lab; guest died, which died"
    )
    assert found.cure
    assert found.cure.debian == "lab doctor --clean"
    # Telling removes nothing.
    assert all(path.is_dir() for path in (half, orphan, died, up))
    freed = list(clean())
    assert {removal.leftover.path for removal in freed} == {half, orphan, died}
    assert all(not removal.kept and removal.leftover.size > 2.9e6 for removal in freed)
    assert list(dirs.state("guests").iterdir()) == [up]


def test_a_guest_that_is_being_started_is_no_leftover() -> None:
    path = guest("new")
    with python(LOCKED, path) as lab:
        assert said(lab) == "locked"
        assert leftovers.guests().state is State.OK
        assert done() == {}
        lab.communicate("")
    assert done() == {"new": ""}


def test_a_dead_guest_stays_while_a_run_may_boot_it_again() -> None:
    path = guest("died", record("died", gone()))
    with python(IN_A_RUN) as lab:
        assert said(lab) == "runs"
        assert done() == {"died": "a run is under way"}
        lab.communicate("")
    assert path.is_dir()
    assert done() == {"died": ""}


def test_a_dead_guest_stays_while_its_peer_runs(qemu: Process) -> None:
    link = {"link": Link("p-peer", 1)}
    guest("p", record("p", gone()).model_copy(update=link))
    guest("p-peer", record("p-peer", qemu))
    assert done() == {"p": "its peer p-peer runs: lab down p"}


# --- artifacts ----------------------------------------------------------------------------


def old_kernel() -> None:
    """A kernel of a lab that told no source: nothing leads to it."""
    with python(HOLDER) as lab:
        assert said(lab) == "held"
        lab.communicate("")


def test_a_superseded_artifact_is_told_and_removed() -> None:
    old_kernel()
    (artifact,) = kernel.superseded(lambda _: None)
    found = leftovers.artifacts()
    assert found.state is State.DEGRADED
    assert found.said.endswith(f"MB: kernel debian {artifact.key}")
    assert done() == {artifact.path.name: ""}
    assert not artifact.path.exists()
    assert leftovers.artifacts().said == "none"


def test_one_in_use_is_no_reason_to_clean_and_stays() -> None:
    with python(HOLDER) as lab:
        assert said(lab) == "held"
        found = leftovers.artifacts()
        assert (found.state, found.said) == (State.OK, "none but 1 in use")
        assert list(done().values()) == ["in use"]
        lab.communicate("")
    assert list(done().values()) == [""]


def test_what_a_killed_builder_left_is_removed_and_what_a_living_one_is_at_is_not() -> None:
    with python(BUILDER) as lab:
        assert said(lab) == "builds"
        assert leftovers.artifacts().state is State.OK
        assert done() == {}
        lab.kill()
        lab.wait()
    assert leftovers.artifacts().said.endswith("MB: kernel half-built by a killed lab")
    (removal,) = clean()
    assert isinstance(removal, Removal)
    assert not removal.leftover.path.exists()


def test_a_run_of_ones_own_process_does_not_keep_anything() -> None:
    guest("died", record("died", gone()))
    with Run("p", "s"):
        assert done() == {"died": ""}
