# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the udev of a guest is at rest, as /proc and its queue show it."""

from pathlib import Path

import pytest

from tests.guest_module import LAYERS, load

udev = load(Path(LAYERS) / "udev.py")

NETLINK = """\
sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
00000000c151f4ae 0   0          00000000 0        0        0     2        0        16
00000000d47daffe 15  227        00000001 {unread}        0        0     2        0        358
00000000edb69487 15  0          00000000 4096     0        0     2        0        27
00000000aaaaaaaa 15  1172       00000002 512      0        0     2        0        999
"""
"""As Linux 6.12 has it: udevd, what the kernel itself has open, and a worker of udevd's, to whom
udevd speaks and not the kernel."""


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A guest with an udevd at rest."""
    for pid, name, state in ((1, "init", "S"), (229, udev.UDEVD, "S"), (300, "(udev-worker)", "R")):
        (tmp_path / f"{pid}").mkdir()
        (tmp_path / f"{pid}/comm").write_text(f"{name}\n")
        (tmp_path / f"{pid}/stat").write_text(f"{pid} ({name}) {state} 1 229 229 0 -1 4194560\n")
    (tmp_path / "net").mkdir()
    (tmp_path / "net/netlink").write_text(NETLINK.format(unread=0))
    monkeypatch.setattr(udev, "PROC", str(tmp_path))
    monkeypatch.setattr(udev, "QUEUE", str(tmp_path / "queue"))
    return tmp_path


def test_it_is_when_it_has_read_and_done_all(proc: Path) -> None:
    assert udev.daemon() == 229
    assert udev.is_at_rest()


@pytest.mark.parametrize("busy", ["unread", "running", "stopped", "queue", "gone"])
def test_it_is_not_while_anything_is_left(proc: Path, busy: str) -> None:
    match busy:
        case "unread":
            (proc / "net/netlink").write_text(NETLINK.format(unread=768))
        case "running" | "stopped":
            state = {"running": "R", "stopped": "T"}[busy]
            (proc / "229/stat").write_text(f"229 ({udev.UDEVD}) {state} 1 229 229 0 -1 4194560\n")
        case "queue":
            (proc / "queue").touch()
        case _:
            (proc / "229/comm").unlink()
    assert not udev.is_at_rest()
