# SPDX-License-Identifier: GPL-2.0-or-later
"""Trees that a person built: whether they are, and whether they fit the guests."""

import shutil
from pathlib import Path

import pytest

from lab.errors import UsageError
from lab.host import dirs, settings
from lab.suites.upstream.elf import programs
from lab.suites.upstream.tree import TreeLayout, _fingerprint, check_fits, choose_tree, find_tree

LAYOUT = TreeLayout("demo", "check", {"ltp/fsx.c": "ltp/fsx"})
TRUE = Path("/bin/true")

AARCH64 = (183).to_bytes(2, "little")
"""EM_AARCH64 of the ELF specification, at offset 18 of the header (e_machine)."""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with a program that needs libc."""
    place = tmp_path / "tree"
    (place / "ltp").mkdir(parents=True)
    (place / "check").write_text("#!/bin/sh\n")
    (place / "check").chmod(0o755)
    (place / "ltp/fsx.c").write_text("")
    shutil.copy(TRUE.resolve(), place / "ltp/fsx")
    return place


def test_a_built_tree_is_found(tree: Path) -> None:
    assert find_tree(LAYOUT, tree / "../tree") == tree


def test_a_tree_is_named_by_hand_or_in_the_settings(tree: Path) -> None:
    layout = TreeLayout("blktests", "check", {})
    with pytest.raises(UsageError, match="blktests: which tree"):
        choose_tree(layout, None)
    path = dirs.config(settings.FILE)
    path.parent.mkdir(parents=True)
    path.write_text(f"suites:\n  blktests:\n    tree: {tree}\n")
    assert choose_tree(layout, None) == tree
    with pytest.raises(UsageError, match="/nowhere: no tree of blktests"):
        choose_tree(layout, Path("/nowhere"))


def test_a_directory_that_is_no_tree_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no tree of demo: it has no program `check`"):
        find_tree(LAYOUT, tmp_path)


def test_a_tree_that_is_not_built_is_told_with_what_to_do(tree: Path) -> None:
    (tree / "ltp/fsx").unlink()
    with pytest.raises(UsageError, match=r"not built: ltp/fsx.c is there, but no ltp/fsx"):
        find_tree(LAYOUT, tree)


def test_programs_are_read_from_their_elf_files_and_nothing_else_is(tree: Path) -> None:
    (tree / "cut").write_bytes((tree / "ltp/fsx").read_bytes()[:100])
    (tree / "link").symlink_to("ltp/fsx")
    (program,) = programs(tree)
    assert program.path == tree / "ltp/fsx"
    assert program.machine == "x64"
    assert "libc.so.6" in program.needs


def test_missing_libraries_are_named_with_who_needs_them(tree: Path) -> None:
    found = list(programs(tree))
    check_fits(tree, found, ["libc.so.6"])
    with pytest.raises(UsageError) as caught:
        check_fits(tree, found, ["libm.so.6"])
    assert "the guest has no libc.so.6" in caught.value.message
    assert "libc.so.6: needed by ltp/fsx" in caught.value.detail
    assert "lab shell build --bind" in caught.value.hint


def test_a_tree_for_another_architecture_is_told(tree: Path) -> None:
    data = bytearray((tree / "ltp/fsx").read_bytes())
    data[18:20] = AARCH64
    (tree / "ltp/fsx").write_bytes(data)
    with pytest.raises(UsageError, match="built for AArch64, and guests are x64"):
        check_fits(tree, list(programs(tree)), ["libc.so.6"])


def test_libraries_of_the_tree_itself_are_not_missing(tree: Path) -> None:
    libc = next(Path("/lib").rglob("libc.so.6"))
    shutil.copy(libc.resolve(), tree / "libc.so.6")
    check_fits(tree, list(programs(tree)), [next(Path("/lib").rglob("ld-linux-x86-64*")).name])


def test_a_tree_that_changes_is_packed_anew(tree: Path) -> None:
    before = _fingerprint(tree)
    assert _fingerprint(tree) == before
    (tree / "ltp/fsx.c").write_text("int main;")
    assert _fingerprint(tree) != before
