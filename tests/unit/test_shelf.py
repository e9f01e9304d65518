# SPDX-License-Identifier: GPL-2.0-or-later
"""Checkpoints that there are, failures, and which of them nothing leads to any more."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lab.artifacts import cache
from lab.artifacts.cache import Artifact
from lab.artifacts.image import Image
from lab.artifacts.kernel import Kernel
from lab.cli import main
from lab.cli.checkpoint import complete_checkpoint
from lab.doctor import leftovers
from lab.doctor.finding import State
from lab.guest import making, shelf
from lab.guest.boot import Platform
from lab.guest.checkpoints import KIND, Recipe
from lab.host.qemu import Accelerator
from tests.unit.builders import profile


def ready(kind: str, name: str, file: str) -> Path:
    def build(directory: Path) -> dict[str, str]:
        (directory / file).write_text(name)
        return {}

    return cache.ensure(kind, name, {}, build, lambda _: None, room=0).path / file


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """What stands for a QEMU."""
    path = tmp_path / "qemu"
    path.write_text("7.2")
    return path


@pytest.fixture
def recipe(program: Path) -> Recipe:
    vmlinux = ready("kernel", "debian", "vmlinux")
    initramfs = ready("initramfs", "debian", "initramfs.cpio")
    kernel = Kernel("debian", "key", "6.12", vmlinux, vmlinux, initramfs, vmlinux)
    image = Image("trixie", ready("image", "trixie", "root.erofs"))
    platform = Platform(image, kernel, str(program), Accelerator("tcg", "no KVM"))
    return Recipe.of(profile("p"), platform, None)


def made(recipe: Recipe) -> Artifact:
    """A checkpoint as the list sees it: without what a guest would read."""
    said = {
        "kernel": "6.12", "image": "trixie", "qemu": "7.2.22 (Debian)", "accelerator": "tcg",
        "cpus": "2", "memory": str(1 << 30), "ports": "8", "arguments": "a b", "mapped": "yes",
    }  # fmt: skip
    return cache.ensure(
        KIND, recipe.name, recipe.inputs(), lambda _: said | shelf.origins(recipe),
        lambda _: None, room=0,
    )  # fmt: skip


def lab(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lab", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[dict[str, Any]]:
    assert lab(monkeypatch, "checkpoint", "list", "--json") == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_one_is_listed_with_all_that_it_was_made_of_and_removed_by_its_key(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = made(recipe)
    (found,) = document(monkeypatch, capsys)
    assert (found["key"], found["memory"], found["cpus"], found["ports"]) == (
        artifact.key, 1 << 30, 2, 8,
    )  # fmt: skip
    assert (found["mapped"], found["failed"], found["arguments"]) == (True, None, ["a", "b"])
    lab(monkeypatch, "checkpoint", "list")
    said = capsys.readouterr().out
    assert "QEMU 7.2.22 tcg, 2 CPUs, 1G, 8 ports" in said
    assert max(map(len, said.splitlines())) <= 80
    assert complete_checkpoint(artifact.key[:3]) == [artifact.key]
    assert lab(monkeypatch, "checkpoint", "rm", artifact.key) == 0
    assert not artifact.path.exists()
    assert lab(monkeypatch, "checkpoint", "rm", artifact.key) == 2


def test_the_last_used_comes_first(recipe: Recipe, program: Path) -> None:
    first = made(recipe)
    program.write_text("10.0.13")
    second = made(Recipe(recipe.profile, recipe.platform, recipe.ports))
    os.utime(first.path, (1, 1))
    assert [one.artifact for one in shelf.listing()] == [second, first]
    os.utime(second.path, (0, 0))
    assert [one.artifact for one in shelf.listing()] == [first, second]


def test_a_failure_is_told_with_its_reason_until_it_is_forgotten_or_old(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shelf.failure_of(recipe.artifact)
    path.write_text("QEMU says no")
    (found,) = document(monkeypatch, capsys)
    assert (found["name"], found["made"], found["failed"]) == (recipe.name, None, "QEMU says no")
    assert making.failed(recipe) == "QEMU says no"
    finding = leftovers.checkpoints()
    assert finding.state is State.DEGRADED
    assert "QEMU says no" in finding.said
    assert lab(monkeypatch, "checkpoint", "rm", recipe.name) == 0
    assert making.failed(recipe) == ""
    assert leftovers.checkpoints().state is State.OK

    path.write_text("QEMU says no")
    long_ago = time.time() - shelf.PAUSE - 1
    os.utime(path, (long_ago, long_ago))
    assert (making.failed(recipe), shelf.failures()) == ("", [])
    making.prune()
    assert not path.exists()


def test_one_is_superseded_when_nothing_leads_to_it_any_more(
    recipe: Recipe, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = made(recipe)
    assert shelf.superseded([]) == []
    # Its kernel is about to be removed.
    source = Path(recipe.platform.kernel.vmlinux).parent
    doomed = Artifact("kernel", "debian", source.name.rpartition("-")[2], source)
    assert shelf.superseded([doomed]) == [artifact]
    # Guests have other programs.
    monkeypatch.setattr("lab.guest.initrd.programs", dict)
    assert shelf.superseded([]) == [artifact]
    monkeypatch.undo()


@pytest.mark.parametrize("change", ["another QEMU", "no QEMU", "no image", "image", "modules"])
def test_so_it_is_when_what_it_was_made_of_has_changed(
    recipe: Recipe, program: Path, change: str
) -> None:
    artifact = made(recipe)
    match change:
        case "another QEMU":
            program.write_text("another one")
        case "no QEMU":
            program.unlink()
        case "image" | "modules":
            # Built again: under the same key, and not to the last bit the same.
            built = {"image": recipe.platform.image.root, "modules": recipe.platform.kernel.modules}
            os.utime(built[change], ns=(0, 0))
            again = Recipe(recipe.profile, recipe.platform, recipe.ports)
            assert again.artifact.path != artifact.path
        case _:
            root = recipe.platform.image.root
            root.unlink()
            (root.parent / cache.MANIFEST).unlink()
            root.parent.rmdir()
    assert shelf.superseded([]) == [artifact]


def test_one_that_says_nothing_of_its_origins_is_superseded() -> None:
    old = cache.ensure(KIND, "old", {}, lambda _: {"mapped": "yes"}, lambda _: None, room=0)
    assert shelf.superseded([]) == [old]
