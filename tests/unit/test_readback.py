# SPDX-License-Identifier: GPL-2.0-or-later
"""What a profile puts on the kernel's command line: split as the kernel does, given to the modules
that the initramfs loads, and read back."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.artifacts.cmdline import Parameter, parameters, words
from lab.errors import GuestError
from lab.guest import readback, stack
from lab.guest.initrd import _parameters
from lab.guest.readback import Setting
from lab.profile.models import Profile
from tests.unit.test_guest_stack import UP, Told, collect, layered
from tests.unit.test_layers_guest import load

guest = load("readback")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("quiet ro", []),
        ("nvme_core.io_timeout=3600", [("nvme_core", "io_timeout", "3600")]),
        # The kernel takes one for the other (kernel/params.c, dash2underscore).
        ("nvme-core.io-timeout=30", [("nvme_core", "io_timeout", "30")]),
        ("cryptomgr.notests a.b=", [("cryptomgr", "notests", None), ("a", "b", "")]),
        ('dm.x="a b" y.z=1', [("dm", "x", '"a b"'), ("y", "z", "1")]),
        ("root=/dev/a.b=c", []),
        ("a.b=1 -- c.d=2", [("a", "b", "1")]),
        ("sysctl.vm.swappiness=1", [("sysctl", "vm.swappiness", "1")]),
    ],
)
def test_parameters_of_modules_on_a_command_line(
    text: str, found: list[tuple[str, str, str | None]]
) -> None:
    assert parameters([text]) == [Parameter(*one) for one in found]


@given(st.lists(st.from_regex(r'[a-z.=]{1,9}|[a-z]="[a-z ]{1,5}"', fullmatch=True), min_size=1))
def test_words_come_apart_as_they_were_joined(given_words: list[str]) -> None:
    assert words(given_words) == given_words


def test_the_initramfs_gives_each_module_what_is_its_own() -> None:
    files = _parameters(["quiet", "nvme_core.io_timeout=3600", "nvme.x", "nvme-core.multipath=n"])
    assert {path: entry.data for path, entry in files.items()} == {
        "lab/parameters/nvme_core": b"io_timeout=3600 multipath=n\n",
        "lab/parameters/nvme": b"x\n",
    }


@pytest.mark.parametrize(
    ("asked", "found", "same"),
    [
        ("3600", "3600", True),
        ("3600", "30", False),
        ("0x10", "16", True),
        ("n", "N", True),
        ("1", "Y", True),
        (None, "Y", True),
        ("off", "Y", False),
        ("numa", "numa", True),
        ('"a b"', "a b", True),
        ("1 2", "1\t2", True),
        ("", "(null)", False),
    ],
)
def test_a_value_is_what_the_kernel_prints_of_it(asked: str | None, found: str, same: bool) -> None:
    assert guest.same(asked, found) is same


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kernel with nvme_core, whose io_timeout is 30, and with loop, which is not loaded."""
    place = tmp_path / "module/nvme_core/parameters"
    place.mkdir(parents=True)
    (place / "io_timeout").write_text("30\n")
    (tmp_path / "sys/vm").mkdir(parents=True)
    (tmp_path / "sys/vm/swappiness").write_text("60\n")
    monkeypatch.setattr(guest, "MODULES", str(tmp_path / "module"))
    monkeypatch.setattr(guest, "SYSCTL", str(tmp_path / "sys"))
    has = {"nvme_core": "io_timeout:time\nhidden:x\n", "loop": "max_loop:number\n"}
    monkeypatch.setattr(guest.system, "works", lambda argv: argv[-1] in has)
    monkeypatch.setattr(guest.system, "run", lambda argv: has[argv[-1]])
    said = 'Unknown kernel command line parameters "labword=1 quite", will be passed to user space.'
    monkeypatch.setattr(guest.kernellog, "since_boot", lambda: ["Linux version", said])
    return tmp_path


def profile(*arguments: str) -> Profile:
    return layered().model_copy(
        update={"guest": layered().guest.model_copy(update={"kernel_args": arguments})}
    )


def test_what_became_of_each_setting_is_said(kernel: Path) -> None:
    asked = readback.asked(
        profile("nvme_core.io_timeout=30", "nvme-core.io_timout=3", "nosuch.x=1", "loop.max_loop=3",
                "loop.mox=3", "nvme_core.hidden=1", "sysctl.vm.swappiness=60", "sysctl.vm.no=1",
                "quite", "ro", "labword=1")
    )  # fmt: skip
    steps = [Setting.model_validate(step) for step in guest.look(asked)]
    assert [(step.name, step.status) for step in steps] == [
        ("nvme_core.io_timeout", "other value"),  # the lab's own
        ("nvme_core.io_timeout", "holds"),
        ("nvme_core.io_timout", "not there"),
        ("nosuch.x", "not there"),
        ("loop.max_loop", "later"),
        ("loop.mox", "not there"),
        ("nvme_core.hidden", "hidden"),
        ("sysctl.vm.swappiness", "holds"),
        ("sysctl.vm.no", "not there"),
        ("quite", "not there"),
        ("labword=1", "not there"),
    ]
    assert [step.why() for step in steps if step.failed][:3] == [
        "nvme_core.io_timeout=3600 did not take effect: the guest has 30",
        "nvme_core.io_timout=3 did not take effect: nvme_core has no parameter io_timout",
        "nosuch.x=1 did not take effect: this kernel has no module nosuch",
    ]
    assert "Unknown kernel command line parameters labword=1 quite" in steps[-1].why()
    with pytest.raises(GuestError, match=r"guest\.nvme_io_timeout: .*=3600 .* the guest has 30"):
        readback.require(steps)
    readback.require(steps[1:])


def test_what_was_read_back_is_kept_with_the_guest(tmp_path: Path) -> None:
    setting = Setting(name="a.b", asked="1", status="other value", said="2")
    lines = [UP, setting.model_dump()]
    text = "".join(f"{json.dumps(line)}\r\n" for line in lines)
    assert [part.name for part in collect(Told(tmp_path, f"{text}lab: layers up ended\r\n"))] == [
        "fs"
    ]
    assert readback.found(tmp_path) == (setting,)
    described = json.loads(stack.description(profile("a.b=1"), None, probe=True))
    assert described["settings"]["parameters"][-1] == {"module": "a", "name": "b", "value": "1"}
