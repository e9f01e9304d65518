# SPDX-License-Identifier: GPL-2.0-or-later
"""What building a kernel needs of the host is asked for before minutes have gone."""

import os
import shutil
from pathlib import Path

import pytest

from lab.artifacts import kernel
from lab.artifacts.kernels import make, names
from lab.artifacts.kernels.linux import Linux
from lab.errors import HostError, LackError


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with a compiler and git, and nothing to build a kernel with."""
    place = tmp_path / "bin"
    place.mkdir()
    for name in ("gcc", "git", "as", "sh", "env"):
        program = shutil.which(name)
        assert program
        (place / name).symlink_to(program)
    monkeypatch.setenv("PATH", str(place))
    return place


def test_all_that_is_missing_is_named_at_once(bare: Path) -> None:
    with pytest.raises(HostError) as caught:
        make.check_tools()
    lacking = {"make", "flex", "bison", "bc", "ld", "perl"}
    assert set(caught.value.message.rpartition(": ")[2].split(", ")) == lacking
    assert isinstance(caught.value, LackError)
    # Without packages' names, which differ between distributions.
    assert caught.value.cure.startswith("sudo ")
    assert set(caught.value.cure.split()) >= lacking - {"ld"} | {"binutils"}


def test_a_library_is_tried_not_looked_up() -> None:
    assert make._links("#include <stdlib.h>", "abs(1)")
    assert not make._links("#include <lab/none.h>", "abs(1)")
    assert not make._links("#include <stdlib.h>", "abs(1)", "-llab-none")


def test_a_build_asks_before_it_touches_the_sources(bare: Path, tmp_path: Path) -> None:
    tree = tmp_path / "linux"
    tree.mkdir()
    (tree / "Kbuild").touch()
    names.BOOK.add("mine", Linux(source=tree))
    told = list[str]()
    with pytest.raises(HostError, match="flex"):
        kernel.ensure_kernel("mine", told.append)
    assert told == []
    assert not any((Path(os.environ["HOME"]) / ".cache/lab/linux").glob("*/source/*"))
