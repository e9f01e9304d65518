# SPDX-License-Identifier: GPL-2.0-or-later
"""The artifact store: built once, whole or not at all."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from lab.artifacts import cache, depot, kernel, module
from lab.artifacts.kernels import make
from lab.artifacts.kernels import names as names_of_kernels
from lab.artifacts.kernels.linux import Linux
from lab.errors import HostError
from lab.host import lock
from tests.unit.builders import idle, quiet, until


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache directory; returns the directory of the artifacts of kind `thing`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "lab/artifacts/thing"


def write_one(directory: Path) -> dict[str, str]:
    (directory / "file").write_bytes(b"x" * 5000)
    return {"tool": "1.0"}


def ensure(build: cache.Builder = write_one, *, text: str = "a") -> cache.Artifact:
    return cache.ensure("thing", "one", {"text": text}, build, quiet, room=1)


def names(store: Path) -> set[str]:
    return {path.name for path in store.iterdir()}


def test_a_second_call_finds_the_first_build() -> None:
    first = ensure()

    def never(_directory: Path) -> dict[str, str]:
        raise AssertionError("built twice")

    assert ensure(never) == first
    assert (first.path / "file").stat().st_size == 5000


def test_other_inputs_are_another_artifact() -> None:
    assert ensure(text="a").path != ensure(text="b").path
    assert len(cache.listing("thing")) == 2


def test_the_manifest_says_what_was_built() -> None:
    artifact = ensure()
    manifest = artifact.manifest()
    assert (manifest.kind, manifest.name, manifest.key) == ("thing", "one", artifact.key)
    assert manifest.versions == {"tool": "1.0"}
    assert manifest.size >= 5000


def test_a_damaged_manifest_is_a_host_error() -> None:
    artifact = ensure()
    (artifact.path / cache.MANIFEST).write_text("{}")
    with pytest.raises(HostError, match="damaged"):
        artifact.manifest()


def test_damaged_is_what_stays_so() -> None:
    artifact = ensure()
    (artifact.path / cache.MANIFEST).unlink()
    with pytest.raises(HostError, match="damaged"):
        cache.manifests("thing")


def test_what_is_removed_while_it_is_listed_is_not_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    ensure()
    read = cache.Artifact.manifest
    again = False

    def late(artifact: cache.Artifact) -> cache.Manifest:
        """Read it after another process has removed it, and built it again if `again`."""
        cache.remove(artifact)
        try:
            return read(artifact)
        finally:
            if again:
                ensure()

    monkeypatch.setattr(cache.Artifact, "manifest", late)
    assert cache.manifests("thing") == []
    again = True
    ensure()
    assert cache.manifests("thing") == []


@pytest.mark.parametrize("failure", [HostError("no network"), KeyboardInterrupt(), OSError(5)])
def test_a_failing_build_leaves_nothing(store: Path, failure: BaseException) -> None:
    def fail(directory: Path) -> dict[str, str]:
        write_one(directory)
        raise failure

    with pytest.raises(type(failure)):
        ensure(fail)
    assert names(store) == set()
    assert ensure().path.is_dir()


def test_a_disk_that_gets_full_is_told_with_the_cure(store: Path) -> None:
    def fail(directory: Path) -> dict[str, str]:
        raise OSError(28, "No space left on device", str(directory / "file"))

    with pytest.raises(HostError, match=r"No space left on device \(free space"):
        ensure(fail)
    assert names(store) == set()


def test_too_little_space_is_told_before_building(store: Path) -> None:
    with pytest.raises(HostError, match="MiB are free"):
        cache.ensure("thing", "one", {}, write_one, quiet, room=1 << 60)
    assert names(store) == set()


def _slow(directory: Path) -> dict[str, str]:
    with (directory.parent.parent / "builds").open("a") as log:
        log.write("built\n")
    time.sleep(0.5)
    return write_one(directory)


def _ensure_slow() -> None:
    ensure(_slow)


def test_two_processes_build_once(store: Path) -> None:
    context = multiprocessing.get_context("fork")
    builders = [context.Process(target=_ensure_slow) for _ in range(2)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join(20)
        assert builder.exitcode == 0
    assert (store.parent / "builds").read_text() == "built\n"
    assert names(store) == {ensure().path.name}


def _waiting(directory: Path) -> dict[str, str]:
    until((directory.parent.parent / "go on").exists)
    return write_one(directory)


def _ensure_waiting() -> None:
    ensure(_waiting)


def test_a_build_is_waited_for_as_long_as_it_may_take(store: Path) -> None:
    builder = multiprocessing.get_context("fork").Process(target=_ensure_waiting)
    builder.start()
    until(lambda: list(store.glob(".partial-*")) != [])
    said: list[str] = []

    def progress(phase: str) -> None:
        said.append(phase)
        if len(said) > 1:
            (store.parent / "go on").touch()

    def never(_directory: Path) -> dict[str, str]:
        raise AssertionError("built twice")

    def asked(deadline: float) -> cache.Artifact:
        return cache.ensure(
            "thing", "one", {"text": "a"}, never, progress, room=1, deadline=deadline
        )

    with pytest.raises(HostError, match=rf"another lab \(pid {builder.pid}\) holds the lock"):
        asked(0.05)
    assert asked(60).path.is_dir()
    builder.join(20)
    assert said == [f"thing one: another process (pid {builder.pid}) is building it"] * 2


class Asked(Exception):
    """Stands for what follows."""


def test_what_is_compiled_is_waited_for_until_make_must_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadlines = []

    def ensure(*_: object, deadline: float = 0, **more: object) -> None:
        deadlines.append(deadline)
        raise Asked

    monkeypatch.setattr(names_of_kernels, "resolve", lambda _: Linux(source=tmp_path))
    monkeypatch.setattr(kernel, "_inputs", lambda *_: {})
    monkeypatch.setattr(cache, "ensure", ensure)
    with pytest.raises(Asked):
        kernel.ensure_kernel("mine", quiet)
    made = kernel.Kernel("mine", "key", "6.12", tmp_path, tmp_path, tmp_path, tmp_path)
    with pytest.raises(Asked):
        module.ensure_module("copyref", made, quiet)
    # One for the kernel that another lab compiles of the same sources.
    assert min(deadlines) > 2 * make.DEADLINE


def test_what_travels_is_waited_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert depot.travel_time("kernel") == 0
    monkeypatch.setenv(depot.VARIABLE, "/depot")
    assert depot.travel_time("kernel") > 3600
    assert depot.travel_time("checkpoint") == 0


def _hang(directory: Path) -> dict[str, str]:
    write_one(directory)
    time.sleep(60)
    return {}


def _ensure_hanging() -> None:
    ensure(_hang, text="hang")


@pytest.mark.parametrize("text", ["hang", "another"])
def test_what_a_killed_builder_left_is_swept(store: Path, text: str) -> None:
    builder = multiprocessing.get_context("fork").Process(target=_ensure_hanging)
    builder.start()
    end = time.monotonic() + 10
    while not list(store.glob(".partial-*/file")):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert builder.pid is not None
    # A living builder of another artifact must not lose its work.
    other = ensure(text="other")
    assert len(list(store.glob(".partial-*/file"))) == 1
    os.kill(builder.pid, signal.SIGKILL)
    builder.join(10)
    assert names(store) == {other.path.name, *(path.name for path in store.glob(".partial-*"))}
    built = ensure(text=text)
    assert names(store) == {other.path.name, built.path.name}


def test_removal_by_name(store: Path) -> None:
    kept = cache.ensure("thing", "two", {}, write_one, quiet, room=1)
    doomed = ensure()
    assert cache.remove_named("thing", "one") == [doomed]
    assert cache.listing("thing") == [kept]
    assert cache.remove_named("thing", None) == [kept]
    assert names(store) == set()


def half_made(store: Path) -> Path:
    """What a builder left that was killed."""
    cache.address("thing", "one", {"text": "a"})
    path = store / ".partial-one-0123456789abcdef"
    path.mkdir(parents=True)
    (path / "file").write_text("half")
    return path


def test_the_machine_of_a_killed_builder_is_ended_with_what_it_left(store: Path) -> None:
    path = half_made(store)
    with idle(path, "-nodefaults") as machine, idle(path) as other:
        assert cache.half_made() == [path]
        assert cache.sweep(path)
        assert not path.exists()
        assert not machine.alive()
        assert other.alive(), "whoever stands there is not what the lab has started"


def test_the_next_builder_sweeps_it_too(store: Path) -> None:
    path = half_made(store)
    with idle(path, "-nodefaults") as machine:
        assert ensure().path.exists()
        assert not path.exists()
        assert not machine.alive()


def test_what_a_builder_works_on_is_not_swept(store: Path) -> None:
    path = half_made(store)
    locked = lock.held(cache._lock("0123456789abcdef"), deadline=0)
    with locked, idle(path, "-nodefaults") as machine:
        assert cache.half_made() == []
        assert not cache.sweep(path)
        assert ensure().path.exists()
        assert machine.alive()
        assert (path / "file").exists()
