# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists of tests that are to be left out, as people keep them."""

from pathlib import Path

import pytest

from lab.errors import UsageError
from lab.suites.blktests import options as blktests
from lab.suites.fstests import options as fstests
from lab.suites.upstream.exclusions import Exclusion, Lists, left_out

# Of the form of xfstests-bld's.
CPP = """\
// The file as a whole, and nothing's reason

// It takes too long where
// files are many.
generic/001
generic/002\t// EXPFAIL

#if LINUX_VERSION_CODE < KERNEL_VERSION(6,9,0)
// Mended by a commit of 6.9, and it's not "backported"
generic/003
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 300) && !defined(IS_DAX_CONFIG)
generic/004
#else
generic/005
#endif
#ifndef IS_DAX_CONFIG
-g dax,pmem
#endif
#include "more.exclude"
"""
MORE = """\
#if LINUX_VERSION_MAJOR == 6 && LINUX_VERSION_PATCHLEVEL > 10
xfs/*
#endif
"""
# Of the form of kdevops'.
HASHED = """\
# These fail everywhere.
generic/388 # hangs forever, https://example.org/x#y
xfs/191-input-validation
"""


def reasons(path: Path, release: str = "6.12.118+deb13-amd64") -> dict[str, str]:
    lists = Lists("fstests", fstests.is_test, (path,))
    lists.check("xfs", "xfs")
    return {entry.word: entry.reason for entry in lists.entries(release, "xfs", "xfs")}


@pytest.fixture
def cpp(tmp_path: Path) -> Path:
    (tmp_path / "more.exclude").write_text(MORE)
    path = tmp_path / "exclude"
    path.write_text(CPP)
    return path


@pytest.mark.parametrize(
    ("release", "meant"),
    [
        ("6.8.12", {"generic/003", "dax", "pmem"}),
        ("6.9.0-rc1", {"generic/005", "dax", "pmem"}),
        ("6.12.118+deb13-amd64", {"generic/005", "dax", "pmem", "xfs/*"}),
        # As with cpp, a sublevel counts as 255 at most.
        ("6.12.300", {"generic/004", "dax", "pmem", "xfs/*"}),
        ("7.2-rc1", {"generic/004", "dax", "pmem"}),
    ],
)
def test_conditions_on_the_kernels_version_hold_for_the_guests(
    cpp: Path, release: str, meant: set[str]
) -> None:
    assert set(reasons(cpp, release)) == {"generic/001", "generic/002"} | meant


def test_a_reason_is_the_comment_above_or_behind(cpp: Path) -> None:
    found = reasons(cpp, "5.10.0")
    above = "It takes too long where files are many."
    assert found["generic/001"] == above
    assert found["generic/002"] == f"EXPFAIL: {above}"
    assert found["generic/003"] == 'Mended by a commit of 6.9, and it\'s not "backported"'
    cpp.write_text(HASHED)
    assert reasons(cpp) == {
        "generic/388": "hangs forever, https://example.org/x#y: These fail everywhere.",
        "xfs/191-input-validation": "These fail everywhere.",
    }


def test_an_entry_tells_where_it_stands(cpp: Path) -> None:
    (entry,) = [
        entry
        for entry in Lists("fstests", fstests.is_test, (cpp,)).entries("6.12.1")
        if entry.word == "xfs/*"
    ]
    assert str(entry) == f"{cpp.parent}/more.exclude:2"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("generic/001\ngeneric/2\n", "exclude:2: generic/2 is no test"),
        ("generic/001 hangs\n", "exclude:1: hangs is no test"),
        # Wrong whatever kernel the guest has.
        ("#if 0\n\nquick\n#endif\n", "exclude:3: quick is no test"),
        ('#include "nothing"\n', "exclude:1: there is no nothing to include"),
        ("#if KERNEL_VERSION(6,1) < 3\n#endif\n", "exclude:1: .*KERNEL_VERSION requires 3"),
        ("generic/001\n#if LINUX_VERSION_CODE <\n#endif\n", "exclude:2: Could not evaluate"),
        ("#if KERNEL_VERZION(6,1,0)\n#endif\n", "exclude:1: .*there is no KERNEL_VERZION"),
        ("\n#if 1\ngeneric/001\n", "exclude:2: Unterminated"),
        ('#include "exclude"\n', "includes itself"),
    ],
)
def test_what_is_no_test_is_refused_with_its_file_and_line(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "exclude"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        reasons(path)


def test_a_directory_has_lists_for_all_sections_and_for_each(tmp_path: Path) -> None:
    for place, test in (
        ("6.9.0/xfs/unassigned/all.txt", "generic/001"),
        ("6.9.0/xfs/unassigned/xfs.txt", "generic/002"),
        ("6.9.0/xfs/unassigned/xfs_nocrc.txt", "generic/003"),
        ("6.9.0/ext4/unassigned/all.txt", "generic/004"),
    ):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{test} # as of {place}\n")
    kernel = tmp_path / "6.9.0"
    for directory in (kernel, kernel / "xfs", kernel / "xfs/unassigned"):
        assert set(reasons(directory)) == {"generic/001", "generic/002"}
    for directory in (tmp_path, kernel / "ext4/nothing"):
        directory.mkdir(exist_ok=True)
        with pytest.raises(UsageError, match="it has no list for xfs"):
            reasons(directory)


def test_the_only_list_of_a_directory_for_blktests(tmp_path: Path) -> None:
    (tmp_path / "failures.txt").write_text("block/011 # always fails\nzbd\n")
    entries = Lists("blktests", blktests.is_test, (tmp_path,)).entries("6.12.1")
    found = left_out(["block/011", "block/012", "zbd/001"], entries, {})
    assert found == {
        "block/011": f"left out: always fails, {tmp_path}/failures.txt:1",
        "zbd/001": f"left out: {tmp_path}/failures.txt:2",
    }


def test_an_entry_is_a_test_a_pattern_a_group_or_an_old_name() -> None:
    def entry(word: str, group: bool = False) -> Exclusion:
        return Exclusion(word, word, Path("f"), 1, group)

    names = ["generic/001", "generic/0011", "generic/002", "xfs/191", "xfs/192"]
    entries = [entry("generic/001"), entry("xfs/191-input-validation"), entry("dax", group=True)]
    found = left_out(names, entries, {"dax": {"xfs/192"}, "quick": {"generic/002"}})
    assert set(found) == {"generic/001", "xfs/191", "xfs/192"}
    assert set(left_out(names, [entry("generic/*")], {})) == set(names[:3])
