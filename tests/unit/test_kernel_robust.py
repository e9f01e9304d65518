# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab kernel add`, `rm` and `list`, two at once, killed in the middle, on a full disk."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from lab.artifacts import cache
from lab.artifacts.kernel import NamedKernel, listing, remove
from lab.artifacts.kernels import names
from lab.artifacts.kernels.checkout import Checkout
from lab.artifacts.kernels.linux import Linux
from lab.artifacts.kernels.tree import KernelTree
from lab.errors import UsageError
from lab.host import dirs
from tests import ROOT
from tests.unit.builders import kernel_tree, quiet

FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True, name="cache")
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache directory of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def at_once(count: int, work: Callable[[int], str]) -> list[str]:
    """What so many processes say that begin at the same moment; an error that is none of the
    lab's is what it is."""
    barrier, said = FORK.Barrier(count), FORK.SimpleQueue()
    workers = [FORK.Process(target=_work, args=(work, n, barrier, said)) for n in range(count)]
    for worker in workers:
        worker.start()
    found = [said.get() for _ in workers]
    for worker in workers:
        worker.join(20)
        assert worker.exitcode == 0
    return found


def _work(work: Callable[[int], str], number: int, barrier: Barrier, said: Any) -> None:
    barrier.wait(20)
    try:
        said.put(work(number))
    except Exception as error:
        said.put(f"{type(error).__name__}: {error}")


def built(source: Path) -> cache.Artifact:
    """An artifact of a kernel from these sources, as far as it is listed."""
    versions = {"source": Linux(source=source).summary, "release": "6.12"}

    def build(place: Path) -> dict[str, str]:
        (place / "vmlinux").write_bytes(bytes(4096))
        return versions

    return cache.ensure("kernel", "linux", {}, build, quiet, room=0)


def named(name: str) -> NamedKernel:
    (found,) = [each for each in listing() if each.name == name]
    return found


def test_one_of_many_gets_the_name(tmp_path: Path) -> None:
    def add(number: int) -> str:
        try:
            names.BOOK.add("mine", KernelTree(tree=tmp_path / str(number)))
        except UsageError as error:
            return "refused" if "known already" in error.message else str(error)
        return str(number)

    for _ in range(5):
        said = at_once(6, add)
        (winner,) = set(said) - {"refused"}
        assert said.count("refused") == 5
        assert names.resolve("mine") == KernelTree(tree=tmp_path / winner)
        names.forget("mine")


def test_what_comes_and_goes_is_listed_or_not(tmp_path: Path) -> None:
    def come_and_go(number: int) -> str:
        end = time.monotonic() + 3
        while time.monotonic() < end:
            if number == 0:
                listing()
            else:
                names.BOOK.add(f"k{number}", Linux(source=tmp_path))
                built(tmp_path)
                remove(named(f"k{number}"), quiet)
        return "well"

    assert at_once(3, come_and_go) == ["well"] * 3


def test_two_remove_the_same(tmp_path: Path) -> None:
    def take(_number: int) -> str:
        return str(len(remove(kernel, quiet)))

    for _ in range(5):
        names.BOOK.add("mine", Linux(source=tmp_path))
        built(tmp_path)
        kernel = named("mine")
        said = at_once(3, take)
        assert sorted(said) == ["0", "0", "1"], said
        assert [each.name for each in listing()] == list(names.SHIPPED)


@pytest.mark.parametrize("step", ["shutil.rmtree", "lab.artifacts.kernels.names.forget"])
def test_a_removal_that_was_killed_is_done_again(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names.BOOK.add("mine", Linux(source=tmp_path))
    artifact = built(tmp_path)
    checkout = Checkout(tmp_path).directory
    (checkout / "source").mkdir(parents=True)

    def killed() -> None:
        monkeypatch.setattr(step, lambda *_args, **_options: os.kill(os.getpid(), signal.SIGKILL))
        remove(named("mine"), quiet)

    worker = FORK.Process(target=killed)
    worker.start()
    worker.join(20)
    assert worker.exitcode == -signal.SIGKILL
    remove(named("mine"), quiet)
    assert not artifact.path.exists() and not checkout.exists()
    assert [each.name for each in listing()] == list(names.SHIPPED)


def test_who_removes_sources_that_are_being_built_waits_and_says_so(tmp_path: Path) -> None:
    names.BOOK.add("mine", Linux(source=tmp_path))
    told: list[str] = []
    with ExitStack() as other:
        other.enter_context(Checkout(tmp_path).held(quiet))

        def progress(phase: str) -> None:
            told.append(phase)
            other.close()

        remove(named("mine"), progress)
    assert told == ["wait for another lab, which works on the same sources"]


def test_a_name_that_was_killed_half_way_is_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed() -> None:
        monkeypatch.setattr(Path, "replace", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        names.BOOK.add("mine", KernelTree(tree=tmp_path))

    worker = FORK.Process(target=killed)
    worker.start()
    worker.join(20)
    assert worker.exitcode == -signal.SIGKILL
    assert "mine" not in names.BOOK.known()
    names.forget("another")
    assert [path.name for path in dirs.state("kernels").iterdir()] == []
    names.BOOK.add("mine", KernelTree(tree=tmp_path / "other"))
    assert names.resolve("mine") == KernelTree(tree=tmp_path / "other")


def test_a_full_disk(tmp_path: Path, cache: Path) -> None:
    """A real one: a tmpfs of a few pages in a mount namespace, for names and for what is built."""
    tree = kernel_tree(tmp_path / "linux")
    state = tmp_path / "state"
    for place in (state, cache):
        place.mkdir(exist_ok=True)
    script = f"""
        for place in {state} {cache}; do
            mount -t tmpfs -o size=64k tmpfs $place || exit 77
        done
        lab() {{ {sys.executable} -m lab "$@"; echo "status $?"; }}
        mkdir -p {state}/lab/kernels
        dd if=/dev/zero of={state}/fill bs=1k 2>/dev/null
        lab kernel add mine --tree {tree}
        rm {state}/fill
        lab kernel add mine --tree {tree}
        lab kernel build mine
        lab kernel rm mine
        lab kernel list
    """
    argv = ["unshare", "--mount", *(["--map-root-user"] if os.getuid() else []), "sh", "-c", script]
    env = {**os.environ, "XDG_STATE_HOME": str(state), "XDG_CACHE_HOME": str(cache)}
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env=env, check=False)
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip(f"no mounts here: {done.stderr.strip()}")
    said = done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("status")] == [
        "status 3", "status 0", "status 3", "status 0", "status 0",
    ], said  # fmt: skip
    assert f"{state}/lab/kernels" in said and "No space left on device" in said
    assert "building needs 1024 MiB" in said
    assert "bug of the lab" not in said and "Traceback" not in said
