# SPDX-License-Identifier: GPL-2.0-or-later
"""What README and docs tell people to type, typed as it stands there: the commands that need a
guest of nvme-copy at most.  tests/unit/test_documented_commands.py has all others parsed."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ROOT
from tests.boot.conftest import LAB, Lab
from tests.documented import Command, commands

CHEAP = re.compile(
    r"(ssh|scp|rsync|lab (ls|ssh nvme-copy|fault nvme-copy|up nvme-copy"
    r"|profile|image list|kernel list|results list))\b"
)
DEAR = {
    r"--(kernel|qemu|set) ": "boots another guest, or a profile that is shown",
    r"\./|RUN|PROFILE|NAME|DIR": "names what the reader has",
    r"lab fault nvme-copy (step|inject)": "wants a copy that is held: tests/boot/test_fault.py",
    r"256\+64": "the copy that is to be held",
}
"""Of those that are cheap else: patterns of commands that are not run here, and why."""

LATER = {"lab fault nvme-copy release": 1, "lab down nvme-copy": 2}
UP = "lab up nvme-copy"


def typed() -> list[str]:
    """The commands, each once; guests come up first and go down last."""
    found = dict.fromkeys(
        command.text for command in commands() if not command.mention and _is_cheap(command)
    )
    return [UP, *sorted((text for text in found if text != UP), key=lambda t: LATER.get(t, 0))]


def _is_cheap(command: Command) -> bool:
    if command.text in LATER:
        return True
    dear = any(re.search(pattern, command.text) for pattern in DEAR)
    return bool(CHEAP.match(command.text)) and not dear


@pytest.fixture(scope="module")
def shell(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of somebody whose state directory is where it is by default."""
    home = tmp_path_factory.mktemp("home")
    (home / ".local").mkdir()
    (home / ".local/state").symlink_to(lab.state)
    cache = os.environ.get("XDG_CACHE_HOME", Path("~/.cache").expanduser())
    yield lab.env | {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(cache),
        "PATH": f"{Path(LAB).parent}:{os.environ['PATH']}",
    }
    lab("down", "nvme-copy", status=None)


@pytest.mark.parametrize("text", typed())
def test_it_does_what_it_is_said_to(shell: dict[str, str], tmp_path: Path, text: str) -> None:
    # What goes on in the background (`&`) would hold a pipe open.
    said = tmp_path / "said"
    with said.open("w") as output:
        done = subprocess.run(
            ["bash", "-c", text], cwd=ROOT, env=shell, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, timeout=900, check=False,
        )  # fmt: skip
    assert done.returncode == 0, f"{text}: {said.read_text()}"


def test_what_is_typed_has_the_ways_into_a_guest() -> None:
    words = {text.split()[0] for text in typed()}
    assert {"lab", "ssh", "scp", "rsync"} <= words
