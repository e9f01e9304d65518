# SPDX-License-Identifier: GPL-2.0-or-later
"""What a profile may say, and the errors for everything else."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from lab.errors import ProfileError
from lab.problem import InvalidProfileError
from lab.profile.load import load, load_file
from lab.profile.models import GuestSettings, MachineSettings, NvmeController, Profile
from lab.yamlfile import MAX_BYTES

GOOD = """\
description: test
machine:
  cpus: 4
  memory: 512M
guest:
  nvme_io_timeout: 30s
  kernel_args: [quiet]
devices:
  - type: nvme
    serial: A
    namespaces:
      - size: 64M
        copy:
          mssrl: 200
          mcl: 400
          msrc: 16
      - size: 64M
        block_size: 4096
        zoned:
          zone_size: 16M
          zone_capacity: 12M
          max_open: 2
          max_active: 3
"""


def problems(tmp_path: Path, text: str | bytes) -> list[str]:
    """The problems of a file with `text`, without its name."""
    path = tmp_path / "p.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(InvalidProfileError) as caught:
        load_file(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(caught.value.problems)
    for line in lines:
        assert line.startswith(f"{path}:")
    return [line.removeprefix(f"{path}:") for line in lines]


def test_every_value_arrives_in_its_unit(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    profile = load(str(tmp_path / "good.yaml"))
    assert profile.name == "good"
    assert (profile.machine.cpus, profile.machine.memory) == (4, 512 * 2**20)
    assert (profile.image, profile.kernel, profile.machine.network) == ("trixie", "debian", "none")
    assert (profile.guest.nvme_io_timeout, profile.guest.kernel_args) == (30.0, ("quiet",))
    (controller,) = profile.devices
    assert isinstance(controller, NvmeController)
    plain, zoned = controller.namespaces
    assert controller.mdts == 7
    assert (plain.nsid, plain.block_size, plain.blocks, plain.zones) == (1, 512, 131072, 0)
    assert (plain.copy_limits.mssrl, plain.copy_limits.mcl, plain.copy_limits.msrc) == (
        200,
        400,
        16,
    )
    assert (zoned.nsid, zoned.blocks, zoned.zones) == (2, 16384, 4)
    assert zoned.zoned is not None
    assert (zoned.zoned.capacity, zoned.zoned.max_open, zoned.zoned.max_active) == (12 << 20, 2, 3)
    assert (zoned.copy_limits.mssrl, zoned.copy_limits.mcl, zoned.copy_limits.msrc) == (
        128,
        128,
        128,
    )


def test_defaults_of_the_guest(tmp_path: Path) -> None:
    (tmp_path / "p.yml").write_text(
        "description: d\ndevices: [{type: nvme, serial: A, namespaces: [{size: 1M}]}]"
    )
    profile = load(str(tmp_path / "p.yml"))
    assert (profile.machine.cpus, profile.machine.memory) == (2, 2**30)
    assert (profile.guest.nvme_io_timeout, profile.guest.kernel_args) == (3600.0, ())


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("description: test\n", "", "1: description: missing; expected: What the profile is for"),
        ("    serial: A\n", "", "9: devices[0].serial: missing; expected: Serial number"),
        (
            "test",
            "12",
            "1: description: 12 is not text (quotes make it text); "
            "expected what the profile is for, in words",
        ),
        ("test", '"\\e[31m"', "1: description: '\\x1b[31m' does not fit; expected what the"),
        ("cpus: 4", "cpus: 65", "3: machine.cpus: 65 is more than 64; expected 1 to 64 CPUs"),
        ("cpus: 4", "cpus: 0", "3: machine.cpus: 0 is less than 1; expected 1 to 64 CPUs"),
        ("cpus: 4", "cpus: 4.0", "3: machine.cpus: 4.0 is not a whole number; expected 1 to 64"),
        ("cpus: 4", "cpus: true", "3: machine.cpus: true is not a whole number; expected 1 to 64"),
        ("cpus: 4", "cpus: 0x4", "3: machine.cpus: '0x4' is not a whole number; expected 1 to 64"),
        (
            "cpus: 4",
            "cpu: 4",
            "3: machine.cpu: unknown key; did you mean cpus? expected cpus, memory, network",
        ),
        ("cpus: 4", "zzz: 4", "3: machine.zzz: unknown key; expected cpus, memory, network"),
        (
            "memory: 512M",
            "memory: 255M",
            "4: machine.memory: 255M is too little to boot; expected at least 256M",
        ),
        (
            "memory: 512M",
            "memory: 512MB",
            "4: machine.memory: '512MB' is not a size; expected a size such as 512M or 4GiB",
        ),
        (
            "memory: 512M",
            "network: bridge",
            "4: machine.network: 'bridge' does not fit; expected 'none' or 'user'",
        ),
        (
            "30s",
            "30",
            "6: guest.nvme_io_timeout: 30 is not a duration; "
            "expected a duration with a unit such as 30s",
        ),
        (
            "30s",
            "1.5s",
            "6: guest.nvme_io_timeout: 1.5s does not fit; "
            "expected whole seconds from 1s to 4294967s",
        ),
        ("30s", "0s", "6: guest.nvme_io_timeout: 0s does not fit; expected whole seconds"),
        ("30s", "4294968s", "6: guest.nvme_io_timeout: 4294968s does not fit; expected whole"),
        ("[quiet]", "quiet", "7: guest.kernel_args: 'quiet' is not a list; expected a list"),
        ("[quiet]", "[a, ' b']", "7: guest.kernel_args[1]: ' b' does not fit; expected printable"),
        ("type: nvme", "typ: nvme", "9: devices[0].type: missing; expected nvme"),
        (
            "type: nvme",
            "type: nvm",
            "9: devices[0].type: 'nvm' is an unknown type; did you mean nvme? expected nvme",
        ),
        ("serial: A", "serial: a b", "10: devices[0].serial: 'a b' does not fit; expected 1 to 20"),
        ("serial: A", "serial: 'a,b'", "10: devices[0].serial: 'a,b' does not fit; expected 1 to"),
        ("serial: A", f"serial: {'x' * 21}", "10: devices[0].serial: 'xxxxxxxxxxxxxxxxxxxxx' does"),
        (
            "serial: A",
            "serial: A\n    mdts: 10",
            "11: devices[0].mdts: 10 is more than 9; expected 0 to 9",
        ),
        (
            "      - size: 64M\n        copy",
            "      - nsid: 257\n        size: 64M\n        copy",
            "12: devices[0].namespaces[0].nsid: 257 is more than 256; "
            "expected 1 to 256 as namespace id",
        ),
        (
            "      - size: 64M\n        copy",
            "      - nsid: 2\n        size: 64M\n        copy",
            "18: devices[0].namespaces[1].nsid: 2 is already the id of namespaces[0]; expected",
        ),
        (
            "      - size: 64M\n        copy",
            "      - size: 1000\n        copy",
            "12: devices[0].namespaces[0].size: 1000 B is not whole blocks; "
            "expected a multiple of block_size, 512 bytes",
        ),
        (
            "block_size: 4096",
            "block_size: 1000",
            "18: devices[0].namespaces[1].block_size: 1000 does not fit; expected 512, 1024, 2048, "
            "4096, 8192, 16384, 32768 or 65536",
        ),
        (
            "mssrl: 200",
            "mssrl: 65536",
            "14: devices[0].namespaces[0].copy.mssrl: 65536 is more than 65535; "
            "expected 0 to 65535 blocks per source range",
        ),
        (
            "mcl: 400",
            "mcl: 199",
            "15: devices[0].namespaces[0].copy.mcl: 199 is less than mssrl; "
            "expected at least 200 blocks",
        ),
        (
            "mcl: 400",
            "mcl: 4294967296",
            "15: devices[0].namespaces[0].copy.mcl: 4294967296 is more than 4294967295; expected",
        ),
        (
            "msrc: 16",
            "msrc: 300",
            "16: devices[0].namespaces[0].copy.msrc: 300 is more than 256; "
            "expected 1 to 256 source ranges",
        ),
        (
            "msrc: 16",
            "msrc: 0",
            "16: devices[0].namespaces[0].copy.msrc: 0 is less than 1; "
            "expected 1 to 256 source ranges, counted plainly (NVMe's own field is zero-based: 0 "
            "in `nvme id-ns` is 1 here; a namespace that shows 0 for mssrl and mcl too is "
            "`copy: none`)",
        ),
        (
            "        copy:\n          mssrl: 200\n          mcl: 400\n          msrc: 16\n",
            "        copy: nil\n",
            "13: devices[0].namespaces[0].copy: 'nil' does not fit; expected none, or a mapping "
            "with mssrl, mcl, msrc",
        ),
        (
            "zone_size: 16M",
            "zone_size: 24M",
            "20: devices[0].namespaces[1].zoned.zone_size: 24M does not divide the namespace; "
            "expected a divisor of its size, 64M",
        ),
        (
            "zone_size: 16M",
            "zone_size: 8M",
            "21: devices[0].namespaces[1].zoned.zone_capacity: 12M is more than zone_size; "
            "expected at most 8M",
        ),
        (
            "zone_capacity: 12M",
            "zone_capacity: 1K",
            "21: devices[0].namespaces[1].zoned.zone_capacity: 1K is not whole blocks; "
            "expected a multiple of block_size, 4096 bytes",
        ),
        (
            "max_open: 2",
            "max_open: 4",
            "22: devices[0].namespaces[1].zoned.max_open: 4 is more than max_active; "
            "expected at most 3",
        ),
        ("machine:\n", "name: x\nmachine:\n", "2: name: not a key; expected no name"),
        ("machine:\n", "? [a]\n: 1\nmachine:\n", "2: a list as a key; expected text"),
        ("  cpus: 4", "  1: 4", "3: machine: 1 as a key; expected text"),
        (
            "  cpus: 4",
            "  cpus: 4\n  cpus: 5",
            "4: machine.cpus: key given twice; expected it once, as on line 3",
        ),
        ("cpus: 4", "cpus: &a 4", "3: machine.cpus: anchor &a; expected the value alone"),
        ("cpus: 4", "cpus: !!binary QQ==", "3: machine.cpus: tag 'tag:yaml.org,2002:binary'; exp"),
        ("cpus: 4", '"a\\nb": 4', "3: machine.'a\\nb': unknown key; expected cpus"),
    ],
)
def test_one_mistake_is_one_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert GOOD.count(old) >= 1
    (problem,) = problems(tmp_path, GOOD.replace(old, new, 1))
    assert problem.startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1: empty; expected a mapping with description, image, kernel, machine, guest, dev"),
        ("# nothing\n", "1: empty; expected a mapping"),
        ("\n- a\n", "2: a list instead of a mapping; expected a mapping with description"),
        ("a: [", "1: not valid YAML: "),
        ("a:\n\t- b\n", "2: not valid YAML: "),
        ("a: 1\n--- \nb: 1\n", "2: another document starts; expected one document"),
        ("a: 1\n\x07\n", "2: character '\\x07'; expected printable text"),
        (b"a: 1\nb: \xff\n", "2: byte 0xff; expected UTF-8"),
        ("[" * 100_000, "1: nested too deep; expected at most 32 levels"),
        ("? " * 3000, "1: nested too deep; expected at most 32 levels"),
        ("{? " * 3000, "1: nested too deep; expected at most 32 levels"),
        ("#" * (MAX_BYTES + 1), "1: more than 1048576 bytes; expected a page"),
    ],
)
def test_what_is_no_profile_at_all_is_one_line(
    tmp_path: Path, text: str | bytes, expected: str
) -> None:
    (problem,) = problems(tmp_path, text)
    assert problem.startswith(expected)


def test_all_problems_are_reported_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        GOOD.replace("cpus: 4", "cpus: x").replace("msrc: 16", "mscr: 16").replace(" 12M", " 12MB")
    )
    found = problems(tmp_path, text)
    assert [line.split(": ")[:2] for line in found] == [
        ["3", "machine.cpus"],
        ["16", "devices[0].namespaces[0].copy.mscr"],
        ["21", "devices[0].namespaces[1].zoned.zone_capacity"],
    ]


def test_problems_of_yaml_and_of_values_are_in_one_order(tmp_path: Path) -> None:
    text = GOOD.replace("cpus: 4", "cpus: x").replace("msrc: 16", "msrc: &a 16")
    found = problems(tmp_path, text.replace("  - type", "  -\n    type"))
    assert [line.split(":")[0] for line in found] == ["3", "17"]


def test_zone_smaller_than_a_block(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD.replace("16M", "1K").replace(" 12M", " 1K"))
    assert found[0] == (
        "20: devices[0].namespaces[1].zoned.zone_size: 1K is not whole blocks; "
        "expected a multiple of block_size, 4096 bytes"
    )


def test_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(GOOD.removeprefix("description: test\n") + "description: last\n", "utf-8-sig")
    assert load_file(path).machine.cpus == 4


def test_models_are_frozen_and_strict() -> None:
    machine = MachineSettings(cpus=4)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(machine, "cpus", 5)  # noqa: B010
    with pytest.raises(ValidationError, match="valid tuple"):
        GuestSettings.model_validate({"kernel_args": ["quiet"]})


def test_recursive_alias_is_told_once(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD.replace("machine:\n", "machine: &m\n").replace("4\n", "*m\n"))
    assert found == [
        "2: machine: anchor &m; expected the value alone",
        "3: machine.cpus: alias *m; expected the value itself",
    ]


def test_huge_number_is_shown_short(tmp_path: Path) -> None:
    for digits in (500, 5000):
        (problem,) = problems(tmp_path, GOOD.replace("cpus: 4", f"cpus: {'9' * digits}"))
        assert problem.startswith("3: machine.cpus: ")
        assert problem.endswith("; expected 1 to 64 CPUs")
        assert len(problem) < 120


def test_two_devices_with_one_serial(tmp_path: Path) -> None:
    second = GOOD[GOOD.index("  - type") :]
    assert problems(tmp_path, GOOD + second) == [
        "25: devices[1].serial: 'A' is already the serial of devices[0]; "
        "expected a different serial for each device"
    ]


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        ("[]", "2: devices: nothing to test; expected at least one device, or a layer"),
        (
            "[{type: nvme, serial: A, namespaces: []}]",
            "2: devices[0].namespaces: too few items; expected at least 1",
        ),
    ],
)
def test_empty_lists_are_refused(tmp_path: Path, devices: str, expected: str) -> None:
    assert problems(tmp_path, f"description: d\ndevices: {devices}\n") == [expected]


def test_more_namespaces_than_a_controller_has(tmp_path: Path) -> None:
    many = ", ".join(["{size: 1M}"] * 257)
    text = f"description: d\ndevices: [{{type: nvme, serial: A, namespaces: [{many}]}}]\n"
    (problem,) = problems(tmp_path, text)
    assert problem == "2: devices[0].namespaces: too many items; expected at most 256"


def test_unreadable_files(tmp_path: Path) -> None:
    for path, name, reason in [
        (tmp_path / "none.yaml", f"{tmp_path}/none.yaml", "No such file or directory"),
        (tmp_path, str(tmp_path), "Is a directory"),
        (Path("a\0b.yaml"), "a\\x00b.yaml", "embedded null byte"),
    ]:
        with pytest.raises(InvalidProfileError) as caught:
            load_file(path)
        assert str(caught.value) == f"{name}: cannot be read: {reason}; expected a YAML file"


def test_file_name_must_be_a_name(tmp_path: Path) -> None:
    path = tmp_path / "a b.yaml"
    path.write_text(GOOD)
    with pytest.raises(InvalidProfileError) as caught:
        load_file(path)
    assert str(caught.value).startswith(f"{path}:1: name: 'a b' does not fit; expected a file")


def test_dates_and_other_words_are_text(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(GOOD.replace("test", "2024-01-01").replace("[quiet]", "[yes, 1:30]"))
    profile = load_file(path)
    assert profile.description == "2024-01-01"
    assert profile.guest.kernel_args == ("yes", "1:30")


def test_profile_survives_json(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(GOOD)
    profile = load_file(path)
    text = profile.model_dump_json()
    assert '"nvme_io_timeout":"30s"' in text
    assert '"memory":536870912' in text
    assert Profile.model_validate_json(text) == profile


def test_dump_is_a_profile_again(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(GOOD)
    profile = load_file(tmp_path / "p.yaml")
    data = profile.model_dump(mode="json", exclude={"name"})
    (tmp_path / "again").mkdir()
    (tmp_path / "again/p.yaml").write_text(yaml.safe_dump(data))
    assert load_file(tmp_path / "again/p.yaml") == profile


def test_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(ProfileError) as caught:
        load("nvme-cpy")
    assert caught.value.message.startswith("no profile 'nvme-cpy'; expected one of: ")
    assert "nvme-copy" in caught.value.message
    assert caught.value.hint.startswith("did you mean nvme-copy")
    assert caught.value.exit_status == 2


def test_own_profile_hides_the_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert load("nvme-copy").description != "test"
    (tmp_path / "lab/profiles").mkdir(parents=True)
    (tmp_path / "lab/profiles/nvme-copy.yaml").write_text(GOOD)
    assert load("nvme-copy").description == "test"
