# SPDX-License-Identifier: GPL-2.0-or-later
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

from lab.artifacts.kernels import config, kconfig, make, series
from lab.artifacts.kernels.checkout import Checkout
from lab.artifacts.kernels.linux import Linux
from lab.errors import BuildError, UsageError
from tests.unit.builders import git, quiet

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


def patches(
    sources: Path, *changes: tuple[str, str, str], file: str = "copy.c", name: str = "patches"
) -> Path:
    """A directory of patches; each change is a subject with what is replaced in a file."""
    place = sources.parent / name
    work = sources.parent / "author"
    shutil.copytree(sources, work)
    if not (work / ".git").exists():
        git(work, "init", "--quiet")
        git(work, "add", "--all", "--force")
        git(work, "commit", "--quiet", "--message=first")
    for subject, old, new in changes:
        text = (work / file).read_text()
        assert old in text
        (work / file).write_text(text.replace(old, new))
        git(work, "commit", "--quiet", "--all", f"--message={subject}")
    git(work, "format-patch", "--quiet", "-o", str(place), f"-{len(changes)}")
    shutil.rmtree(work)
    return place


def prepared(source: Path, *given: Path, rev: str = "") -> tuple[Checkout, str, list[str]]:
    """The checkout with series on it, the commit they are on, and their subjects."""
    checkout = Checkout(source)
    found = series.patches(series.read_all(given))
    base, applied = checkout.prepare(rev, quiet, found)
    return checkout, base, applied.subjects if applied else []


@pytest.mark.parametrize("kind", ["sources", "repository", "archive"])
def test_a_series_is_applied_and_taken_off_again(kind: str, request: pytest.FixtureRequest) -> None:
    source: Path = request.getfixturevalue(kind)
    directory: Path = request.getfixturevalue("sources")
    before = sorted(directory.rglob("*"))
    one = patches(directory, ("copy: Say half", "done = wanted", "done = wanted / 2"))
    checkout, base, subjects = prepared(source, one)
    assert subjects == ["copy: Say half"]
    assert "wanted / 2" in (checkout.tree / "copy.c").read_text()
    patched = (checkout.tree / "copy.c").stat().st_mtime_ns
    time.sleep(0.02)
    checkout, again, _ = prepared(source)
    assert (checkout.tree / "copy.c").read_text() == SOURCE
    # Or make would keep what it compiled of the patched file.
    assert (checkout.tree / "copy.c").stat().st_mtime_ns > patched
    assert base and (again == base or kind == "sources")
    # The user's sources are as they were, but for git's list of worktrees.
    assert [one for one in before if ".git" not in one.parts] == [
        one for one in sorted(directory.rglob("*")) if ".git" not in one.parts
    ]


@pytest.mark.parametrize("kind", ["sources", "repository", "archive"])
def test_another_series_writes_only_what_differs(kind: str, request: pytest.FixtureRequest) -> None:
    source: Path = request.getfixturevalue(kind)
    directory: Path = request.getfixturevalue("sources")
    header = patches(
        directory, ("copy: Explain", "int copied", "/* yes */ int copied"), file="copy.h"
    )
    half = patches(directory, ("copy: Say half", "done = wanted", "done = wanted / 2"), name="half")
    # Built without patches before, as people do.
    checkout, *_ = prepared(source)
    times = {name: (checkout.tree / name).stat().st_mtime_ns for name in ("Makefile", "copy.c")}
    time.sleep(0.02)
    prepared(source, header)
    assert "/* yes */" in (checkout.tree / "copy.h").read_text()
    for name, before in times.items():
        assert (checkout.tree / name).stat().st_mtime_ns == before, name
    times["copy.h"] = (checkout.tree / "copy.h").stat().st_mtime_ns
    time.sleep(0.02)
    _, _, subjects = prepared(source, header, half)
    assert subjects == ["copy: Explain", "copy: Say half"]
    assert "wanted / 2" in (checkout.tree / "copy.c").read_text()
    assert "/* yes */" in (checkout.tree / "copy.h").read_text()
    changed = {n: (checkout.tree / n).stat().st_mtime_ns != before for n, before in times.items()}
    assert changed == {"Makefile": False, "copy.h": False, "copy.c": True}


def test_a_directory_that_changed_below_its_series_is_built_as_it_is(sources: Path) -> None:
    half = patches(sources, ("copy: Say half", "done = wanted", "done = wanted / 2"))
    checkout, *_ = prepared(sources, half)
    (sources / "copy.h").write_text("int copied(int);\n")
    (sources / "new.c").touch()
    (sources / "old.o").touch()
    prepared(sources, half)
    assert (checkout.tree / "copy.h").read_text() == "int copied(int);\n"
    assert "wanted / 2" in (checkout.tree / "copy.c").read_text()
    assert (checkout.tree / "new.c").exists()
    # Compiled in the sources: make would refuse to build outside of them.
    assert not (checkout.tree / "old.o").exists()
    (sources / "new.c").unlink()
    prepared(sources)
    assert not (checkout.tree / "new.c").exists()


@pytest.mark.parametrize("kind", ["sources", "archive"])
def test_sources_that_git_knows_nothing_of_need_no_series(
    kind: str, request: pytest.FixtureRequest
) -> None:
    checkout, base, subjects = prepared(request.getfixturevalue(kind))
    assert (base, subjects) == ("", [])
    assert (checkout.tree / "copy.c").read_text() == SOURCE
    assert not (checkout.tree / ".git").exists()


def test_what_is_modified_in_a_git_tree_is_built(repository: Path) -> None:
    clean = Checkout(repository).identity("")
    (repository / "copy.c").write_text(SOURCE.replace("wanted;", "7;"))
    assert Checkout(repository).identity("") != clean
    assert Checkout(repository).identity("HEAD") == clean
    checkout, *_ = prepared(repository)
    assert "done = 7;" in (checkout.tree / "copy.c").read_text()
    checkout, *_ = prepared(repository, rev="HEAD")
    assert "done = wanted;" in (checkout.tree / "copy.c").read_text()
    assert git(repository, "status", "--short") == "M copy.c"
    assert git(repository, "stash", "list") == ""


def test_a_build_compiles_what_changed_and_no_more(sources: Path) -> None:
    out = Checkout(sources).directory / "out"
    checkout, base, _ = prepared(sources)
    assert make.configure(checkout.tree, out, "CONFIG_A=y\n") == "CONFIG_A=y\n"
    make.build(checkout.tree, out, base, quiet)
    compiled = (out / "copy.o").stat().st_mtime_ns
    prepared(sources)
    make.build(checkout.tree, out, base, quiet)
    assert (out / "copy.o").stat().st_mtime_ns == compiled


FOREIGN = {
    "ARCH": "arm64", "SUBARCH": "arm64", "CROSS_COMPILE": "aarch64-linux-gnu-", "LLVM": "1",
    "CC": "clang", "HOSTCC": "clang", "KCFLAGS": "-Werror", "KBUILD_OUTPUT": "/no/such",
    "O": "/no/such", "KCONFIG_CONFIG": "/no/such", "KCONFIG_ALLCONFIG": "/no/such",
    "KBUILD_BUILD_USER": "you", "LOCALVERSION": "-mine", "INSTALL_MOD_PATH": "/no/such",
    "MAKEFLAGS": "-n", "GNUMAKEFLAGS": "-n", "MAKELEVEL": "3", "V": "1", "M": "/no/such",
    "CPATH": "/no/such", "CCACHE_COMPILER": "clang", "SOURCE_DATE_EPOCH": "1",
}  # fmt: skip
"""What makes another kernel, or none, where make or the compiler hears of it."""


def test_the_environment_makes_no_other_kernel(
    sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sources / "Makefile").write_text(
        MAKEFILE.replace("allnoconfig:\n", "allnoconfig:\n\tenv >$(O)/env\n")
        + "\tenv >env-make\n\techo '$(LOCALVERSION)$(ARCH)$(LLVM)' >said\n"
    )
    key = Linux(source=sources).inputs(quiet)
    out = Checkout(sources).directory / "out"
    for name, value in FOREIGN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CCACHE_DIR", str(out))
    assert Linux(source=sources).inputs(quiet) == key
    checkout, base, _ = prepared(sources)
    assert make.configure(checkout.tree, out, "CONFIG_A=y\n") == "CONFIG_A=y\n"
    make.build(checkout.tree, out, base, quiet)
    assert (checkout.tree / "said").read_text() == "\n"
    for file in (out / "env", checkout.tree / "env-make"):
        heard = dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)
        # make gives its own recipes some of these.
        given = {name for name in FOREIGN if heard.get(name) == FOREIGN[name]}
        assert given == set()
        assert heard["CCACHE_DIR"] == str(out)


def test_gdbs_scripts_are_made_where_they_are_asked_for(sources: Path) -> None:
    (sources / "Makefile").write_text(MAKEFILE + "scripts_gdb:\n\ttouch $(O)/vmlinux-gdb.py\n")
    checkout, base, _ = prepared(sources)
    out = checkout.directory / "out"
    for wanted in ("CONFIG_A=y\n", "CONFIG_GDB_SCRIPTS=y\n"):
        make.configure(checkout.tree, out, wanted)
        make.build(checkout.tree, out, base, quiet)
        assert (out / "vmlinux-gdb.py").exists() == ("GDB" in wanted)


def test_a_build_that_fails_ends_with_the_error_and_the_patch(sources: Path) -> None:
    place = patches(
        sources,
        ("copy: Explain", "#include", "/* copies */\n#include"),
        ("copy: Break it", "return done;", "return dome;"),
    )
    checkout, base, _ = prepared(sources, place)
    out = checkout.directory / "out"
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
    expected = {name: value for name, value in asked.items() if made.get(name, "n") != value}
    assert config.refused(asked, config.options(written(made))) == expected


KCONFIG = """\
config BLOCK
	bool "Blocks"
	help
		config of blocks

if BLOCK

config DM_DUST
	tristate "Dust"
	depends on BLK_DEV_DM && \\
		DUSTY
	# no end of it
	depends on BROKEN

endif

choice
	prompt "Preemption"
	depends on PROMPTS

config PREEMPT_LAZY
	bool "Lazy"

config PREEMPT_VOLUNTARY
	bool "Voluntary"
	depends on !ARCH_HAS_PREEMPT_LAZY

endchoice

menuconfig MD
	bool "Devices"
"""


def test_what_kconfig_says_of_options() -> None:
    told = [(one.name, one.line, one.depends, one.choice) for one in kconfig.symbols("k", KCONFIG)]
    assert told == [
        ("BLOCK", 1, (), ""),
        ("DM_DUST", 8, ("BLOCK", "BLK_DEV_DM && DUSTY", "BROKEN"), ""),
        ("PREEMPT_LAZY", 21, ("PROMPTS",), "k:17"),
        ("PREEMPT_VOLUNTARY", 24, ("PROMPTS", "!ARCH_HAS_PREEMPT_LAZY"), "k:17"),
        ("MD", 30, (), ""),
    ]


def test_an_option_that_a_kernel_lacks_is_no_news_unless_its_user_asked_for_it(
    tmp_path: Path,
) -> None:
    tree = tmp_path / "linux"
    for directory in ("block", "arch/arm", "arch/x86", "tools"):
        (tree / directory).mkdir(parents=True)
    (tree / "block/Kconfig").write_text(KCONFIG)
    (tree / "arch/x86/Kconfig.debug").write_text("config PVH\n\tbool\n")
    for other in ("arch/arm", "tools"):
        (tree / other / "Kconfig").write_text("config BLK_DEV_NVME\n\tbool\n")
    own = tmp_path / "my.config"
    own.write_text("CONFIG_KASSAN=y\nCONFIG_MD=m\n")
    # As 7.2 does: one of the two kinds of preemption, and without some of what ships.
    asked = config.options(config.text((str(own), "kasan")))
    gone = {"CONFIG_PREEMPT_VOLUNTARY", "CONFIG_DM_DUST", "CONFIG_BLK_DEV_NVME", "CONFIG_KASAN"}
    made = {name: value for name, value in asked.items() if name not in {*gone, "CONFIG_KASSAN"}}
    unmet = config.unmet(tree, (str(own), "kasan"), written({**made, "CONFIG_MD": "y"}))
    assert sorted(unmet.refused) == [
        "CONFIG_DM_DUST=y: n in the end, see block/Kconfig:8 depends on BLOCK and "
        "BLK_DEV_DM && DUSTY and BROKEN",
        "CONFIG_KASSAN=y: these sources have no such option",
        "CONFIG_MD=m: y in the end, see block/Kconfig:30",
    ]
    assert sorted(unmet.absent) == ["CONFIG_BLK_DEV_NVME=y", "CONFIG_KASAN=y"]
    # Where neither of a choice was taken, both are told.
    del made["CONFIG_PREEMPT_LAZY"]
    told = " ".join(config.unmet(tree, (), written(made)).refused)
    assert "CONFIG_PREEMPT_LAZY=y" in told and "CONFIG_PREEMPT_VOLUNTARY=y" in told
    assert config.unmet(tree, (), config.text(())) == config.UnmetOption()


def test_what_ships_has_what_the_lab_cannot_do_without() -> None:
    options = config.options(config.text(()))
    for name in ("PVH", "VIRTIO_BLK", "EROFS_FS", "OVERLAY_FS", "BLK_DEV_NVME", "DM_DUST",
                 "FAIL_MAKE_REQUEST", "BLK_ERROR_INJECTION", "BLK_DEV_ZONED_LOOP", "DM_CLONE",
                 "MD_RAID1"):  # fmt: skip
        assert options[f"CONFIG_{name}"] == "y", name
    assert config.variants() == ["debug", "kasan", "kmemleak", "lockdep", "ubsan"]
    for variant, option in (
        ("debug", "GDB_SCRIPTS"), ("kasan", "KASAN"), ("kmemleak", "DEBUG_KMEMLEAK"),
        ("lockdep", "PROVE_LOCKING"), ("ubsan", "UBSAN_BOUNDS"),
    ):  # fmt: skip
        assert config.options(config.text((variant,)))[f"CONFIG_{option}"] == "y"


def test_a_killed_lab_takes_its_compilers_along(sources: Path) -> None:
    (sources / "Makefile").write_text("vmlinux modules:\n\t@echo started; sleep 77.5\n")
    checkout, *_ = prepared(sources)
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
