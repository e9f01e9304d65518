# SPDX-License-Identifier: GPL-2.0-or-later
"""What `lab doctor` prints, for people and for machines, and its exit status."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from lab.artifacts import cache
from lab.cli import app
from lab.doctor.examine import Line
from lab.doctor.finding import Finding, degraded, missing, ok
from lab.host import dirs
from lab.host.cures import install
from tests.unit.builders import idle

LONG = "a sentence that is much longer than what is left of a line beside a name, " * 3


def run(*argv: str, status: int = 0) -> str:
    """stdout of `lab doctor ARGV`."""
    result = CliRunner().invoke(app, ["doctor", *argv], env={"COLUMNS": "80"})
    assert result.exit_code == status, result.output
    return result.stdout


@pytest.fixture(autouse=True)
def debian(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: {"ID": "debian"})


def findings(monkeypatch: pytest.MonkeyPatch, **found: Finding) -> None:
    """Let these be found."""

    def examine(_on_check: object) -> Iterator[Line]:
        return (Line(name, finding, 0.1) for name, finding in found.items())

    monkeypatch.setattr("lab.doctor.examine.examine", examine)


def test_a_line_each_within_80_columns_with_what_fits_this_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    findings(monkeypatch, one=ok("fine [really]"), two=degraded(LONG, LONG),
             three=missing("none", install("qemu-img")))  # fmt: skip
    out = run(status=3)
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["ok", "one", "fine", "[really]"]
    assert re.search(r"missing +three +none *\n +→ sudo apt-get install qemu-utils *\n", out)
    assert "dnf" not in out
    assert lines[-1] == "1 ok, 1 degraded, 1 missing"


def test_what_is_degraded_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    findings(monkeypatch, two=degraded("slow", "hurry"))
    assert run().endswith("1 degraded\n")


def test_machines_get_the_commands_of_all_three_distributions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    findings(monkeypatch, one=ok("1.0", {"one": "1.0"}), two=missing("none", install("qemu-img")))
    document = json.loads(run("--json", status=3))
    assert document["distribution"] == "debian"
    one, two = document["checks"]
    assert one == {
        "name": "one", "state": "ok", "said": "1.0", "cure": None, "versions": {"one": "1.0"},
        "seconds": 0.1,
    }  # fmt: skip
    assert two["cure"] == {
        "debian": "sudo apt-get install qemu-utils",
        "ubuntu": "sudo apt-get install qemu-utils",
        "fedora": "sudo dnf install qemu-img",
    }


def superseded() -> cache.Artifact:
    """A kernel that nothing leads to; whoever built it has ended."""
    code = (
        "from lab.artifacts import cache\n"
        "def build(directory):\n"
        "    (directory / 'vmlinux').write_bytes(b'x' * 7_000_000)\n"
        "    return {'release': '6.12'}\n"
        "cache.ensure('kernel', 'debian', {}, build, print, room=0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    return cache.address("kernel", "debian", {})


def test_cleaning_says_what_and_how_much() -> None:
    assert run("--clean") == "nothing to clean up\n"
    old = superseded()
    assert run("--clean") == f"removed kernel debian {old.key}, 7 MB\n7 MB freed\n"
    assert run("--clean") == "nothing to clean up\n"


def test_what_is_kept_says_why_and_frees_nothing() -> None:
    old = superseded()
    with idle(cwd=old.path):
        assert run("--clean") == f"kept kernel debian {old.key}: in use\n0 MB freed\n"


def test_cleaning_tells_machines_as_well() -> None:
    old = superseded()
    left = dirs.state("guests") / "half"
    left.mkdir()
    document = json.loads(run("--clean", "--json"))
    assert document["freed"] > 6.9e6
    assert [(one["path"], one["kept"]) for one in document["leftovers"]] == [
        (str(left), None), (str(old.path), None),
    ]  # fmt: skip


def test_help_does_not_wait_for_the_checks() -> None:
    code = (
        "import sys; from lab.cli import main\n"
        "sys.argv[1:] = ['doctor', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([name for name in sys.modules if name.startswith(('lab.doctor', 'lab.artifacts'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--clean" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
