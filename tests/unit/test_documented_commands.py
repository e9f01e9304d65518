# SPDX-License-Identifier: GPL-2.0-or-later
"""Every command that README and docs have is one that the lab takes: its options and arguments are
read by the very command line, and profiles and suites' arguments are read as when it runs."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from lab.cli import _ClickException, app
from lab.errors import LabError
from lab.profile.load import load
from lab.suites.suite import check, suites
from tests import ROOT
from tests.documented import Command, commands
from tests.extended import entry_points

WRONG = {
    "lab up nvme-copy --set 'machine.memory=1 gig'": "its error is what is told",
    "lab up nvme-copy --set 'devices[0].namespaces[0].size=8 gig'": "its error is shown",
    "lab run nvme-copy copy-faults -- --plant help": "it is answered with what there is",
    "lab run nvme-copy crash-states -- --plant help": "it is answered with what there is",
}
"""Commands that are to be refused."""
NOT_OURS = {
    "make bindeb-pkg": "the kernel's", "make tarxz-pkg": "the kernel's",
    "make dir-pkg": "the kernel's", "make allnoconfig": "the kernel's",
    "make check": "cryptsetup's, or ours",
    "make check-programs": "cryptsetup's",
    "lab fault nvme-copy step, inject ERROR, release": "what the lab says",
    "lab --install-completion": "it would change the shell of whoever runs the tests",
}  # fmt: skip
"""Commands that are not tried, and why."""

ALL = [command for command in commands() if command.text not in NOT_OURS]


def accept(words: list[str]) -> Any:
    """Have the command line parse a command, without carrying it out; what it understood."""
    command: Any = get_command(app)
    name, args, context = words[0], words[1:], None
    while True:
        context = command.make_context(name, args, parent=context)
        if not hasattr(command, "commands"):
            return context
        left = [*getattr(context, "_protected_args", ()), *context.args]
        name, command, args = command.resolve_command(context, left)


def look_up(words: list[str]) -> None:
    """Raise what a person would be told who typed this and has all files that it names."""
    params = accept(words).params
    profile, suite = params.get("profile"), params.get("suite")
    if profile and not isinstance(profile, list) and not re.match(r"[./~]|[A-Z]+$", profile):
        load(profile, params.get("changes") or [])
    if suite:
        assert suite in suites(), f"no suite {suite}"
        check(suite, params.get("args") or [])


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that commands name, as the same pages have them."""
    monkeypatch.chdir(tmp_path)
    for name, page, first in (
        ("faults.yaml", "suites.md", "- layer:"),
        ("quirks.yaml", "conformance.md", "quirks:"),
    ):
        text = (ROOT / "docs" / page).read_text()
        block = re.search(
            rf"(?:^```yaml\n|\n\n)((?: {{4}})?{first}.*?)(?:^```|\n\n(?! ))", text, re.S | re.M
        )
        assert block, name
        (tmp_path / name).write_text(re.sub("^ {4}", "", block[1], flags=re.M))


def brought(words: list[str]) -> set[str]:
    """What a command names that the package of docs/extending.md brings."""
    return set(words) & {name for added in entry_points().values() for name in added}


def identity(command: Command) -> str:
    return f"{command.page}:{command.line}"


@pytest.mark.parametrize("command", ALL, ids=identity)
def test_it_is_a_command(command: Command) -> None:
    for words in command.simple():
        if brought(words):
            continue  # tests/unit/test_extended.py has the lab with that package read it
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.M), words
        elif words[0] == "lab":
            try:
                look_up(words)
            except typer.Exit:
                pass  # --help and the like
            except _ClickException as error:
                missing = type(error).__name__ in ("MissingParameter", "NoArgsIsHelpError")
                assert command.mention and missing, f"{command.text}: {error.format_message()}"
            except LabError as error:
                assert command.text in WRONG, f"{command.text}: {error.message}"
            else:
                assert command.text not in WRONG


@pytest.mark.parametrize("command", [c for c in ALL if "pytest" in c.text], ids=identity)
def test_a_test_that_wants_a_variable_knows_it(command: Command) -> None:
    variable = command.text.partition("=")[0]
    (path,) = re.findall(r"tests/\S+\.py", command.text)
    assert variable in (ROOT / path).read_text()


@pytest.mark.parametrize(
    "text",
    [
        "lab up nvme-copy --no-such-option",
        "lab run nvme-copy copy-faults -- --no-such-option",
        "lab run nvme-copy no-such-suite",
        "lab up no-such-profile",
        "lab up nvme-copy --set no.such.key=1",
        "lab fault nvme-copy no-such-command",
        "lab results show RUN more",
        "lab ls && lab nothing",
        "lab profile list|nothing",
    ],
)
def test_one_that_is_wrong_is_found(text: str) -> None:
    with pytest.raises((LabError, _ClickException, AssertionError)):
        for words in Command("page", 1, text, inline=False).simple():
            look_up(words)


def test_exceptions_are_in_use() -> None:
    there = {command.text for command in commands()}
    assert set(NOT_OURS) | set(WRONG) <= there


def test_there_are_many() -> None:
    assert len([command for command in ALL if not command.mention]) > 100


def test_the_packages_to_install_by_hand_are_those_that_setup_installs() -> None:
    (listed,) = re.findall(r"apt-get install ((?:.*\\\n)*.*)", (ROOT / "README.md").read_text())
    needed = (ROOT / "scripts/setup").read_text().partition("<<END\n")[2].partition("END\n")[0]
    packages = {line.split()[1] for line in needed.splitlines()}
    packages |= {"uidmap", "debian-archive-keyring"}
    assert set(listed.replace("\\\n", "").split()) == packages - {"shellcheck", "make"}
