# SPDX-License-Identifier: GPL-2.0-or-later
"""Which artifacts nothing leads to any more, and that those in use stay where they are."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from lab.artifacts import cache, image, kernel, qemu
from lab.artifacts.cache import Artifact
from lab.artifacts.kernels import make, names
from lab.artifacts.kernels.package import KernelPackage
from lab.artifacts.kernels.source import KernelSource
from lab.artifacts.kernels.tree import KernelTree
from lab.artifacts.qemus.package import KIND, QemuPackage
from lab.host import dirs
from lab.host.process import touching
from tests.unit.builders import git, idle, kernel_tree, python, quiet, said


def made(kind: str, name: str, inputs: dict[str, str], **versions: str) -> Artifact:
    """An artifact that nobody uses: its builder has ended."""
    code = (
        "from lab.artifacts import cache\n"
        f"cache.ensure({kind!r}, {name!r}, {inputs!r}, lambda _: {versions!r}, print, room=0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    return cache.address(kind, name, inputs)


# --- images -------------------------------------------------------------------------------


def definition(name: str, text: str) -> Path:
    path = dirs.config("images") / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def of(path: Path) -> dict[str, str]:
    return image._inputs(image.load(path))


def test_an_image_is_superseded_when_its_definition_changes_and_when_it_is_gone() -> None:
    path = definition("own", "suite: trixie\npackages: [bash]\n")
    built = made("image", "own", of(path))
    assert image.superseded() == []
    definition("own", "suite: trixie\npackages: [bash, dash]\n")
    assert image.superseded() == [built]
    newer = made("image", "own", of(path))
    assert image.superseded() == [built]
    path.unlink()
    assert set(image.superseded()) == {built, newer}


def test_an_image_whose_definition_cannot_be_read_stays() -> None:
    path = definition("own", "suite: trixie\npackages: [bash]\n")
    made("image", "own", of(path))
    definition("own", "suite: [\n")
    assert image.superseded() == []


# --- kernels ------------------------------------------------------------------------------


def built(source: KernelSource, name: str) -> Artifact:
    inputs = kernel._inputs(source, quiet)
    return made("kernel", name, inputs, source=source.summary, release="6.12")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return kernel_tree(tmp_path / "linux")


def make_again(tree: Path) -> None:
    (tree / "vmlinux").write_bytes((tree / "vmlinux").read_bytes() + b"another")


def test_a_tree_that_was_compiled_anew_supersedes_its_kernel(tree: Path) -> None:
    names.BOOK.add("mine", KernelTree(tree=tree))
    old = built(KernelTree(tree=tree), "mine")
    assert kernel.superseded(quiet) == []
    make_again(tree)
    new = built(KernelTree(tree=tree), "mine")
    assert kernel.superseded(quiet) == [old]
    assert new.path.is_dir()


def test_so_it_is_without_a_name(tree: Path) -> None:
    old = built(KernelTree(tree=tree), "linux")
    assert kernel.superseded(quiet) == []
    make_again(tree)
    assert kernel.superseded(quiet) == [old]


def test_so_it_is_with_a_commit_of_a_git_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "compiler", lambda: "gcc 12")
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        git(tmp_path, *words)
    commit = git(tmp_path, "rev-parse", "HEAD")
    old = built(names.resolve(f"{tmp_path}@{commit}"), "linux")
    assert kernel.superseded(quiet) == []
    monkeypatch.setattr(make, "compiler", lambda: "gcc 13")
    assert kernel.superseded(quiet) == [old]


def test_a_kernel_stays_whose_sources_cannot_be_read_or_found(tree: Path) -> None:
    names.BOOK.add("mine", KernelTree(tree=tree))
    built(KernelTree(tree=tree), "mine")
    made("kernel", "linux", {}, source="/nowhere/linux + a.patch", release="6.12")
    (tree / "vmlinux").unlink()
    assert kernel.superseded(quiet) == []


def test_a_package_that_was_packed_otherwise_is_superseded(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = built(names.SHIPPED["debian"], "debian")
    by_reference = built(
        KernelPackage(package="linux-image-cloud-amd64"), "linux-image-cloud-amd64"
    )
    assert kernel.superseded(quiet) == []
    monkeypatch.setattr(kernel, "FORMAT", kernel.FORMAT + 1)
    assert set(kernel.superseded(quiet)) == {kept, by_reference}


def test_a_kernel_of_a_lab_that_told_no_source_is_superseded() -> None:
    old = made("kernel", "debian", {}, release="6.12")
    assert kernel.superseded(quiet) == [old]


def test_an_initramfs_is_superseded_with_its_kernel_its_scripts_or_its_busybox(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = built(names.SHIPPED["debian"], "debian")
    busybox = made(*kernel._BUSYBOX)
    early = made(*kernel._initramfs(whole, kernel._scripts(), busybox), kernel=whole.key)
    assert kernel.superseded(quiet) == []
    old = made(*kernel._initramfs(whole, {"init": "old"}, busybox), kernel=whole.key)
    assert kernel.superseded(quiet) == [old]
    monkeypatch.setattr(
        kernel, "_BUSYBOX", (*kernel._BUSYBOX[:2], kernel._BUSYBOX[2] | {"suite": "forky"})
    )
    assert set(kernel.superseded(quiet)) == {busybox, early, old}


def test_what_is_of_another_kind_is_nobodys_business_here() -> None:
    made("tool", "of a later lab", {})
    made("checkpoint", "of a later lab", {})
    assert kernel.superseded(quiet) == []


# --- QEMUs --------------------------------------------------------------------------------


def test_a_qemu_that_would_be_unpacked_otherwise_is_superseded() -> None:
    source = QemuPackage(package="qemu-system-x86", suite="sid", version="1:11.1.3+ds-1")
    made(KIND, "qemu-system-x86-sid", source._inputs, source=source.summary, version="11")
    old = made(
        KIND, "qemu-system-x86-sid", source._inputs | {"launcher": "of old"},
        source=source.summary, version="11",
    )  # fmt: skip
    assert qemu.superseded() == [old]


# --- in use -------------------------------------------------------------------------------

HOLDER = """\
import sys
from lab.artifacts import cache
cache.ensure("thing", "one", {}, lambda _: {}, print, room=0)
print("held", flush=True)
sys.stdin.read()
"""


def test_what_nobody_uses_is_removed() -> None:
    artifact = made("thing", "one", {})
    assert cache.remove_unused(artifact)
    assert not artifact.path.exists()
    assert not cache.remove_unused(artifact)


def test_what_a_lab_works_with_stays_until_that_ends() -> None:
    artifact = made("thing", "one", {})
    with python(HOLDER) as lab:
        assert said(lab) == "held"
        # The lock alone, and not only that its descriptor is seen.
        assert not cache.remove_unused(artifact)
        lab.communicate("")
    assert cache.remove_unused(artifact)


def test_the_lock_alone_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "touching", lambda _directory: [])
    artifact = made("thing", "one", {})
    with python(HOLDER) as lab:
        assert said(lab) == "held"
        assert not cache.remove_unused(artifact)
        lab.communicate("")
    assert cache.remove_unused(artifact)


@contextmanager
def opening(path: Path) -> Iterator[int]:
    """A process that has a file open, and does not name it."""
    with path.open() as file, subprocess.Popen(["sleep", "600"], stdin=file) as process:
        try:
            yield process.pid
        finally:
            process.kill()


@contextmanager
def naming(path: Path) -> Iterator[int]:
    with idle(argument=f"filename={path}") as process:
        yield process.pid


@contextmanager
def working_below(path: Path) -> Iterator[int]:
    with idle(cwd=path.parent) as process:
        yield process.pid


@pytest.mark.parametrize("way", [opening, naming, working_below])
def test_what_another_program_has_to_do_with_stays(
    way: Callable[[Path], AbstractContextManager[int]],
) -> None:
    artifact = made("thing", "one", {})
    with way(artifact.path / cache.MANIFEST) as pid:
        assert touching(artifact.path) == [pid]
        assert not cache.remove_unused(artifact)
    assert cache.remove_unused(artifact)


LOCKED = """\
import sys
from pathlib import Path
from lab.host import lock
with lock.held(Path(sys.argv[1]), deadline=0):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_what_is_being_built_is_not_waited_for() -> None:
    artifact = made("thing", "one", {})
    with python(LOCKED, cache._lock(artifact.key)) as lab:
        assert said(lab) == "locked"
        assert not cache.remove_unused(artifact)
        lab.communicate("")
    assert cache.remove_unused(artifact)


def test_what_is_asked_for_while_it_is_removed_is_built_again() -> None:
    artifact = made("thing", "one", {})
    assert cache.remove_unused(artifact)
    again = cache.ensure("thing", "one", {}, lambda _: {}, quiet, room=0)
    assert again == artifact
    assert again.path.is_dir()
    # And again, in the same process, over what it held.
    assert cache.remove(again)
    cache.ensure("thing", "one", {}, lambda _: {}, quiet, room=0)
    assert not cache.remove_unused(again)


def test_what_a_killed_builder_left_is_found_and_swept() -> None:
    left = dirs.cache("artifacts", "thing") / ".partial-one-0123456789abcdef"
    left.mkdir()
    (left / "file").touch()
    assert cache.half_made() == [left]
    assert cache.sweep(left)
    assert cache.half_made() == []
