# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels that count what they execute: how they are asked for, compiled, and kept."""

import subprocess
from pathlib import Path

import pytest

from lab.artifacts.kernels import config, gcov, names, notes
from lab.artifacts.kernels.linux import Linux
from lab.artifacts.kernels.tree import KernelTree
from lab.errors import UsageError
from lab.suites.request import Request
from tests.unit.builders import kernel_tree

SUB = """\
# As in scripts/Makefile.lib of Linux 6.12.
target-stem = $(basename $(patsubst $(obj)/%,%,$@))
own = $(GCOV_PROFILE_$(target-stem).o)$(GCOV_PROFILE)
flags = $(if $(patsubst n%,,$(own)$(if y,$(CONFIG_GCOV_PROFILE_ALL))),GCOV)
GCOV_PROFILE_never.o := n
.PHONY: FORCE
all: $(obj)/core.o $(obj)/never.o $(obj)/sub/core.o
$(obj)/%.o: FORCE
\t@echo $@ $(flags)
FORCE:
"""


def test_places_are_told_apart_and_in_order() -> None:
    asked = "./drivers/nvme/, block,drivers/block/loop.c,,block"
    assert gcov.paths(asked) == ("block", "drivers/block/loop.c", "drivers/nvme")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("/etc", "no directory or file"),
        ("block/../fs", "no directory or file"),
        ("block/$(shell reboot)", "no directory or file"),
        ("include/linux/bio.h", "compiled of a .c file"),
        (" , ", "coverage of nothing"),
    ],
)
def test_what_is_no_place(asked: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        gcov.paths(asked)
    assert said in str(raised.value)


def test_make_compiles_with_gcov_what_was_asked_for_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("all:\n\t@$(MAKE) -s -f middle\n")
    calls = "\n".join(f"\t@$(MAKE) -s -f sub obj={obj}" for obj in ("block", "drivers/block", "fs"))
    (tmp_path / "middle").write_text(f"all:\n{calls}\n")
    (tmp_path / "sub").write_text(SUB)
    word = gcov.make_word(("block", "drivers/block/core.c"))
    argv = ["make", "-s", "-j2", "--output-sync=target", word]
    said = subprocess.run(argv, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    counted = {line.split()[0] for line in said.splitlines() if line.endswith("GCOV")}
    assert counted == {"block/core.o", "block/sub/core.o", "drivers/block/core.o"}
    assert "fs/core.o" in said


def test_a_kernel_by_its_name_and_what_counts() -> None:
    source = Linux(source=Path("/src/linux"))
    names.BOOK.add("base", source)
    counting = names.resolve("base+gcov:drivers/nvme,block")
    assert counting == source.model_copy(update={"coverage": ("block", "drivers/nvme")})
    assert counting.summary == "/src/linux + gcov:block,drivers/nvme"
    assert names.counting("base", "drivers/nvme/,block") == "base+gcov:block,drivers/nvme"
    assert names.canonical("base+gcov:drivers/nvme,block") == "base+gcov:block,drivers/nvme"
    assert names.counted("base+gcov:block") == ("block",)
    assert names.counted("base") == ()


def test_a_tree_by_a_path_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "linux").mkdir()
    monkeypatch.chdir(tmp_path)
    assert names.canonical("./linux+gcov:block") == f"{tmp_path}/linux+gcov:block"


def test_the_configuration_of_what_counts_is_no_choice_of_its_own() -> None:
    assert gcov.FRAGMENT not in config.variants()
    assert config.options(config.text((gcov.FRAGMENT,)))[gcov.OPTION] == "y"


def test_a_kernel_that_comes_as_it_is() -> None:
    with pytest.raises(UsageError) as raised:
        Request("nvme-copy", "copy-faults", coverage="block").load()
    assert "needs a kernel that was compiled with gcov" in str(raised.value)
    assert "lab kernel add NAME --source" in str(raised.value)


def test_a_run_with_coverage_boots_a_kernel_that_counts() -> None:
    names.BOOK.add("base", Linux(source=Path("/src/linux")))
    request = Request("nvme-copy", "copy-faults", kernel="base", coverage="drivers/nvme/,block")
    assert request.load().kernel == "base+gcov:block,drivers/nvme"
    assert list(request.words())[3:7] == ["--kernel", "base", "--coverage", "drivers/nvme/,block"]


def test_a_tree_that_was_built_without(tmp_path: Path) -> None:
    tree = kernel_tree(tmp_path)
    with pytest.raises(UsageError) as raised:
        names.resolve(f"{tree}+gcov:block")
    assert "built without gcov" in str(raised.value)
    assert "CONFIG_GCOV_PROFILE_ALL=" in str(raised.value)


def test_a_tree_in_which_other_places_count(tmp_path: Path) -> None:
    tree = kernel_tree(tmp_path)
    with (tree / ".config").open("a") as file:
        file.write(f"{gcov.OPTION}=y\n")
    _compiled(tree, "fs/read_write")
    with pytest.raises(UsageError) as raised:
        names.resolve(f"{tree}+gcov:fs,block")
    assert "no object of block" in str(raised.value)
    assert "those that do are in fs" in str(raised.value)
    found = names.resolve(f"{tree}+gcov:fs")
    assert isinstance(found, KernelTree)
    assert found.coverage == ("fs",)


def test_what_is_kept_of_a_kernel_that_counts(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    out.mkdir()
    (out / "Makefile").write_text(f"include {source}/Makefile\n")
    for name in ("block/bio.c", "block/blk.h", "fs/open.c"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    _compiled(out, "block/bio")
    _compiled(out, "fs/open")
    # Counted in an earlier build, and does not any more.
    _compiled(out, "block/old", "gcc -c")
    notes.keep(out, source, ("block",), tmp_path / "artifact")
    found = notes.of_kernel(tmp_path / "artifact")
    assert found.places == ("block",)
    assert found.origin == (str(out), str(source))
    assert [str(one.relative_to(found.notes)) for one in found.notes.rglob("*.gcno")] == [
        "block/bio.gcno"
    ]
    kept = sorted(str(one.relative_to(found.sources)) for one in found.sources.rglob("*.*"))
    assert kept == ["block/bio.c", "block/blk.h"]


def _compiled(out: Path, name: str, command: str = "gcc -ftest-coverage -c") -> None:
    """Leave what the compilation of an object does."""
    note = out / f"{name}.gcno"
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_bytes(b"oncg")
    note.with_name(f".{note.stem}.o.cmd").write_text(f"savedcmd_{name}.o := {command}\n")
