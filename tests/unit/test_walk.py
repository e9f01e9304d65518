# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole trees: a directory that cannot be read is told, where os.walk() would pass over it."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.artifacts.kernels.checkout import Checkout
from lab.errors import HostError
from lab.host.walk import walk

REAL: Callable[..., Any] = os.scandir


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree that has the files of a kernel's sources, and a directory that cannot be read (root
    may read any: the system's answer is made up)."""
    top = tmp_path / "linux"
    (top / "closed").mkdir(parents=True)
    for name in ("Kbuild", "Makefile", "closed/copy.c"):
        (top / name).touch()

    def scandir(place: Any) -> Any:
        if Path(place).name == "closed":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))
        return REAL(place)

    monkeypatch.setattr(os, "scandir", scandir)
    return top


def test_a_directory_that_cannot_be_read_is_told(tree: Path) -> None:
    with pytest.raises(HostError, match=r"linux/closed: Permission denied"):
        list(walk(tree))


def test_sources_that_cannot_be_read_whole_have_no_identity(tree: Path) -> None:
    with pytest.raises(HostError, match="Permission denied"):
        Checkout(tree).identity("")
