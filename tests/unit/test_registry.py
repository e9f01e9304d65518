# SPDX-License-Identifier: GPL-2.0-or-later
"""The guests' directories: who may touch one, and which ones are left behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.errors import UsageError
from lab.guest import registry
from lab.guest.registry import RECORD, Busy, Record
from lab.host import dirs
from lab.host.process import Process, me
from tests.unit.builders import gone, idle, python, record, said

LOCK = """\
import sys
from pathlib import Path
from lab.guest import registry
with registry.locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def qemu() -> Iterator[Process]:
    """A process that stands for a QEMU."""
    with idle() as process:
        yield process


def made(name: str, what: Record | bytes | None = None) -> Path:
    """The directory of a guest with a record, with something else in its place, or with none."""
    path = registry.directory(name)
    path.mkdir()
    if isinstance(what, Record):
        registry.write(path, what)
    elif what is not None:
        (path / RECORD).write_bytes(what)
    return path


@pytest.mark.parametrize("name", ["a", "A9", "nvme-copy", "6.12.1", "run-20250101-1", "a" * 63])
def test_a_name_names_a_directory_below_the_state_directory(name: str) -> None:
    assert registry.directory(name) == dirs.state("guests") / name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".a", "-a", "a/b", "/", "a b", "a\n", "a\0", "ä", "a_b", "a" * 64]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        registry.directory(name)
    assert "letters, digits" in caught.value.hint


def test_a_record_is_read_back_as_it_was_written(qemu: Process) -> None:
    whole = record("g", qemu, owner=me())
    assert registry.read(made("g", whole)) == whole
    assert registry.find("g") == whole


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"\xff\xfe", b'{"name": "g"}'])
def test_a_damaged_record_is_none(content: bytes) -> None:
    assert registry.read(made("g", content)) is None


def test_a_record_of_another_version_is_none(qemu: Process) -> None:
    text = record("g", qemu).model_dump_json()
    assert registry.read(made("g", text.replace("{", '{"new": 1,', 1).encode())) is None


def test_an_unknown_guest_is_refused_with_those_there_are(qemu: Process) -> None:
    made("one", record("one", qemu))
    made("two", record("two", qemu))
    made("half-started")
    with pytest.raises(UsageError) as caught:
        registry.find("three")
    assert caught.value.message == "no guest three"
    assert "guests: one, two;" in caught.value.hint


def test_guests_are_listed_by_name(qemu: Process) -> None:
    for name in ("b", "c", "a"):
        made(name, record(name, qemu))
    assert [found.name for found in registry.listing()] == ["a", "b", "c"]


def test_a_guest_is_orphaned_when_the_run_that_owns_it_is_gone(qemu: Process) -> None:
    assert not record("g", qemu).orphaned()
    assert not record("g", qemu, owner=me()).orphaned()
    assert record("g", qemu, owner=gone()).orphaned()
    assert record("g", qemu).alive()
    assert not record("g", gone()).alive()


def test_a_locked_directory_excludes_another_process_until_it_is_killed() -> None:
    path = registry.directory("g")
    with python(LOCK, path) as other:
        assert said(other) == "locked"
        with pytest.raises(Busy, match="guest g: another lab process"), registry.locked(path):
            pass
        other.kill()
        other.wait()
        with registry.locked(path):
            pass


def test_a_lock_makes_a_directory_that_only_the_user_can_enter() -> None:
    path = registry.directory("g")
    with registry.locked(path):
        assert path.stat().st_mode & 0o777 == 0o700


def test_a_lock_excludes_others_from_the_same_process_too() -> None:
    path = registry.directory("g")
    with registry.locked(path), pytest.raises(Busy), registry.locked(path):
        pass


def test_a_directory_that_is_removed_while_locked_can_be_locked_anew() -> None:
    path = registry.directory("g")
    with registry.locked(path):
        registry.remove(path)
        with registry.locked(path):
            assert path.is_dir()


def test_removal_ends_the_guest_and_nobody_else(tmp_path: Path) -> None:
    path = made("g")
    with (
        idle(path, "guest=g") as qemu,
        idle(path, "guest=g2") as other,
        idle(path) as shell,
        idle(tmp_path, "guest=g") as elsewhere,
    ):
        registry.remove(path)
        assert not qemu.alive()
        assert [process.alive() for process in (other, shell, elsewhere)] == [True] * 3
    assert not path.exists()


def test_removal_ends_the_guest_also_when_the_state_directory_is_a_symbolic_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    monkeypatch.setenv("XDG_STATE_HOME", str(link))
    path = made("g")
    with idle(path, "guest=g") as qemu:
        registry.remove(path)
        assert not qemu.alive()


def test_the_sweep_removes_what_killed_labs_left_and_keeps_all_else(qemu: Process) -> None:
    made("damaged", b"{")
    made("half-started")
    made("of-dead-run", record("of-dead-run", qemu, owner=gone()))
    made("of-live-run", record("of-live-run", qemu, owner=me()))
    made("up", record("up", qemu))
    made("up-and-died", record("up-and-died", gone()))
    assert registry.sweep() == ["half-started", "of-dead-run"]
    left = {path.name for path in dirs.state("guests").iterdir()}
    assert left == {"damaged", "of-live-run", "up", "up-and-died"}
    assert registry.sweep() == []


def test_the_sweep_ends_the_qemu_of_a_dead_run() -> None:
    path = registry.directory("g")
    path.mkdir()
    with idle(path, "guest=g") as inside:
        registry.write(path, record("g", inside, owner=gone()))
        assert registry.sweep() == ["g"]
        assert not inside.alive()


def test_the_sweep_ends_a_spare_whose_run_is_dead() -> None:
    path = registry.directory("g").with_name(f"g{registry.SPARE}1")
    path.mkdir(parents=True)
    with idle(path, "guest=g") as inside:
        assert registry.sweep() == [path.name]
        assert not inside.alive()


def test_the_sweep_keeps_a_guest_that_another_lab_is_starting() -> None:
    path = registry.directory("g")
    with python(LOCK, path) as other:
        assert said(other) == "locked"
        assert registry.sweep() == []
        assert path.is_dir()


def test_the_sweep_passes_over_what_is_no_directory() -> None:
    (dirs.state("guests") / "notes.txt").write_text("mine")
    assert registry.sweep() == []


def test_nothing_is_left_when_the_last_guest_is_gone() -> None:
    path = registry.directory("g")
    with registry.locked(path):
        registry.remove(path)
    assert list(dirs.state("guests").iterdir()) == []
