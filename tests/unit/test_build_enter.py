# SPDX-License-Identifier: GPL-2.0-or-later
"""What is bound into an image: directories that are there, and can be written or are told."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab.artifacts import enter
from lab.artifacts.image import Image
from lab.errors import UsageError

IMAGE = Image("build", Path("/nowhere/root.erofs"))


def test_a_directory_that_can_be_written_is_not_told(tmp_path: Path) -> None:
    assert enter.unwritable(tmp_path) == ""
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_is_read_only_is_told_with_what_to_do() -> None:
    # Nobody can make a file there, and root neither.
    said = enter.unwritable(Path("/proc/self/fd"))
    assert said.startswith("/proc/self/fd cannot be written: ")
    assert "copy it" in said


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_root_that_is_nobody_at_the_server_is_told_whose_it_is(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    os.chown(tree, 65534, 65534)
    # As with root_squash: root without the right to write what belongs to others.
    code = f"from lab.artifacts.enter import *; print(unwritable(Path({str(tree)!r})))"
    argv = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", "--inh-caps=-all"]
    assert shutil.which("setpriv")
    done = subprocess.run(
        [*argv, sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == (
        f"{tree} cannot be written: Permission denied; it belongs to nobody: be that user"
        " (sudo -u nobody lab …), or copy it"
    )


def test_what_is_no_directory_is_refused_before_anything_slow(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, why in (
        (tmp_path / "none", "no such directory"),
        (tmp_path / "file", "no directory"),
    ):
        with pytest.raises(UsageError, match=why):
            enter.argv(IMAGE, [path], ["true"])
