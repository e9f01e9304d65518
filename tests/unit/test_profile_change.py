# SPDX-License-Identifier: GPL-2.0-or-later
"""`--set`: changes to a profile from the command line."""

from pathlib import Path

import pytest

from lab.errors import UsageError
from lab.problem import InvalidProfileError
from lab.profile.change import ItemName, ProfileChange
from lab.profile.load import load
from lab.profile.models import NvmeController, Profile

TEXT = """\
description: d
guest:
  kernel_args: [quiet]
devices:
  - type: nvme
    serial: A.1
    namespaces:
      - size: 64M
  - type: nvme
    serial: B
    namespaces:
      - size: 64M
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with p.yaml in it."""
    monkeypatch.chdir(tmp_path)
    Path("p.yaml").write_text(TEXT)


def controllers(profile: Profile) -> list[NvmeController]:
    """The devices, all of them NVMe."""
    return [device for device in profile.devices if isinstance(device, NvmeController)]


def problems(*changes: str) -> list[str]:
    """What is wrong with p.yaml after `changes`."""
    with pytest.raises(InvalidProfileError) as caught:
        load("p.yaml", changes)
    return str(caught.value).splitlines()


def test_values_are_yaml() -> None:
    profile = load(
        "p.yaml",
        [
            "description='two words'",
            "devices[0].namespaces[0].size=8G",
            "devices[0].namespaces[0].zoned={zone_size: 16M}",
            "guest.kernel_args=[a, b=c]",
            "guest.kernel_args[1]=d=e",
        ],
    )
    (namespace,) = controllers(profile)[0].namespaces
    assert (profile.name, profile.description) == ("p", "two words")
    assert (namespace.size, namespace.zones) == (8 * 2**30, 512)
    assert profile.guest.kernel_args == ("a", "d=e")


def test_what_is_not_there_yet_is_made() -> None:
    profile = load("p.yaml", ["machine.cpus=3", "devices[1].namespaces[0].copy.msrc=5"])
    assert profile.machine.cpus == 3
    assert controllers(profile)[1].namespaces[0].copy_limits.msrc == 5


def test_index_after_the_last_adds_an_item() -> None:
    profile = load(
        "p.yaml",
        [
            "guest.kernel_args[1]=debug",
            "devices[2].type=nvme",
            "devices[2].serial=C",
            "devices[2].namespaces[0].size=1M",
            "devices[C].mdts=3",
        ],
    )
    assert profile.guest.kernel_args == ("quiet", "debug")
    assert [device.serial for device in profile.devices] == ["A.1", "B", "C"]
    assert controllers(profile)[2].mdts == 3


def test_items_by_name() -> None:
    profile = load("p.yaml", ["devices[B].mdts=2", "devices[A.1].mdts=1", "devices[B].serial=C"])
    assert [(device.serial, device.mdts) for device in controllers(profile)] == [
        ("A.1", 1),
        ("C", 2),
    ]


def test_empty_value_takes_an_optional_key_away() -> None:
    zoned = "devices[0].namespaces[0].zoned"
    profile = load("p.yaml", [f"{zoned}.zone_size=16M", f"{zoned}="])
    assert controllers(profile)[0].namespaces[0].zoned is None


def test_change_of_an_extended_profile() -> None:
    Path("q.yaml").write_text("extends: p.yaml\ndescription: q\n")
    profile = load("q.yaml", ["devices[B].mdts=2"])
    assert (profile.name, controllers(profile)[1].mdts) == ("q", 2)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("machine.cpus=65", "machine.cpus: 65 is more than 64; expected 1 to 64 CPUs"),
        ("machine.cpu=4", "machine.cpu: unknown key; did you mean cpus? expected cpus, memory"),
        ("machin.cpus=4", "machin: unknown key; did you mean machine? expected description"),
        ("cpus=4", "cpus: unknown key; did you mean machine.cpus? expected description"),
        ("devices[0].size=8 gig", "devices[0].size: unknown key; did you mean namespaces[0].size?"),
        (
            "devices[0].namespaces[0].size=8 gig",
            "devices[0].namespaces[0].size: '8 gig' is not a size; expected a size such as 512M",
        ),
        ("devices[3].mdts=4", "devices[3]: devices has 2 items; expected at most [2], which adds"),
        (
            "devices[0].namespaces[2]=1",
            "devices[0].namespaces[2]: devices[0].namespaces has 1 item;",
        ),
        ("machine.x[1]=4", "machine.x[1]: machine.x has 0 items; expected at most [0], which"),
        ("devices[C].mdts=4", "devices[C]: devices has no item of that name; expected [A.1], [B]"),
        ("machine.x[C]=4", "machine.x[C]: machine.x has no item of that name; expected an index"),
        (
            "devices.mdts=4",
            "devices.mdts: devices is a list; expected an item of it, such as devices[0]",
        ),
        ("guest[0]=4", "guest[0]: guest is a mapping; expected a key of it: guest.KEY"),
        (
            "devices[0].serial.x=4",
            "devices[0].serial.x: devices[0].serial is 'A.1'; expected a path that ends there",
        ),
        ("machine.memory=[a", "machine.memory: not valid YAML: "),
        ("machine.memory=*a", "machine.memory: alias *a; expected the value itself"),
        ("machine={a: 1, a: 2}", "machine.a: "),
        ("name=x", "name: not a key; expected no name: it is the file's name"),
        ("extends=p", "extends: not a key of the profile itself; expected it in a file"),
        ("description=", "description: an empty value is not text; expected what the profile is"),
    ],
)
def test_mistakes_are_told_of_the_change(change: str, expected: str) -> None:
    for problem in problems(change):
        assert problem.startswith(f"--set {change}: {expected}")


def test_mistakes_of_file_and_changes_are_told_together() -> None:
    Path("p.yaml").write_text(TEXT.replace("[quiet]", "5"))
    assert problems("machine.cpus=0", "devices[9].mdts=1", "devices[0].mdts=x") == [
        "--set devices[0].mdts=x: devices[0].mdts: 'x' is not a whole number; "
        "expected 0 to 9 as a power of two (0: no limit)",
        "--set devices[9].mdts=1: devices[9]: devices has 2 items; "
        "expected at most [2], which adds one",
        "--set machine.cpus=0: machine.cpus: 0 is less than 1; expected 1 to 64 CPUs",
        "p.yaml:3: guest.kernel_args: 5 is not a list; expected a list",
    ]


def test_what_the_new_value_lacks_is_missed_in_it() -> None:
    (serial, namespaces) = problems("devices[0]={type: nvme}")
    assert serial.startswith("--set devices[0]={type: nvme}: devices[0].serial: missing;")
    assert namespaces.startswith("--set devices[0]={type: nvme}: devices[0].namespaces: missing;")


def test_last_change_of_a_value_counts() -> None:
    assert load("p.yaml", ["machine.cpus=x", "machine.cpus=3"]).machine.cpus == 3
    assert problems("machine.cpus=3", "machine.cpus=x")[0].startswith("--set machine.cpus=x: ")


@pytest.mark.parametrize(
    "argument",
    ["", "=", "machine", "=4", "[0]=1", "a..b=1", "a.=1", "a[=1", "a[]=1", "a[-1]", "a b=1", "1=1"],
)
def test_what_is_no_change(argument: str) -> None:
    with pytest.raises(UsageError) as caught:
        load("p.yaml", [argument])
    assert caught.value.message == f"--set {argument}: expected PATH=VALUE"
    assert "such as --set machine.memory=4G" in caught.value.hint


def test_steps_of_a_path() -> None:
    change = ProfileChange.parse("a_b[0].c-d[E.1][12]=x=y")
    assert change.steps == ("a_b", 0, "c-d", ItemName("E.1"), 12)
    assert change.value == "x=y"


def test_unprintable_argument_stays_one_line() -> None:
    (problem,) = problems("machine.cpus=1\n\x1b[31m")
    assert problem == (
        "--set 'machine.cpus=1\\n\\x1b[31m': machine.cpus: "
        "character '\\x1b'; expected printable text"
    )
