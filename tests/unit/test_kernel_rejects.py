# SPDX-License-Identifier: GPL-2.0-or-later
"""Series that do not fit: every hunk is told, with what stands there instead."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.artifacts.kernels import rejects
from lab.artifacts.kernels.linux import Linux
from lab.errors import ProfileError
from tests.unit.builders import git, quiet

FILE = [f"line {number}" for number in range(1, 41)]


def edit(tree: Path, file: str, **lines: str) -> None:
    """Give lines, by their numbers, another text."""
    rows = (tree / file).read_text().splitlines()
    for number, text in lines.items():
        rows[int(number.removeprefix("_")) - 1] = text
    (tree / file).write_text("".join(f"{row}\n" for row in rows))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    tree = tmp_path / "linux"
    (tree / "block").mkdir(parents=True)
    git(tree, "init", "--quiet", "--initial-branch=main")
    (tree / "Kbuild").touch()
    for file in ("block/a.c", "block/b.c"):
        (tree / file).write_text("".join(f"{row}\n" for row in FILE) + f"{file}\n")
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--message=first")
    return tree


@pytest.fixture
def patches(repository: Path) -> Path:
    """Three patches: the first changes a.c twice, the second b.c, the third a.c again."""
    author = repository.with_name("author")
    git(repository.parent, "clone", "--quiet", repository, author)
    edit(author, "block/a.c", _10="ten", _30="thirty")
    git(author, "commit", "--quiet", "--all", "--message=block: Change a")
    edit(author, "block/b.c", _20="twenty")
    git(author, "commit", "--quiet", "--all", "--message=block: Change b")
    edit(author, "block/a.c", _11="eleven")
    git(author, "commit", "--quiet", "--all", "--message=block: Change a again")
    place = author.with_name("out")
    git(author, "format-patch", "--quiet", "-3", "--base=HEAD~3", "-o", place)
    return place


def refused(source: Path, series: Path, rev: str = "") -> ProfileError:
    with pytest.raises(ProfileError) as caught:
        Linux(source=source, rev=rev, series=(series,)).try_series(quiet)
    return caught.value


WHOLE = """\
patch 1, "block: Change a": block/a.c, hunk @@ -7,7 +7,7 @@ line 6
 line 7
 line 8
 line 9
-line 10
+ten
 line 11
 line 12
 line 13
what stands there instead, at line 9:
     9   line 7
    10   line 8
    11   line 9
    12 ! other 10
    13   line 11
    14   line 12
    15   line 13
three-way merge: conflicts as well

patch 2, "block: Change b": block/b.c: No such file or directory; there is block/moved/b.c
three-way merge: conflicts as well

patch 3, "block: Change a again": block/a.c, hunk @@ -8,7 +8,7 @@ line 7
 line 8
 line 9
 ten
-line 11
+eleven
 line 12
 line 13
 line 14
what stands there instead, at line 10:
    10   line 8
    11   line 9
    12 ! other 10
    13   line 11
    14   line 12
    15   line 13
    16   line 14
perhaps since an earlier patch was rejected in this file
three-way merge: conflicts as well"""


def test_all_that_does_not_fit_is_told_with_what_stands_there(
    repository: Path, patches: Path
) -> None:
    base = git(repository, "rev-parse", "HEAD")
    edit(repository, "block/a.c", _1="new\nnew\nline 1", _10="other 10")
    (repository / "block/moved").mkdir()
    git(repository, "mv", "block/b.c", "block/moved/b.c")
    edit(repository, "block/moved/b.c", _20="other 20")
    git(repository, "commit", "--quiet", "--all", "--message=second")
    said = refused(repository, patches, "HEAD")
    assert said.message == (
        f'{patches}: patch 1, "block: Change a", does not apply: block/a.c,'
        " hunk @@ -7,7 +7,7 @@ line 6; all 3 rejects below"
    )
    assert said.detail == WHOLE
    assert said.hint == f"rebase the series, or take the commit that it is for: --rev {base}"
    # Nothing came of it, in the tree or in git.
    assert git(repository, "status", "--short") == ""
    assert git(repository, "worktree", "list").count("\n") == 0
    # A build says the same.
    with pytest.raises(ProfileError) as caught:
        Linux(source=repository, rev="HEAD", series=(patches,)).build(repository.parent, quiet)
    assert (caught.value.message, caught.value.detail) == (said.message, said.detail)


def test_a_directory_and_a_tar_file_are_told_without_commits(
    repository: Path, patches: Path, tmp_path: Path
) -> None:
    base = git(repository, "rev-parse", "HEAD")
    edit(repository, "block/a.c", _10="other 10")
    shutil.rmtree(repository / ".git")
    subprocess.run(["tar", "-cJf", "linux.tar.xz", "linux"], cwd=tmp_path, check=True)
    for source in (repository, tmp_path / "linux.tar.xz"):
        said = refused(source, patches)
        assert said.message.endswith("all 2 rejects below")
        assert "    10 ! other 10" in said.detail
        assert "not possible, these sources lack what the patch was made for (blob" in said.detail
        assert said.hint == f"rebase the series, which is for commit {base}"


def test_a_merge_of_three_is_tried_and_told(repository: Path, patches: Path) -> None:
    # Beside what the first patch changes, so that it has other neighbours.
    edit(repository, "block/a.c", _7="other 7")
    git(repository, "commit", "--quiet", "--all", "--message=second")
    told = Linux(source=repository, series=(patches,)).try_series(quiet)
    assert told == ["out: 3 patches", '"block: Change a" was applied by a three-way merge']


def test_what_is_in_the_sources_already_is_told(repository: Path, patches: Path) -> None:
    git(repository, "am", "--quiet", sorted(patches.iterdir())[1])
    told = Linux(source=repository, series=(patches,)).try_series(quiet)
    assert told == ["out: 3 patches", '"block: Change b" is in the sources already']


def test_a_base_that_the_tree_does_not_have_is_named(repository: Path, patches: Path) -> None:
    first = min(patches.iterdir())
    missing = "1234567890123456789012345678901234567890"
    first.write_text(first.read_text().replace(git(repository, "rev-parse", "HEAD"), missing))
    told = Linux(source=repository, series=(patches,)).try_series(quiet)
    assert told[-1] == f"out is for commit {missing}, which {repository} does not have"
    edit(repository, "block/a.c", _10="other 10")
    assert refused(repository, patches).hint == (
        f"it is for commit {missing}, which {repository} does not have: fetch that"
    )


def test_a_partial_clone_gets_what_the_patches_touch(repository: Path, patches: Path) -> None:
    git(repository, "tag", "v1")
    edit(repository, "block/a.c", _10="other 10")
    git(repository, "commit", "--quiet", "--all", "--message=second")
    for option in ("allowFilter", "allowAnySHA1InWant"):
        git(repository, "config", f"uploadpack.{option}", "true")
    partial = repository.with_name("partial")
    git(repository.parent, "clone", "-q", "--filter=blob:none", f"file://{repository}", partial)
    told = Linux(source=partial, rev="v1", series=(patches,)).try_series(quiet)
    assert told == ["out: 3 patches"]


def test_a_diff_that_git_cannot_read_is_told(repository: Path, patches: Path) -> None:
    first = min(patches.iterdir())
    first.write_text(first.read_text().replace(" line 9\n", ""))
    said = refused(repository, patches)
    assert 'patch 1, "block: Change a"' in said.message
    assert "corrupt patch" in said.message


HUNK = "@@ -3,4 +3,4 @@ int f()\n a();\n-\tb();\n+\tc();\n d();\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("x\na();\n\tc();\nd();\n", "the change is there already, at line 2"),
        ("}\n\n}\n", "nothing like it stands in this file"),
        ("a();\n    b();\nd();\n", "at line 1 the same stands with other white space:\n"),
        (
            "a();\n\tb(1);\nd();\n",
            "what stands there instead, at line 1:\n     1   a();\n     2 ! \tb(1);\n     3   d();",
        ),
        # A line more than the hunk knows.
        (
            "}\na();\n\tb();\nnew();\nd();\n",
            "what stands there instead, at line 2:\n"
            "     2   a();\n     3   \tb();\n     4 ! new();\n     5   d();",
        ),
    ],
)
def test_what_stands_there_instead(content: str, said: str) -> None:
    assert rejects.instead(HUNK, content).startswith(said)


@given(st.integers(0, 20), st.integers(0, 9))
def test_a_place_is_found_wherever_it_went(shift: int, spoilt: int) -> None:
    rows = [f"word {number}" for number in range(10)]
    hunk = "".join(["@@ -1,10 +1,10 @@\n", *(f" {row}\n" for row in rows[:9]), "-word 9\n+new\n"])
    there = [f"other {number}" for number in range(shift)] + rows
    there[shift + spoilt] = "spoilt"
    said = rejects.instead(hunk, "\n".join(there))
    assert said.startswith(f"what stands there instead, at line {shift + 1}:\n")
    assert said.count("!") == 1
