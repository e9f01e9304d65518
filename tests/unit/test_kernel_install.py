# SPDX-License-Identifier: GPL-2.0-or-later
"""Modules of a built tree are installed without its sources, and whatever the environment says."""

import subprocess
from pathlib import Path

import pytest

from lab.artifacts.kernels import config, install
from lab.artifacts.kernels.tree import KernelTree
from lab.errors import HostError
from tests.unit.builders import kernel_tree, quiet

NAMES = ("fs/xfs/xfs.ko", "drivers/block/brd.ko")
SIGNED = """\
CONFIG_MODULE_SIG_ALL=y
CONFIG_MODULE_SIG_HASH="sha256"
CONFIG_MODULE_SIG_KEY="certs/k.pem"
"""


VMLINUX = """\
.globl _start
_start: nop
.section .note.Xen, "a", @note
.align 4
.long 4, 8, 18
.asciz "Xen"
.quad 0x1000000
"""
"""With the note by which QEMU finds the PVH entry."""


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A build directory as a container leaves it: its Makefile includes one that is not here."""
    tree = kernel_tree(tmp_path / "out")
    (tree / "Makefile").write_text("include /usr/src/linux-in-a-container/Makefile\n")
    (tree / "source").symlink_to("/usr/src/linux-in-a-container")
    (tree / ".config").write_text("CONFIG_PVH=y\nCONFIG_XFS_FS=m\n")
    (tree / "modules.order").write_text("".join(f"{name[:-2]}o\n" for name in NAMES))
    (tree / "modules.builtin.modinfo").write_bytes(b"erofs.license=GPL\0")
    (tmp_path / "module.c").write_text("int answer(void) { return 42; }\n")
    (tmp_path / "vmlinux.s").write_text(VMLINUX)
    link: list[str | Path] = [
        "gcc",
        "-g",
        "-nostdlib",
        "-static",
        tmp_path / "vmlinux.s",
        "-o",
        tree / "vmlinux",
    ]
    subprocess.run(link, check=True)
    for name in NAMES:
        (tree / name).parent.mkdir(parents=True)
        argv: list[str | Path] = ["gcc", "-g", "-c", tmp_path / "module.c", "-o", tree / name]
        subprocess.run(argv, check=True)
    return tree


def install_to(target: Path, built: Path, text: str = "") -> None:
    install.modules(built, NAMES, target, config.options(text))


def test_a_tree_whose_sources_are_not_here(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSTALL_MOD_PATH", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("INSTALL_MOD_DIR", "other")
    place = tmp_path / "artifact"
    place.mkdir()
    KernelTree(tree=built).inputs(quiet)
    assert KernelTree(tree=built).build(place, quiet)["release"] == "6.12.0-test"
    argv: list[str | Path] = [
        "fsck.erofs",
        f"--extract={tmp_path / 'modules'}",
        place / "modules.erofs",
    ]
    subprocess.run(argv, check=True, capture_output=True)
    for name in NAMES:
        assert b".debug_info" not in (tmp_path / "modules/kernel" / name).read_bytes()
    dep = (tmp_path / "modules/modules.dep").read_text()
    assert sorted(dep.split()) == sorted(f"kernel/{name}:" for name in NAMES)
    assert not (tmp_path / "elsewhere").exists()


def test_the_lists_are_those_of_make(built: Path, tmp_path: Path) -> None:
    install_to(tmp_path / "t", built)
    order = (tmp_path / "t/modules.order").read_text()
    assert order == "kernel/fs/xfs/xfs.ko\nkernel/drivers/block/brd.ko\n"
    assert (tmp_path / "t/modules.builtin").read_text() == (built / "modules.builtin").read_text()
    assert (tmp_path / "t/modules.builtin.modinfo").exists()
    assert b".debug_info" in (built / NAMES[0]).read_bytes()


def test_modules_are_signed_as_the_configuration_wants(built: Path, tmp_path: Path) -> None:
    signer = built / "scripts/sign-file"
    signer.parent.mkdir()
    signer.write_text(f'#!/bin/sh\n[ "$1 $2 $3" = "sha256 {built}/certs/k.pem '
                      f'{built}/certs/signing_key.x509" ] && echo "~signed~" >>"$4"\n')  # fmt: skip
    signer.chmod(0o755)
    install_to(tmp_path / "unsigned", built)
    install_to(tmp_path / "signed", built, SIGNED)
    for name in NAMES:
        assert not (tmp_path / "unsigned/kernel" / name).read_bytes().endswith(b"~signed~\n")
        assert (tmp_path / "signed/kernel" / name).read_bytes().endswith(b"~signed~\n")


def test_what_cannot_be_signed_is_told_where_the_kernel_minds(built: Path, tmp_path: Path) -> None:
    install_to(tmp_path / "minds-not", built, SIGNED)
    with pytest.raises(HostError, match="takes signed modules only, and they cannot be signed"):
        install_to(tmp_path / "minds", built, f"{SIGNED}CONFIG_MODULE_SIG_FORCE=y\n")
