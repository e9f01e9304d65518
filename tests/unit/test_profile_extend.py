# SPDX-License-Identifier: GPL-2.0-or-later
"""`extends`: one profile laid over another."""

from pathlib import Path

import pytest

from lab.problem import InvalidProfileError
from lab.profile.load import load

BASE = """\
description: the base
machine:
  cpus: 4
  memory: 512M
guest:
  kernel_args: [quiet, ro]
devices:
  - type: nvme
    serial: A
    namespaces:
      - size: 64M
        copy: {mssrl: 200, mcl: 400}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with base.yaml in it, so that files are shown by their names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text(BASE)
    return tmp_path


def problems(text: str, name: str = "p.yaml") -> list[str]:
    """What is wrong with a file with `text`."""
    Path(name).write_text(text)
    with pytest.raises(InvalidProfileError) as caught:
        load(name)
    return str(caught.value).splitlines()


def test_mappings_are_merged_and_all_else_replaced() -> None:
    Path("p.yaml").write_text(
        "extends: base.yaml\n"
        "machine: {memory: 1G}\n"
        "guest: {kernel_args: [debug], nvme_io_timeout: 30s}\n"
    )
    profile = load("p.yaml")
    assert (profile.name, profile.description) == ("p", "the base")
    assert (profile.machine.cpus, profile.machine.memory) == (4, 2**30)
    assert (profile.guest.kernel_args, profile.guest.nvme_io_timeout) == (("debug",), 30.0)
    assert profile.devices == load("base.yaml").devices


def test_list_takes_the_place_of_the_whole_list() -> None:
    devices = "[{type: nvme, serial: B, namespaces: [{size: 1M}]}]"
    Path("p.yaml").write_text(f"extends: base.yaml\ndescription: mine\ndevices: {devices}\n")
    profile = load("p.yaml")
    assert profile.description == "mine"
    assert [device.serial for device in profile.devices] == ["B"]


def test_chain_of_directories(here: Path) -> None:
    (here / "deep").mkdir()
    (here / "deep/middle.yml").write_text("extends: ../base.yaml\nmachine: {cpus: 8}\n")
    (here / "p.yaml").write_text("extends: deep/middle.yml\nmachine: {network: user}\n")
    machine = load("p.yaml").machine
    assert (machine.cpus, machine.memory, machine.network) == (8, 512 * 2**20, "user")


def test_name_means_what_it_means_to_show(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(here / "config"))
    own = here / "config/lab/profiles"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("extends: nvme-copy\nmachine: {cpus: 3}\n")
    (here / "p.yaml").write_text("extends: mine\n")
    assert load("p.yaml").machine.cpus == 3
    assert load("p.yaml").devices == load("nvme-copy").devices


def test_problems_are_told_where_the_value_stands() -> None:
    Path("base.yaml").write_text(BASE.replace("mcl: 400", "mcl: x").replace("cpus: 4", "cpus: y"))
    assert problems("extends: base.yaml\nmachine:\n  memory: z\n  cpu: 1\n") == [
        "base.yaml:3: machine.cpus: 'y' is not a whole number; expected 1 to 64 CPUs",
        "base.yaml:12: devices[0].namespaces[0].copy.mcl: 'x' is not a whole number; "
        "expected 0 to 4294967295 blocks per copy",
        "p.yaml:3: machine.memory: 'z' is not a size; expected a size such as 512M or 4GiB",
        "p.yaml:4: machine.cpu: unknown key; did you mean cpus? expected cpus, memory, network, "
        "qemu",
    ]


def test_what_is_replaced_cannot_be_wrong() -> None:
    Path("base.yaml").write_text(BASE.replace("cpus: 4", "cpus: y"))
    Path("p.yaml").write_text("extends: base.yaml\nmachine: {cpus: 2}\n")
    assert load("p.yaml").machine.cpus == 2


def test_missing_keys_are_missed_where_the_mapping_stands() -> None:
    Path("base.yaml").write_text(BASE.replace("description: the base\n", ""))
    assert problems("# mine\nextends: base.yaml\n") == [
        "p.yaml:2: description: missing; expected: What the profile is for, in a sentence"
    ]
    Path("base.yaml").write_text(BASE.replace("serial: A", "mdts: 4"))
    (problem,) = problems("extends: base.yaml\n")
    assert problem.startswith("base.yaml:8: devices[0].serial: missing; expected: Serial number")


def test_what_the_new_value_lacks_is_missed_in_it() -> None:
    (problem,) = problems("extends: base.yaml\ndevices: [{type: nvme, serial: A}]\n")
    assert problem.startswith("p.yaml:2: devices[0].namespaces: missing;")


def test_faults_of_the_yaml_of_both_files() -> None:
    Path("base.yaml").write_text(BASE.replace("cpus: 4", "cpus: *x"))
    assert problems("extends: base.yaml\nmachine: {memory: &x 1G}\n") == [
        "base.yaml:3: machine.cpus: alias *x; expected the value itself",
        "p.yaml:2: machine.memory: anchor &x; expected the value alone",
    ]
    # The fault stays a fault, but the value that replaces the alias is checked.
    assert problems("extends: base.yaml\nmachine: {cpus: 65}\n") == [
        "base.yaml:3: machine.cpus: alias *x; expected the value itself",
        "p.yaml:2: machine.cpus: 65 is more than 64; expected 1 to 64 CPUs",
    ]


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("a: [", "base.yaml:1: not valid YAML: "),
        ("- a\n", "base.yaml:1: a list instead of a mapping; expected a mapping with description"),
        ("", "base.yaml:1: empty; expected a mapping with description"),
        ("\n\x07", "base.yaml:2: character '\\x07'; expected printable text"),
    ],
)
def test_broken_base_is_named(base: str, expected: str) -> None:
    Path("base.yaml").write_text(base)
    (problem,) = problems("description: d\nextends: base.yaml\n")
    assert problem.startswith(expected)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("5", "5 is not text; expected a profile's name or path"),
        ("", "an empty value is not text; expected a profile's name or path"),
        ("[base.yaml]", "a list is not text; expected a profile's name or path"),
        ("nvme-cpy", "no profile 'nvme-cpy'; expected one of: "),
        ("gone.yaml", "'gone.yaml' cannot be read: No such file or directory; expected a YAML"),
        ("./", "'./' cannot be read: Is a directory; expected a YAML file"),
        ('"a\\0.yaml"', "'a\\x00.yaml' cannot be read: embedded null byte; expected a YAML file"),
    ],
)
def test_what_cannot_be_extended(wanted: str, expected: str) -> None:
    (problem,) = problems(f"description: d\nextends: {wanted}\n")
    assert problem.startswith(f"p.yaml:2: extends: {expected}")


def test_unknown_name_comes_with_a_guess() -> None:
    assert "(did you mean nvme-copy" in problems("extends: nvme-cpy\n")[0]


def test_alias_instead_of_a_name_is_told_once() -> None:
    assert problems("extends: *x\n") == ["p.yaml:1: extends: alias *x; expected the value itself"]


def test_circles() -> None:
    Path("b.yaml").write_text("machine: {cpus: 1}\nextends: a.yaml\n")
    assert problems("extends: b.yaml\n", "a.yaml") == [
        "b.yaml:2: extends: a -> b -> a; expected a profile that does not lead back here"
    ]
    assert problems("extends: a.yaml\n", "c.yaml") == [
        "b.yaml:2: extends: c -> a -> b -> a; expected a profile that does not lead back here"
    ]
    assert problems("extends: ./x/../p.yaml\n") == [
        "p.yaml:1: extends: p -> p; expected a profile that does not lead back here"
    ]


def test_circle_through_a_link_that_makes_ever_new_paths(here: Path) -> None:
    (here / "d").symlink_to(".")
    (problem,) = problems("extends: d/p.yaml\n")
    assert problem.endswith(
        ": extends: 'd/p.yaml' cannot be read: Too many levels of symbolic links; "
        "expected a YAML file"
    )


def test_misspelt_extends() -> None:
    (problem,) = problems("extend: base.yaml\ndescription: d\ndevices: []\n")
    assert problem.startswith("p.yaml:1: extend: unknown key; did you mean extends? expected desc")
