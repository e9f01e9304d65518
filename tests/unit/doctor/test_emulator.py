# SPDX-License-Identifier: GPL-2.0-or-later
"""What is found of QEMU: a program stands in for it, with or without what the lab needs."""

import os
import re
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.artifacts import cache
from lab.artifacts.qemus import names
from lab.artifacts.qemus.package import QemuPackage
from lab.artifacts.qemus.source import QemuProgram
from lab.doctor import emulator
from lab.doctor.finding import State
from lab.host import qemu
from lab.host.qemu import Accelerator
from lab.vm.support import FEATURES
from tests import ROOT

STAND_IN = """\
#!{python}
# Answers as QEMU does, without {without}.
import json, sys
WITHOUT = {without!r}
PROPERTIES = {properties!r}
if "--version" in sys.argv:
    print("QEMU emulator version 9.9.9 (a stand-in)")
    sys.exit()
if "sandbox" in WITHOUT and "-sandbox" in sys.argv:
    sys.exit("-sandbox: seccomp support is disabled")
for line in sys.stdin:
    said = json.loads(line)
    name, given = said["execute"], said.get("arguments", {{}})
    wanted = given.get("typename") or given.get("driver") or ""
    if wanted in WITHOUT:
        answer = {{"error": {{"class": "GenericError", "desc": f"no {{wanted}}"}}}}
    elif name == "device-list-properties":
        answer = {{"return": [{{"name": one}} for one in PROPERTIES.get(wanted, [])]}}
    else:
        answer = {{"return": {{}}}}
        if name == "trace-event-set-state" and "trace" not in WITHOUT:
            with open(sys.argv[sys.argv.index("-D") + 1], "w") as log:
                log.write("1@1795931401.319738:monitor_qmp_cmd_in_band 1\\n")
    if "silent" not in WITHOUT:
        print(json.dumps({{**answer, **({{"id": said["id"]}} if "id" in said else {{}})}}))
"""


def properties() -> dict[str, list[str]]:
    """All that the features of profiles need."""
    needed: dict[str, list[str]] = {}
    for feature in FEATURES:
        for kind, name in feature.needs:
            needed.setdefault(kind, []).append(name)
    return needed


Stand = Callable[..., Path]


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    """Put a QEMU in the place of the host's, without some things and properties."""

    def put(*without: str, lacking: str = "") -> Path:
        path = tmp_path / "qemu-system-x86_64"
        known = {kind: [n for n in all_ if n != lacking] for kind, all_ in properties().items()}
        text = STAND_IN.format(python=sys.executable, without=list(without), properties=known)
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("LAB_QEMU", str(path))
        return path

    return put


def test_a_qemu_is_told_with_version_and_path(stand: Stand) -> None:
    path = stand()
    found = emulator.program()
    assert found.state is State.OK
    assert found.said == f"9.9.9 (a stand-in), {path}"
    assert found.versions == {"QEMU": "9.9.9 (a stand-in)"}


def test_no_qemu_is_mended_by_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = emulator.program()
    assert (found.state, found.said) == (State.MISSING, "qemu-system-x86_64: not found")
    assert found.cure
    assert found.cure.fedora == "sudo dnf install qemu-system-x86"


def test_a_variable_that_names_no_qemu_is_what_is_to_be_mended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for wrong in ("/bin/true", "qemu-that-is-not-there"):
        monkeypatch.setenv("LAB_QEMU", wrong)
        found = emulator.program()
        assert found.state is State.MISSING
        assert found.cure
        assert "LAB_QEMU" in found.cure.debian


@pytest.mark.parametrize(
    ("without", "state"),
    [("", State.OK), ("nvme-ns", State.MISSING), ("scsi-hd", State.DEGRADED)],
)
def test_device_types(stand: Stand, without: str, state: State) -> None:
    stand(without)
    found = emulator.devices()
    assert found.state is state
    assert without in found.said


def test_all_device_types_of_guests_are_asked_for() -> None:
    golden = (ROOT / "tests/unit/golden").glob("*.argv")
    text = "".join(path.read_text() for path in golden)
    types = set(re.findall(r"^-device ([a-z0-9-]+)", text, re.M))
    assert types
    assert types <= {*emulator.EVERY_GUEST, *emulator.SOME_GUESTS}


def test_features_that_are_left_out_are_named(stand: Stand) -> None:
    stand()
    assert emulator.features().state is State.OK
    stand(lacking="atomic.dn")
    found = emulator.features()
    assert (found.state, found.said) == (
        State.DEGRADED, "left out of profiles that have them: atomic",
    )  # fmt: skip
    stand("nvme-subsys")
    assert "fdp" in emulator.features().said


@pytest.mark.parametrize(
    ("without", "said"),
    [
        ("blkdebug", "no blkdebug"),
        ("blklogwrites", "no blklogwrites"),
        ("trace", "this QEMU writes no trace events to its log"),
        ("sandbox", "-sandbox: seccomp support is disabled"),
    ],
)
def test_what_faults_need_is_tried(stand: Stand, without: str, said: str) -> None:
    stand()
    assert emulator.faults().state is State.OK
    stand(without)
    found = emulator.faults()
    assert (found.state, found.said) == (State.MISSING, said)


def test_a_qemu_that_does_not_answer_is_an_error(stand: Stand) -> None:
    stand("silent")
    with pytest.raises(Exception, match="no answer over QMP"):
        emulator.devices()


# --- KVM ----------------------------------------------------------------------------------


def kernel(name: str) -> Path:
    made = cache.ensure("kernel", name, {}, lambda _: {}, lambda _: None, room=0)
    return made.path / "vmlinux"


@pytest.mark.parametrize(
    ("reason", "cure"),
    [
        ("no /dev/kvm: load kvm_intel", "sudo modprobe -a kvm_intel kvm_amd"),
        ("/dev/kvm: permission denied: …", "sudo usermod --append --groups kvm $USER"),
    ],
)
def test_kvm_that_cannot_be_tried(monkeypatch: pytest.MonkeyPatch, reason: str, cure: str) -> None:
    monkeypatch.setattr(qemu, "unusable", lambda: reason)
    found = emulator.accelerator()
    assert found.state is State.DEGRADED
    assert reason in found.said
    assert found.cure
    assert found.cure.ubuntu.startswith(cure)


def test_kvm_is_tried_with_a_kernel_of_debians_each_time(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand()
    tried: list[tuple[Path, bool]] = []

    def attempt(_qemu: str, vmlinux: Path, *, again: bool) -> Accelerator:
        tried.append((vmlinux, again))
        return Accelerator("kvm") if len(tried) <= 2 else Accelerator("tcg", "it hung")

    monkeypatch.setattr(qemu, "unusable", lambda: "")
    monkeypatch.setattr(qemu, "tried", attempt)
    found = emulator.accelerator()
    assert found.state is State.DEGRADED
    assert found.cure
    assert found.cure.debian == "lab kernel build debian"
    kernel("a-tree-under-test")
    vmlinux = kernel("debian")
    assert emulator.accelerator().state is State.OK
    assert tried == [(vmlinux, True)]
    monkeypatch.setenv("LAB_ACCEL", "tcg")
    found = emulator.accelerator()
    assert found.state is State.DEGRADED
    assert found.cure
    assert found.cure.debian == "unset LAB_ACCEL"
    # Asked for or not, it is tried.
    monkeypatch.setenv("LAB_ACCEL", "kvm")
    found = emulator.accelerator()
    assert (found.state, found.said) == (State.DEGRADED, "slow TCG emulation instead: it hung")


# --- vhost-vsock, other QEMUs -------------------------------------------------------------


def test_vsock_is_never_missing(tmp_path: Path) -> None:
    device = tmp_path / "vhost-vsock"
    found = emulator.vsock(device)
    assert found.state is State.DEGRADED
    assert found.cure
    assert found.cure.fedora == "sudo modprobe vhost_vsock"
    device.touch()
    assert emulator.vsock(device).state is State.OK


@pytest.mark.skipif(os.getuid() == 0, reason="root may open anything")
def test_vsock_that_is_forbidden_is_had_through_a_group(tmp_path: Path) -> None:
    device = tmp_path / "vhost-vsock"
    device.touch(mode=0)
    found = emulator.vsock(device)
    assert found.cure
    assert "usermod" in found.cure.debian


def test_other_qemus_are_run(stand: Stand) -> None:
    assert emulator.others().state is State.OK
    path = stand()
    names.BOOK.add("mine", QemuProgram(path=path))
    names.BOOK.add("later", QemuPackage(package="qemu-system-x86", suite="sid"))
    found = emulator.others()
    assert (found.state, found.said) == (State.OK, "mine 9.9.9, later (not unpacked)")
    assert found.versions == {"QEMU mine": "9.9.9 (a stand-in)"}
    path.unlink()
    found = emulator.others()
    assert found.state is State.DEGRADED
    assert found.said == f"mine: {path}: no QEMU there"
    assert found.cure
    assert found.cure.debian == "lab qemu rm mine"


def test_what_is_unpacked_meanwhile_is_told_beside_the_findings(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def program(_package: QemuPackage, progress: Callable[[str], None]) -> Path:
        progress("unpack it once more")
        return stand()

    # A download: of a later version than the one that is there.
    monkeypatch.setattr(QemuPackage, "made", lambda _package: [object()])
    monkeypatch.setattr(QemuPackage, "program", program)
    names.BOOK.add("sid", QemuPackage(package="qemu-system-x86", suite="sid"))
    assert emulator.others().said == "sid 9.9.9"
    assert tuple(capsys.readouterr()) == ("", "unpack it once more\n")
