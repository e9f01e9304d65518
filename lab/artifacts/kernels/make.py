# SPDX-License-Identifier: GPL-2.0-or-later
"""`make` of a kernel outside of its sources, with what went wrong in a few lines."""

import os
import re
import shutil
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from lab.artifacts.cache import Progress
from lab.artifacts.kernels.git import git
from lab.errors import BuildError, HostError, LackError
from lab.host import confine, cures
from lab.host.command import run, stream

DEADLINE = 7200.0
"""Seconds for a whole kernel; one with all debugging on a slow laptop, not a hung one."""

TELL_EVERY = 10.0
"""Seconds between two words of progress."""

_TOOLS = ("gcc", "make", "flex", "bison", "bc", "ld", "perl")
"""Programs that every build calls (Documentation/process/changes.rst)."""

_ERROR_LINES = 12
_COMPILED = re.compile(r"^ +(?:CC|AS|LD)(?: \[M\])? +(?P<object>\S+)")
# GCC and clang: FILE:LINE:COLUMN: error: …; also FILE:LINE: undefined reference.
_ERROR = re.compile(r"^(?P<file>[^\s:]+):(?P<line>\d+):(?:\d+:)? (?:fatal )?error: ")
_PLACE = re.compile(r"(?P<file>[\w./+-]+\.[chS]):\d+")
_MAKE = re.compile(r"^make(?:\[\d+\])?: ")
_REPRODUCIBLE = ("KBUILD_BUILD_USER=lab", "KBUILD_BUILD_HOST=lab", "KBUILD_BUILD_TIMESTAMP=@0")
"""Documentation/kbuild/reproducible-builds.rst; the same sources give ccache the same files."""

_KEPT = frozenset({
    "PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TERM", "LD_LIBRARY_PATH", "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME", "CCACHE_DIR", "CCACHE_DISABLE", "CCACHE_MAXSIZE", "CCACHE_REMOTE_STORAGE",
})  # fmt: skip
"""Variables that say where things are, not what a kernel is made of."""


def compiler() -> str:
    """The compiler and its version, in a line.  Raises HostError when there is none."""
    return run(["gcc", "--version"], deadline=10, env=_inherited()).partition("\n")[0]


def check_tools() -> None:
    """Raise LackError naming all that a build would miss, minutes from now."""
    if absent := lacking():
        raise LackError(
            f"building a kernel needs what is not installed: {', '.join(absent)}",
            hint=cures.install(*absent).here(),
        )


def lacking() -> list[str]:
    """The programs that a build would miss; of libraries their headers."""
    absent = [program for program in _TOOLS if shutil.which(program) is None]
    if not absent and not _links("#include <gelf.h>", "elf_version(EV_CURRENT)", "-lelf"):
        absent = ["gelf.h"]
    return absent


def _links(header: str, call: str, *libraries: str) -> bool:
    """Whether a program that makes this call compiles and links."""
    try:
        run(
            ["gcc", "-x", "c", "-", "-o", os.devnull, *libraries],
            deadline=60,
            env=_inherited(),
            text=f"{header}\nint main(void) {{ return (int){call}; }}\n",
        )
    except HostError:
        return False
    return True


def configure(tree: Path, out: Path, config: str) -> str:
    """Make out/.config of `config` for the sources in `tree`; return its text.

    Raises BuildError with what make said.
    """
    out.mkdir(parents=True, exist_ok=True)
    answers = out / "lab.config"
    answers.write_text(config)
    goal = [f"KCONFIG_ALLCONFIG={answers}", "allnoconfig"]
    try:
        argv = _confined(["make", "-s", *_argv(tree, out), *goal], [tree, out])
        run(argv, deadline=300, env=_environment(out))
    except HostError as error:
        raise BuildError(
            "the kernel's sources cannot be configured", detail=str(error), hint=error.hint
        ) from error
    return (out / ".config").read_text()


def build(tree: Path, out: Path, base: str, progress: Progress, more: Sequence[str] = ()) -> None:
    """Compile vmlinux and the modules; `base` is the commit under the patches, '' without any,
    `more` are words for make.

    Raises BuildError with the compiler's error and the patches that touched the file.
    """
    log = deque[str](maxlen=2000)
    done, told = 0, time.monotonic()

    def on_line(line: str) -> None:
        nonlocal done, told
        log.append(line)
        if found := _COMPILED.match(line):
            done += 1
            if time.monotonic() - told > TELL_EVERY:
                told = time.monotonic()
                progress(f"compile: {done} files, {found['object']}")

    why_not = confine.why_not()
    progress(f"compile, outside of a sandbox: {why_not}" if why_not else "compile")
    words = ["--output-sync=target", *_argv(tree, out), *more, *_goals(out)]
    status = goal(words, on_line, DEADLINE, out, writable=[tree])
    (out / "build.log").write_text("".join(f"{line}\n" for line in log))
    if status != 0:
        raise _failure(tree, out, base, list(log))


def _goals(out: Path) -> list[str]:
    """What is made of a configuration: `all`, without images that nobody boots."""
    made = out / ".config"
    scripts = made.is_file() and "CONFIG_GDB_SCRIPTS=y" in made.read_text().splitlines()
    return ["vmlinux", "modules", *(["scripts_gdb"] if scripts else [])]


def goal(
    words: Sequence[str],
    on_line: Callable[[str], None],
    deadline: float,
    out: Path,
    *,
    writable: Sequence[Path] = (),
    readable: Sequence[Path] = (),
) -> int:
    """Run make for a goal in `out`, handing each line that it prints on; its exit status."""
    argv = _confined(["make", f"-j{os.cpu_count()}", *words], [*writable, out], readable)
    return stream(argv, on_line, deadline=deadline, env=_environment(out))


def _confined(
    argv: Sequence[str], writable: Sequence[Path], readable: Sequence[Path] = ()
) -> list[str]:
    """The command line in a sandbox, if there is one: Makefiles are code that came with a patch.

    What the compiler's cache keeps may be written too.
    """
    places = list(writable)
    if shutil.which("ccache"):
        said = run(["ccache", "--get-config", "cache_dir"], deadline=10, env=_inherited())
        cache = Path(said.strip())
        cache.mkdir(parents=True, exist_ok=True)
        places.append(cache)
    return confine.confined(argv, places, readable)


def _argv(tree: Path, out: Path) -> list[str]:
    cc = ["CC=ccache gcc"] if shutil.which("ccache") else []
    return ["-C", str(tree), f"O={out}", *cc, *_REPRODUCIBLE]


def _inherited() -> dict[str, str]:
    """What `make` gets of the lab's own environment.

    make takes every variable for one of its own: ARCH, LLVM, KCFLAGS, LOCALVERSION, MAKEFLAGS, and
    gcc reads some more.  A kernel made with them would be another one under the same key.
    """
    return {name: value for name, value in os.environ.items() if name in _KEPT}


def _environment(out: Path) -> dict[str, str]:
    # So that another checkout, such as that of a bisection, finds what this one compiled.
    # Depend mode asks the compiler what a file includes, instead of preprocessing it first.
    return {
        **_inherited(),
        "LC_ALL": "C",
        "CCACHE_DEPEND": "1",
        "CCACHE_BASEDIR": str(out.parent),
        "CCACHE_NOHASHDIR": "1",
    }


def _failure(tree: Path, out: Path, base: str, log: Sequence[str]) -> BuildError:
    lines, file = first_error(log)
    if not file:
        return BuildError(
            "the kernel does not build", detail="\n".join(lines), hint=f"see {out / 'build.log'}"
        )
    blame = _culprits(tree, base, files_in(lines, tree, out)) if base else ""
    path = Path(os.path.normpath(out / file))
    where = path.relative_to(tree) if path.is_relative_to(tree) else path
    return BuildError(
        f"the kernel does not build: {where}{f': {blame}' if blame else ''}",
        detail="\n".join(lines),
        hint=f"see {out / 'build.log'}",
    )


def _culprits(tree: Path, base: str, files: Sequence[str]) -> str:
    """The patches after `base` that touch these files, in words."""
    found = [
        f'patch "{subject}" touches {file}'
        for file in files
        for subject in git(tree, "log", "--format=%s", f"{base}..HEAD", "--", file).splitlines()
    ]
    return "; ".join(found) or "no patch of the series touches it"


def first_error(log: Sequence[str]) -> tuple[list[str], str]:
    """The compiler's first error with the lines that belong to it, and the file it names.

    Where no line looks like a compiler's error: the last lines, and ''.
    """
    for number, line in enumerate(log):
        if found := _ERROR.match(line):
            rest = log[number : number + _ERROR_LINES]
            end = next((at for at, row in enumerate(rest) if at and _ends(row)), len(rest))
            return [*_includes(log[:number]), *rest[:end]], found["file"]
    said = [line for line in log if not _COMPILED.match(line)]
    return said[-_ERROR_LINES:], ""


def files_in(lines: Sequence[str], tree: Path, out: Path) -> list[str]:
    """The source files that an error names, relative to the tree, each once."""
    found = dict.fromkeys(match["file"] for line in lines for match in _PLACE.finditer(line))
    paths = (Path(os.path.normpath(out / file)) for file in found)
    return [str(path.relative_to(tree)) for path in paths if path.is_relative_to(tree)]


def _ends(line: str) -> bool:
    return bool(_MAKE.match(line) or _COMPILED.match(line) or _ERROR.match(line))


def _includes(before: Sequence[str]) -> list[str]:
    """The lines `In file included from …` just before an error."""
    lines: list[str] = []
    for line in reversed(before):
        if not line.startswith(("In file included from", "                 from")):
            break
        lines.insert(0, line)
    return lines
