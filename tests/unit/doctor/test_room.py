# SPDX-License-Identifier: GPL-2.0-or-later
"""What is found of the host itself: another one is shown to the checks."""

import os
import platform
import shutil
from importlib import metadata
from pathlib import Path

import pytest

from lab import __version__
from lab.doctor import room
from lab.doctor.finding import State
from lab.host import dirs

GIB = 1 << 30


def release(monkeypatch: pytest.MonkeyPatch, found: dict[str, str]) -> None:
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: found)


def test_the_host_is_told_with_its_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    release(monkeypatch, {"ID": "fedora", "PRETTY_NAME": "Fedora Linux 43"})
    found = room.system()
    assert found.versions == {"host": "Fedora Linux 43", "kernel": platform.release()}
    assert found.said.startswith(f"Fedora Linux 43, Linux {platform.release()}, ")


def test_a_host_that_nothing_is_known_of_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    release(monkeypatch, {"ID": "arch", "PRETTY_NAME": "Arch Linux"})
    assert "commands for it are not known" in room.system().said


def test_a_machine_of_another_kind_can_only_emulate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    found = room.system()
    assert found.state is State.DEGRADED
    assert "aarch64 can only emulate" in found.said


def test_the_versions_of_all_packages_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = room.python()
    assert found.state is State.OK
    assert {"lab", "Python", "pydantic", "rich", "pyelftools"} <= found.versions.keys()
    assert "pytest" not in found.versions
    assert found.versions["lab"] == __version__
    monkeypatch.setattr(metadata, "requires", lambda _name: ["jinja2>=3.1", "no-such-package>=1"])
    found = room.python()
    assert found.state is State.DEGRADED
    assert found.said.endswith("without no-such-package")
    assert found.cure
    assert found.cure.debian.endswith("-m pip install no-such-package")
    assert "jinja2" in found.versions


def host(root: Path, available: int, group: str = "/a/b", **limits: tuple[str, int]) -> Path:
    """A host with so much memory, on which control groups have limits (and what they use)."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(
        f"MemTotal: 999999999 kB\nMemAvailable: {available >> 10} kB\n"
    )
    (root / "proc/self/cgroup").write_text(f"1:name=x:/other\n0::{group}\n")
    for name, (limit, used) in limits.items():
        place = root / "sys/fs/cgroup" / name.replace("_", "/")
        place.mkdir(parents=True, exist_ok=True)
        (place / "memory.max").write_text(f"{limit}\n")
        (place / "memory.current").write_text(f"{used}\n")
    return root


def test_memory_is_what_the_kernel_says_is_available(tmp_path: Path) -> None:
    found = room.memory(host(tmp_path / "a", 4 * GIB))
    assert (found.state, found.said.partition(";")[0]) == (State.OK, "4.0 GiB available")
    found = room.memory(host(tmp_path / "b", GIB))
    assert found.state is State.DEGRADED
    assert found.cure
    assert "machine.memory" in found.cure.debian


def test_control_groups_may_leave_less(tmp_path: Path) -> None:
    found = room.memory(host(tmp_path / "a", 4 * GIB, a_b=("max", 1), a=(str(2 * GIB), GIB)))
    assert (found.state, found.said.partition(";")[0]) == (State.DEGRADED, "1.0 GiB available")
    found = room.memory(host(tmp_path / "b", 4 * GIB, a_b=("max", 1), a=(str(9 * GIB), GIB)))
    assert found.state is State.OK
    # That of another is none of ours.
    found = room.memory(host(tmp_path / "c", 4 * GIB, other=(str(GIB), 0)))
    assert found.state is State.OK


def test_a_host_without_such_control_groups_has_no_limits(tmp_path: Path) -> None:
    root = host(tmp_path, 4 * GIB)
    (root / "proc/self/cgroup").write_text("5:memory:/x\n")
    assert room.memory(root).state is State.OK


def test_places_of_the_same_room_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    total = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: total._replace(free=20 * GIB))
    found = room.disk()
    assert found.state is State.OK
    assert found.said.startswith("20.0 GiB in ~/.cache/lab, ~/.local/state/lab, ")


@pytest.mark.parametrize(
    ("place", "variable"),
    [(dirs.cache, "XDG_CACHE_HOME"), (dirs.state, "XDG_STATE_HOME")],
)
def test_a_full_disk_is_told_with_what_leads_elsewhere(
    monkeypatch: pytest.MonkeyPatch, place: object, variable: str
) -> None:
    assert callable(place)
    full, usage = place(), shutil.disk_usage("/")
    monkeypatch.setattr(
        shutil, "disk_usage",
        lambda path: usage._replace(free=(1 << 29) if path == full else 20 * GIB),
    )  # fmt: skip
    found = room.disk()
    assert found.state is State.DEGRADED
    assert "0.5 GiB free" in found.said
    assert found.cure
    assert variable in found.cure.debian


def test_a_place_that_cannot_be_written_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    found = room.disk()
    assert found.state is State.MISSING
    assert "/proc/nowhere/lab" in found.said


def test_settings_that_cannot_be_read_are_named() -> None:
    assert room.configuration().said == "none: no ~/.config/lab/config.yaml"
    path = dirs.config("config.yaml")
    path.parent.mkdir(parents=True)
    path.write_text("suites: {fstest: {}}\n")
    found = room.configuration()
    assert found.state is State.DEGRADED
    assert "suites.fstest" in found.said
    path.write_text("debian: {accept_expired: true}\n")
    assert room.configuration().said == "~/.config/lab/config.yaml"
    assert os.environ["HOME"] in str(path)
