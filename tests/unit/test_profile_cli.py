# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab profile`."""

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lab.cli.profile import app, complete_profile
from lab.errors import ProfileError
from lab.profile.load import load
from lab.profile.models import Profile
from lab.profile.schema import json_schema
from tests import ROOT


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory for the user's own profiles, and the checkout as working directory."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(ROOT)
    directory = tmp_path / "lab/profiles"
    directory.mkdir(parents=True)
    return directory


def run(*argv: str, status: int = 0) -> tuple[str, str]:
    """stdout and stderr of `lab profile ARGV`."""
    result = CliRunner().invoke(app, argv, env={"COLUMNS": "80"})
    assert result.exit_code == status, result.output
    return result.stdout, result.stderr


def test_check_without_names_checks_what_ships() -> None:
    out, err = run("check")
    assert "ok  nvme-copy  profiles/nvme-copy.yaml\n" in out
    assert err == ""


def test_check_reports_all_problems_of_all_profiles(own: Path) -> None:
    bad = own / "bad.yaml"
    bad.write_text("device: []\n")
    out, err = run("check", "bad", "nvme-copy", "nothing", status=2)
    assert out == "ok  nvme-copy  profiles/nvme-copy.yaml\n"
    lines = err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"{bad}:1: description: missing; ")
    assert lines[1].startswith(f"{bad}:1: device: unknown key; did you mean devices? ")
    assert lines[2].startswith("nothing: no profile 'nothing'; expected one of: bad, ")


def test_check_json(own: Path) -> None:
    (own / "bad.yaml").write_text("description: d\ndevices: []\n")
    out, err = run("check", "--json", "bad", "nvme-copy", status=2)
    assert err == ""
    bad, good = json.loads(out)
    assert good == {"name": "nvme-copy", "file": "profiles/nvme-copy.yaml", "problems": []}
    (problem,) = bad["problems"]
    assert (problem["line"], problem["key"]) == (2, "devices")
    assert problem["message"].startswith("nothing to test; expected at least one device")


def test_list_shows_broken_profiles_too(own: Path) -> None:
    (own / "bad.yaml").write_text("")
    out, _ = run("list")
    assert re.search(r"^nvme-copy +One NVMe", out, re.MULTILINE)
    assert re.search(r"^bad +invalid: empty", out, re.MULTILINE)
    valid = {row["name"]: row["valid"] for row in json.loads(run("list", "--json")[0])}
    assert (valid["bad"], valid["nvme-copy"]) == (False, True)


def test_show_fits_80_columns_and_shows_brackets(own: Path) -> None:
    (own / "zoned.yaml").write_text(
        "description: '[red]zones[/red]'\n"
        "guest: {kernel_args: [quiet, 'a=[b]']}\n"
        "devices:\n"
        "- type: nvme\n"
        "  serial: XXXXXXXXXXXXXXXXXXXX\n"
        "  namespaces:\n"
        "  - size: 64G\n"
        "    block_size: 4096\n"
        "    copy: {mssrl: 65535, mcl: 4294967295, msrc: 256}\n"
        "    zoned: {zone_size: 16M, zone_capacity: 12M, max_open: 2}\n"
    )
    out, _ = run("show", "zoned")
    assert max(map(len, out.splitlines())) <= 80
    for words in [
        "zoned: [red]zones[/red]\n",
        "machine: 2 CPUs, 1G memory, network none\n",
        "guest: image trixie, kernel debian, nvme_io_timeout 3600s\n",
        "kernel_args quiet a=[b]\n",
        "XXXXXXXXXXXXXXXXXXXX:1  nvme, 64G, blocks of 4096 bytes\n",
        "controller: mdts 7\n",
        "copy: msrc 256 ranges, mssrl 65535 blocks, mcl 4294967295 blocks\n",
        "zones: 4096 of 16M, 12M writable\n",
        "open at once: 2; active: any\n",
    ]:
        assert words in out


def test_show_json_is_the_resolved_profile() -> None:
    out, _ = run("show", "--json", "nvme-copy")
    assert Profile.model_validate_json(out) == load("nvme-copy")


def test_changes_of_the_command_line() -> None:
    show = ("show", "--json", "nvme-copy")
    changed = load("nvme-copy", ["machine.cpus=3"])
    assert Profile.model_validate_json(run(*show, "--set", "machine.cpus=3")[0]) == changed
    assert run("check", "nvme-copy", "--set", "machine.cpus=3")[0].startswith("ok  nvme-copy  ")
    _, err = run("check", "nvme-copy", "--set", "machine.cpus=0", "--set", "kernel=", status=2)
    assert err.splitlines() == [
        "--set kernel=: kernel: an empty value is not text; "
        "expected printable ASCII without spaces at its ends",
        "--set machine.cpus=0: machine.cpus: 0 is less than 1; expected 1 to 64 CPUs",
    ]


def test_show_leaves_errors_to_the_caller() -> None:
    result = CliRunner().invoke(app, ["show", "nothing"])
    assert isinstance(result.exception, ProfileError)


def test_schema_is_printed() -> None:
    assert json.loads(run("schema")[0]) == json_schema()


def test_completion(own: Path) -> None:
    (own / "zoo.yaml").touch()
    assert "nvme-copy" in complete_profile("nvme-c")
    assert complete_profile("zo") == ["zoo"]


def loaded(code: str) -> set[str]:
    """The modules that are loaded after a new Python has run `code`."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    return set(done.stdout.split())


def test_help_needs_no_models() -> None:
    assert not {"pydantic", "yaml"} & loaded("import lab.cli")


@pytest.mark.parametrize("command", ["up {}", "run {} copy-faults", "profile check {}"])
def test_mistake_is_told_before_anything_slow_is_imported(own: Path, command: str) -> None:
    bad = own / "bad.yaml"
    bad.write_text("description: d\n")
    argv = ["lab", *command.format(bad).split()]
    code = f"""
        sys.argv = {argv!r}
        from lab.cli import main
        try:
            main()
        except SystemExit as end:
            assert end.code == 2
    """
    assert not {"paramiko", "qemu", "asyncio", "rich"} & loaded(textwrap.dedent(code))
