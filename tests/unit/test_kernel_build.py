"""Kernels from sources: checkouts, series of patches, configuration, and what make said.

The sources are a toy with the targets of a kernel's Makefile that the lab asks for; git, make and
the compiler are the real ones.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.build.kernels import config, make, series
from lab.build.kernels.checkout import Checkout
from lab.build.kernels.linux import Linux
from lab.errors import BuildError, ProfileError, UsageError

MAKEFILE = """\
all: vmlinux
allnoconfig:
\tcp $(KCONFIG_ALLCONFIG) $(O)/.config
vmlinux modules: $(O)/copy.o
$(O)/copy.o: copy.c copy.h
\t@echo "  CC      copy.o"
\t@cd $(O) && gcc -c ../source/copy.c -o copy.o
"""
SOURCE = """\
#include "copy.h"

int copied(int wanted)
{
	int done = wanted;

	return done;
}
"""


def quiet(_phase: str) -> None:
    pass


def git(tree: Path, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(
        ["git", "-C", tree, *identity, *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Sources in a directory that git knows nothing of."""
    tree = tmp_path / "linux"
    tree.mkdir()
    (tree / "Kbuild").touch()
    (tree / "Makefile").write_text(MAKEFILE)
    (tree / "copy.c").write_text(SOURCE)
    (tree / "copy.h").write_text("int copied(int wanted);\n")
    # As in Debian's package: git would not see a thing.
    (tree / ".gitignore").write_text("/*\n")
    return tree


@pytest.fixture
def repository(sources: Path) -> Path:
    """The same as a git tree."""
    git(sources, "init", "--quiet")
    git(sources, "add", "--all", "--force")
    git(sources, "commit", "--quiet", "--message=first")
    return sources


@pytest.fixture
def archive(sources: Path, tmp_path: Path) -> Path:
    """The same as a tar file."""
    subprocess.run(["tar", "-cJf", "linux.tar.xz", "linux"], cwd=tmp_path, check=True)
    return tmp_path / "linux.tar.xz"


def patches(sources: Path, *changes: tuple[str, str, str]) -> Path:
    """A directory of patches; each change is a subject with what is replaced in copy.c."""
    place = sources.parent / "patches"
    work = sources.parent / "author"
    shutil.copytree(sources, work)
    if not (work / ".git").exists():
        git(work, "init", "--quiet")
        git(work, "add", "--all", "--force")
        git(work, "commit", "--quiet", "--message=first")
    for subject, old, new in changes:
        text = (work / "copy.c").read_text()
        assert old in text
        (work / "copy.c").write_text(text.replace(old, new))
        git(work, "commit", "--quiet", "--all", f"--message={subject}")
    git(work, "format-patch", "--quiet", "-o", str(place), f"-{len(changes)}")
    shutil.rmtree(work)
    return place


def prepared(source: Path, patched: bool = True, rev: str = "") -> tuple[Checkout, str]:
    checkout = Checkout(source)
    return checkout, checkout.prepare(rev, quiet, patched=patched)


@pytest.mark.parametrize("kind", ["sources", "repository", "archive"])
def test_a_series_is_applied_and_taken_off_again(kind: str, request: pytest.FixtureRequest) -> None:
    source: Path = request.getfixturevalue(kind)
    directory: Path = request.getfixturevalue("sources")
    before = sorted(directory.rglob("*"))
    one = patches(directory, ("copy: Say half", "done = wanted", "done = wanted / 2"))
    checkout, base = prepared(source)
    assert series.apply(checkout.tree, [one]) == ["copy: Say half"]
    assert "wanted / 2" in (checkout.tree / "copy.c").read_text()
    patched = (checkout.tree / "copy.c").stat().st_mtime_ns
    time.sleep(0.02)
    checkout, again = prepared(source, patched=False)
    assert (checkout.tree / "copy.c").read_text() == SOURCE
    # Or make would keep what it compiled of the patched file.
    assert (checkout.tree / "copy.c").stat().st_mtime_ns > patched
    assert base and (again == base or kind != "repository")
    # The user's sources are as they were, but for git's list of worktrees.
    assert [one for one in before if ".git" not in one.parts] == [
        one for one in sorted(directory.rglob("*")) if ".git" not in one.parts
    ]


@pytest.mark.parametrize("kind", ["sources", "archive"])
def test_sources_that_git_knows_nothing_of_need_no_series(
    kind: str, request: pytest.FixtureRequest
) -> None:
    checkout, base = prepared(request.getfixturevalue(kind), patched=False)
    assert (base, series.apply(checkout.tree, [])) == ("", [])
    assert (checkout.tree / "copy.c").read_text() == SOURCE


def test_what_is_modified_in_a_git_tree_is_built(repository: Path) -> None:
    clean = Checkout(repository).identity("")
    (repository / "copy.c").write_text(SOURCE.replace("wanted;", "7;"))
    assert Checkout(repository).identity("") != clean
    assert Checkout(repository).identity("HEAD") == clean
    checkout, _ = prepared(repository)
    assert "done = 7;" in (checkout.tree / "copy.c").read_text()
    checkout, _ = prepared(repository, rev="HEAD")
    assert "done = wanted;" in (checkout.tree / "copy.c").read_text()
    assert git(repository, "status", "--short") == "M copy.c"
    assert git(repository, "stash", "list") == ""


def test_a_series_that_does_not_apply_names_patch_and_hunk(sources: Path) -> None:
    place = patches(
        sources,
        ("copy: Rename", "int done = wanted", "int part = wanted"),
        ("copy: Return it", "return done", "return part"),
    )
    (sources / "copy.c").write_text(SOURCE.replace("return done;", "return -1;"))
    checkout, _ = prepared(sources)
    with pytest.raises(ProfileError) as caught:
        series.apply(checkout.tree, [place])
    said = caught.value
    assert 'patch 1, "copy: Rename", does not apply: copy.c, hunk @@ -2,7 +2,7 @@' in said.message
    assert "+\tint part = wanted;" in said.detail
    # The next build starts from clean sources all the same.
    checkout, _ = prepared(sources)
    assert "return -1" in (checkout.tree / "copy.c").read_text()


def test_a_patch_of_a_file_that_is_not_there(sources: Path) -> None:
    place = patches(sources, ("copy: Rename", "done = wanted", "done = 1"))
    (sources / "copy.c").rename(sources / "other.c")
    checkout, _ = prepared(sources)
    with pytest.raises(ProfileError, match=r"patch 1, .* copy\.c: does not exist in index"):
        series.apply(checkout.tree, [place])


def test_a_file_that_is_no_mail(sources: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.patch"
    plain.write_text("--- a/copy.c\n+++ b/copy.c\n@@ -1 +1 @@\n-x\n+y\n")
    checkout, _ = prepared(sources)
    with pytest.raises(ProfileError, match="patches must be mails"):
        series.apply(checkout.tree, [plain])


def test_a_directory_without_patches(tmp_path: Path) -> None:
    (tmp_path / "README").touch()
    with pytest.raises(UsageError, match="no patches"):
        series.mailboxes(tmp_path)


def test_patches_go_in_the_order_of_their_names_without_the_cover_letter(tmp_path: Path) -> None:
    for name in ("0002-b.patch", "0000-cover-letter.patch", "0001-a.patch", "notes.txt"):
        (tmp_path / name).write_text(name)
    assert [file.name for file in series.mailboxes(tmp_path)] == ["0001-a.patch", "0002-b.patch"]
    before = series.digest([tmp_path])
    (tmp_path / "0001-a.patch").write_text("changed")
    assert series.digest([tmp_path]) != before


def test_a_build_compiles_what_changed_and_no_more(sources: Path) -> None:
    out = Checkout(sources).directory / "out"
    checkout, base = prepared(sources, patched=False)
    assert make.configure(checkout.tree, out, "CONFIG_A=y\n") == "CONFIG_A=y\n"
    make.build(checkout.tree, out, base, quiet)
    compiled = (out / "copy.o").stat().st_mtime_ns
    prepared(sources, patched=False)
    make.build(checkout.tree, out, base, quiet)
    assert (out / "copy.o").stat().st_mtime_ns == compiled


def test_a_build_that_fails_ends_with_the_error_and_the_patch(sources: Path) -> None:
    place = patches(
        sources,
        ("copy: Explain", "#include", "/* copies */\n#include"),
        ("copy: Break it", "return done;", "return dome;"),
    )
    checkout, base = prepared(sources)
    out = checkout.directory / "out"
    series.apply(checkout.tree, [place])
    make.configure(checkout.tree, out, "")
    with pytest.raises(BuildError) as caught:
        make.build(checkout.tree, out, base, quiet)
    said = caught.value
    assert said.message == (
        'the kernel does not build: copy.c: patch "copy: Break it" touches copy.c; '
        'patch "copy: Explain" touches copy.c'
    )
    assert "copy.c:8:16: error: 'dome' undeclared" in said.detail
    assert str(out / "build.log") in said.hint
    assert "dome" in (out / "build.log").read_text()


def test_without_a_series_no_patch_is_blamed(repository: Path, tmp_path: Path) -> None:
    (repository / "copy.c").write_text(SOURCE.replace("return done", "return dome"))
    git(repository, "commit", "--quiet", "--all", "--message=copy: Break it")
    with pytest.raises(BuildError) as caught:
        Linux(source=repository, rev="HEAD").build(tmp_path / "artifact", quiet)
    assert caught.value.message == "the kernel does not build: copy.c"


def test_an_error_without_a_compiler_shows_the_last_lines() -> None:
    log = ["  CC      a.o", "ld: no memory", "make: *** [Makefile:9: vmlinux] Error 1"]
    assert make.first_error(log) == (log[1:], "")


def test_the_lines_before_an_error_tell_who_includes_the_file() -> None:
    log = [
        "  CC      a.o",
        "In file included from ../source/fs/a.c:3:",
        "../source/include/b.h:7:1: error: unknown type name 'foo'",
        "    7 | foo bar;",
        "make[2]: *** [a.o] Error 1",
    ]
    lines, file = make.first_error(log)
    assert lines == log[1:4]
    assert file == "../source/include/b.h"
    tree, out = Path("/w/source"), Path("/w/out")
    assert make.files_in(lines, tree, out) == ["fs/a.c", "include/b.h"]


def test_hunks_are_found_by_file_and_line() -> None:
    patch = (
        "diff --git a/a.c b/a.c\n@@ -1,2 +1,2 @@\n-a\n+b\n@@ -10,2 +10,2 @@ int f()\n-c\n+d\n"
        "diff --git a/b.c b/b.c\n@@ -10 +10 @@\n-e\n+f\n"
    )
    assert series.hunk_at(patch, "a.c", 10) == "@@ -10,2 +10,2 @@ int f()\n-c\n+d"
    assert series.hunk_at(patch, "b.c", 10) == "@@ -10 +10 @@\n-e\n+f"
    assert series.hunk_at(patch, "b.c", 1) == ""


def test_the_key_knows_sources_series_and_configuration(repository: Path) -> None:
    place = patches(repository, ("copy: Say half", "done = wanted", "done = wanted / 2"))
    kernels = [
        Linux(source=repository),
        Linux(source=repository, series=(place,)),
        Linux(source=repository, config=("kasan",)),
    ]
    keys = [kernel.inputs(quiet) for kernel in kernels]
    assert keys[0] == kernels[0].inputs(quiet)
    assert len({str(key) for key in keys}) == 3
    git(repository, "commit", "--quiet", "--allow-empty", "--message=nothing")
    assert Linux(source=repository).inputs(quiet) == keys[0]


def test_sources_that_are_none(tmp_path: Path, repository: Path) -> None:
    with pytest.raises(UsageError, match="Kbuild is missing"):
        Checkout(tmp_path).identity("")
    with pytest.raises(UsageError, match="no commit v9"):
        Checkout(repository).identity("v9")
    with pytest.raises(UsageError, match="no git tree"):
        Checkout(tmp_path).identity("v9")


OPTIONS = st.dictionaries(
    st.from_regex(r"CONFIG_[A-Z0-9_]{1,8}", fullmatch=True), st.sampled_from(["y", "m", "n", "4"])
)


def written(options: dict[str, str]) -> str:
    return "".join(
        f"# {name} is not set\n" if value == "n" else f"{name}={value}\n"
        for name, value in options.items()
    )


@given(OPTIONS, OPTIONS)
def test_refused_options_are_those_that_came_out_otherwise(
    asked: dict[str, str], made: dict[str, str]
) -> None:
    assert config.options(written(asked)) == asked
    expected = {f"{name}={value}" for name, value in asked.items() if made.get(name, "n") != value}
    assert set(config.refused(written(asked), written(made))) == expected


def test_what_ships_has_what_the_lab_cannot_do_without() -> None:
    options = config.options(config.text(()))
    for name in ("PVH", "VIRTIO_BLK", "EROFS_FS", "OVERLAY_FS", "BLK_DEV_NVME", "DM_DUST",
                 "FAIL_MAKE_REQUEST"):  # fmt: skip
        assert options[f"CONFIG_{name}"] == "y", name
    assert config.variants() == ["kasan", "kmemleak", "lockdep"]
    for variant, option in (("kasan", "KASAN"), ("kmemleak", "DEBUG_KMEMLEAK"),
                            ("lockdep", "PROVE_LOCKING")):  # fmt: skip
        assert config.options(config.text((variant,)))[f"CONFIG_{option}"] == "y"


def test_a_killed_lab_takes_its_compilers_along(sources: Path) -> None:
    (sources / "Makefile").write_text("vmlinux modules:\n\t@echo started; sleep 77.5\n")
    checkout, _ = prepared(sources, patched=False)
    out = checkout.directory / "out"
    out.mkdir()
    child = os.fork()
    if child == 0:
        try:
            make.build(checkout.tree, out, "", quiet)
        finally:
            os._exit(1)
    end = time.monotonic() + 20
    while not sleepers() and time.monotonic() < end:
        time.sleep(0.02)
    assert sleepers()
    os.kill(child, 9)
    os.waitpid(child, 0)
    while sleepers() and time.monotonic() < end:
        time.sleep(0.05)
    assert not sleepers()


def sleepers() -> list[str]:
    """Processes of the build above."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cmdline").read_bytes() == b"sleep\x0077.5\0":
                found.append(entry.name)
        except OSError:
            continue
    return found
