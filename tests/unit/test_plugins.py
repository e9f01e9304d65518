# SPDX-License-Identifier: GPL-2.0-or-later
"""What packages add: found by entry points; the broken are named and left out, clashes refused."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import plugins
from lab.errors import HostError
from lab.plugins import SUITES, PluginWarning
from lab.suites import SUITES as SUITES_OF_THE_LAB

Install = Callable[[str, str, str], None]
"""Takes a package's name, its entry points of lab.suites, and the text of its module."""


@dataclass(frozen=True)
class Thing:
    """Something that has a name."""

    name: str


THING = """
from tests.unit.test_plugins import Thing
mine = Thing("mine")
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts packages where Python finds them, as an installer leaves them."""
    monkeypatch.syspath_prepend(str(tmp_path))
    modules = []

    def made(name: str, entries: str, module: str) -> None:
        module_name = name.replace("-", "_")
        (tmp_path / f"{module_name}.py").write_text(module)
        info = tmp_path / f"{module_name}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(f"[lab.suites]\n{entries}\n")
        modules.append(module_name)
        plugins.found.cache_clear()
        plugins.installed.cache_clear()

    yield made
    for module in modules:
        sys.modules.pop(module, None)
    plugins.found.cache_clear()
    plugins.installed.cache_clear()


def test_what_a_package_brings_is_found_by_its_name(install: Install) -> None:
    install("acme-lab", "mine = acme_lab:mine", THING)
    assert plugins.found(SUITES)["mine"] == Thing("mine")
    assert plugins.together(SUITES, {"own": Thing("own")}, Thing) == {
        "own": Thing("own"),
        "mine": Thing("mine"),
    }


@pytest.mark.parametrize(
    ("entries", "module", "why"),
    [
        ("bad = acme_lab:mine", "import no_such_module", "ModuleNotFoundError: No module named"),
        ("bad = acme_lab:mine", "mine = (", "SyntaxError"),
        ("bad = acme_lab:mine", "raise SystemExit('unlicensed')", "SystemExit: unlicensed"),
        ("bad = acme_lab:other", THING, "AttributeError"),
        ("bad = acme_lab, then", THING, "acme_lab, then: "),
        ("Bad One = acme_lab:mine", THING, "lower-case letters, digits and dashes"),
        ("bad = acme_lab:mine", THING, "it calls itself mine"),
        ("bad = acme_lab", THING, "it is a module, and no Thing"),
    ],
)
def test_a_broken_plugin_is_named_and_left_out(
    install: Install, entries: str, module: str, why: str
) -> None:
    install("acme-lab", entries, module)
    install("sound", "mine = sound:mine", THING)
    with pytest.warns(PluginWarning, match="of acme-lab 1.5 is left out: ") as warned:
        made = plugins.together(SUITES, {}, Thing)
    assert list(made) == ["mine"]
    (told,) = warned
    assert why in str(told.message)
    assert "\n" not in str(told.message)


def test_two_packages_with_one_name_are_refused(install: Install) -> None:
    install("acme-lab", "mine = acme_lab:mine", THING)
    install("other-lab", "mine = other_lab:mine", THING)
    with pytest.raises(HostError) as caught:
        plugins.found(SUITES)
    assert caught.value.message == "acme-lab 1.5 and other-lab 1.5 both bring a suite mine"


def test_a_name_of_the_labs_own_is_refused(install: Install) -> None:
    install("acme-lab", "mine = acme_lab:mine", THING)
    with pytest.raises(HostError, match=r"acme-lab 1\.5 brings a suite mine, but the lab has one"):
        plugins.together(SUITES, {"mine": Thing("mine")}, Thing)


def test_the_command_line_tells_a_broken_plugin_once_in_one_line(
    install: Install, tmp_path: Path
) -> None:
    install("acme-lab", "bad = acme_lab:mine", "raise RuntimeError('two\\nlines')")
    said = after("run", "nvme-copy", "bad", path=tmp_path)
    assert said == (
        "lab: warning: suite bad of acme-lab 1.5 is left out: "
        "acme_lab:mine: RuntimeError: two lines\n"
        f"lab: no suite bad — there are: {', '.join(SUITES_OF_THE_LAB)}\n"
    )


def test_the_shell_is_offered_what_works_and_nothing_else(install: Install, tmp_path: Path) -> None:
    install("acme-lab", "bad = acme_lab:mine", "raise RuntimeError")
    env = {"_LAB_COMPLETE": "complete_bash", "COMP_WORDS": "lab run zns f", "COMP_CWORD": "3"}
    done = command(path=tmp_path, **env)
    assert (done.stdout.split(), done.stderr) == (["fstests", "fsx", "fsstress"], "")


def test_what_a_plugin_fails_at_is_told_as_its_bug(install: Install, tmp_path: Path) -> None:
    module = """
    from lab.suites.suite import Suite
    def parse(words):
        raise ValueError("what?")
    suite = Suite(name="bad", does="fails", parse=parse, run=print)
    """
    install("acme-lab", "bad = acme_lab:suite", textwrap.dedent(module))
    said = after("run", "nvme-copy", "bad", path=tmp_path)
    assert said.startswith("lab: ValueError: what? — this is a bug of acme-lab 1.5: report /")
    assert said.count("\n") == 1


def test_help_looks_for_no_plugin(tmp_path: Path) -> None:
    done = "print('importlib.metadata' in sys.modules, file=sys.stderr)"
    assert after("--help", path=tmp_path, done=done) == "False\n"


def after(*words: str, path: Path, done: str = "pass") -> str:
    """What a command of the lab, with packages in `path` as well, says on stderr, and Python code
    that is `done` after it."""
    return command(*words, path=path, done=done).stderr


def command(
    *words: str, path: Path, done: str = "pass", **env: str
) -> subprocess.CompletedProcess[str]:
    """A command of the lab, with packages in `path` as well, and Python code that is `done` after
    it."""
    code = f"import sys, lab.cli\ntry: lab.cli.main()\nexcept SystemExit: {done}"
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True,
        timeout=60, env={**os.environ, "PYTHONPATH": str(path), **env},
    )  # fmt: skip
