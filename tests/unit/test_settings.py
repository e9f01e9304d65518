# SPDX-License-Identifier: GPL-2.0-or-later
"""The user's settings."""

from pathlib import Path

import pytest

from lab.errors import ProfileError
from lab.host import dirs, settings


def write(text: str) -> None:
    path = dirs.config(settings.FILE)
    path.parent.mkdir(parents=True)
    path.write_text(text)


def test_without_a_file_nothing_is_set() -> None:
    assert settings.load().suites.fstests.tree is None


def test_a_tree_may_lie_in_the_home_directory(home: Path) -> None:
    write("suites:\n  fstests:\n    tree: ~/src/xfstests\n")
    assert settings.load().suites.fstests.tree == home / "src/xfstests"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("suites:\n  fstest: {}\n", "config.yaml:2: suites.fstest: Extra inputs"),
        (
            "suites:\n  fstests:\n    tree: here\n",
            "config.yaml:3: suites.fstests.tree: 'here' does not fit: here is",
        ),
        ("suites: [1\n", "config.yaml:1: not valid YAML"),
        ("- 1\n", "config.yaml:1: a list does not fit"),
    ],
)
def test_a_mistake_is_told_with_file_and_key(text: str, said: str) -> None:
    write(text)
    with pytest.raises(ProfileError) as caught:
        settings.load()
    assert str(dirs.config(settings.FILE)) in str(caught.value)
    assert said in str(caught.value)
