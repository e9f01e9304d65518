# SPDX-License-Identifier: GPL-2.0-or-later
"""What a path given for a kernel is: trees, images, packages, what builders leave; or why not."""

import gzip
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.artifacts import vmlinux
from lab.artifacts.kernels import found, names
from lab.artifacts.kernels.archive import Archive, together
from lab.artifacts.kernels.image import KernelImage
from lab.artifacts.kernels.source import KernelSource
from lab.artifacts.kernels.tree import KernelTree
from lab.errors import LabError, UsageError
from tests import ROOT
from tests.unit.builders import (
    bzimage,
    efi_program,
    elf_kernel,
    installed_modules,
    kernel_tree,
    quiet,
)

RELEASE = "6.12.0-test"
KERNEL = elf_kernel(pvh=True)
BZIMAGE = bzimage(gzip.compress(KERNEL), release=RELEASE)


def put(path: Path, content: bytes = BZIMAGE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def packed_modules(archive: Path, prefix: str = "lib") -> Path:
    """modules.tar.xz as tuxmake and KernelCI make it."""
    scratch = archive.parent / "scratch"
    installed_modules(scratch / prefix, RELEASE)
    with tarfile.open(archive, "w:xz") as tar:
        tar.add(scratch / prefix, prefix)
    shutil.rmtree(scratch)
    return archive


def built(source: KernelSource, place: Path) -> Path:
    """The artifact that a source makes, which must boot what it was given."""
    place.mkdir()
    source.inputs(quiet)
    assert source.build(place, quiet)["release"] == RELEASE
    assert (place / "vmlinux").read_bytes() == KERNEL
    assert {path.name for path in place.iterdir()} == {
        "vmlinux", "modules.erofs", "early", "config", "release",
    }  # fmt: skip
    return place


def tree(place: Path) -> Path:
    path = kernel_tree(place / "linux")
    put(path / "arch/x86/boot/bzImage")
    return path


@pytest.mark.parametrize("name", ["", "vmlinux", "arch/x86/boot/bzImage"])
def test_a_built_tree_or_an_image_in_it(name: str, tmp_path: Path) -> None:
    path = tree(tmp_path)
    assert names.resolve(names.canonical(str(path / name))) == KernelTree(tree=path)


def system(root: Path) -> Path:
    """As a distribution installs it."""
    installed_modules(root / "usr/lib", RELEASE)
    (root / "lib").symlink_to("usr/lib")
    put(root / f"boot/config-{RELEASE}", b"CONFIG_PVH=y\n")
    return put(root / f"boot/vmlinuz-{RELEASE}")


def test_an_image_of_a_system_has_the_modules_of_its_release(tmp_path: Path) -> None:
    image = system(tmp_path)
    installed_modules(tmp_path / "usr/lib", "5.10.0")
    put(tmp_path / "boot/vmlinuz-5.10.0", bzimage(gzip.compress(KERNEL), release="5.10.0"))
    modules = tmp_path / "lib/modules" / RELEASE
    source = found.at(image)
    assert source == KernelImage(
        image=image, modules=modules, config=tmp_path / f"boot/config-{RELEASE}"
    )
    artifact = built(source, tmp_path / "artifact")
    assert (artifact / "config").read_text() == "CONFIG_PVH=y\n"
    # A link such as /vmlinuz, and Arch's name, which says nothing of the release.
    for name in ("vmlinuz", "boot/vmlinuz-linux"):
        (tmp_path / name).symlink_to(image)
        other = found.at(tmp_path / name)
        assert isinstance(other, KernelImage) and other.modules.name == RELEASE


@pytest.mark.parametrize(
    "given", ["usr/lib/modules/6.12.0-test", "lib/modules/6.12.0-test", "boot", ""]
)
def test_a_directory_of_modules_or_a_whole_system(given: str, tmp_path: Path) -> None:
    image = system(tmp_path)
    source = found.at(tmp_path / given)
    assert isinstance(source, KernelImage)
    assert (source.image, source.modules.name) == (image, RELEASE)


@pytest.mark.parametrize("name", ["", "vmlinuz"])
def test_modules_with_the_kernel_among_them(name: str, tmp_path: Path) -> None:
    modules = installed_modules(tmp_path / "lib", RELEASE)
    put(modules / "vmlinuz")
    put(modules / "config", b"CONFIG_X=y\n")
    source = found.at(modules / name)
    assert source == KernelImage(
        image=modules / "vmlinuz", modules=modules, config=modules / "config"
    )
    built(source, tmp_path / "artifact")


def test_several_kernels_are_told_apart(tmp_path: Path) -> None:
    system(tmp_path)
    installed_modules(tmp_path / "usr/lib", "5.10.0")
    put(tmp_path / "boot/vmlinuz-5.10.0")
    with pytest.raises(UsageError, match=r"several kernels \(name one: .*vmlinuz-5.10.0, .*test"):
        found.at(tmp_path)
    put(tmp_path / "boot/vmlinuz-5.10.0", bzimage(gzip.compress(KERNEL), release="5.10.0"))
    with pytest.raises(UsageError, match=r"boot: several kernels \(name one: .*5.10.0, .*test"):
        found.at(tmp_path / "boot")


@pytest.mark.parametrize("name", ["", "bzImage", "vmlinux.xz"])
@pytest.mark.parametrize("config", ["config", "kernel.config", ".config"])
def test_what_tuxmake_and_kernelci_leave(name: str, config: str, tmp_path: Path) -> None:
    place = tmp_path / "build"
    put(place / "bzImage")
    put(place / "vmlinux.xz", lzma.compress(KERNEL))
    put(place / "System.map", b"")
    put(place / "metadata.json", b"{}")
    put(place / config, b"CONFIG_X=y\n")
    packed_modules(place / "modules.tar.xz")
    source = found.at(place / name)
    artifact = built(source, tmp_path / "artifact")
    assert (artifact / "config").read_text() == "CONFIG_X=y\n"


def test_an_elf_kernel_says_its_release_too(tmp_path: Path) -> None:
    """Whichever modules lie there, those of another kernel are not taken for its own."""
    system(tmp_path)
    kernel = KERNEL + b"Linux version 5.10.0 (lab@lab) #1"
    for name, content in (("vmlinux", kernel), ("vmlinux.xz", lzma.compress(kernel))):
        image = put(tmp_path / "boot" / name, content)
        (tmp_path / "artifact").mkdir()
        with pytest.raises(LabError, match=r"5\.10\.0.*modules"):
            found.at(image).build(tmp_path / "artifact", quiet)
        shutil.rmtree(tmp_path / "artifact")
    installed_modules(tmp_path / "usr/lib", "5.10.0")
    source = found.at(tmp_path / "boot/vmlinux")
    assert isinstance(source, KernelImage) and source.modules.name == "5.10.0"


def test_the_kernel_of_nixos(tmp_path: Path) -> None:
    image = put(tmp_path / "store/abc-linux-6.12/bzImage")
    store = installed_modules(tmp_path / "store/def-linux-6.12-modules/lib", RELEASE)
    current = tmp_path / "run/current-system"
    (current / "kernel-modules/lib/modules").mkdir(parents=True)
    (current / f"kernel-modules/lib/modules/{RELEASE}").symlink_to(store)
    (current / "kernel").symlink_to(image)
    built(found.at(current / "kernel"), tmp_path / "artifact")


def test_a_unified_kernel_image_is_a_kernel(tmp_path: Path) -> None:
    system(tmp_path)
    image = efi_program({".osrel": b"ID=x", ".linux": BZIMAGE, ".initrd": b"0707"})
    for number, place in enumerate(("boot", "efi/EFI/Linux", "boot/efi/EFI/Linux")):
        source = found.at(put(tmp_path / place / "linux.efi", image))
        assert isinstance(source, KernelImage) and source.modules.name == RELEASE
        built(source, tmp_path / f"artifact{number}")


def deb(place: Path, name: str, root: Path) -> Path:
    """A package with what lies below `root`."""
    (root / "DEBIAN").mkdir(parents=True)
    control = f"Package: {name.partition('_')[0]}\nVersion: 1\nArchitecture: amd64\n"
    (root / "DEBIAN/control").write_text(
        f"{control}Maintainer: t <t@example.org>\nDescription: t\n"
    )
    argv: list[str | Path] = [
        "dpkg-deb",
        "--root-owner-group",
        "-Zgzip",
        "--build",
        root,
        place / name,
    ]
    subprocess.run(argv, check=True, capture_output=True)
    return place / name


needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb here")


@needs_dpkg
def test_a_package_as_bindeb_pkg_makes_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(root / f"boot/vmlinuz-{RELEASE}")
    put(root / f"boot/config-{RELEASE}", b"CONFIG_X=y\n")
    installed_modules(root / "lib", RELEASE)
    package = deb(tmp_path, f"linux-image-{RELEASE}_1_amd64.deb", root)
    source = names.resolve(str(package))
    assert source == Archive(archive=package)
    artifact = built(source, tmp_path / "artifact")
    assert (artifact / "config").read_text() == "CONFIG_X=y\n"


@needs_dpkg
@pytest.mark.parametrize("given", ["image", "binary", "modules", "base"])
def test_a_kernel_split_into_packages(given: str, tmp_path: Path) -> None:
    lib = f"usr/lib/modules/{RELEASE}"
    roots = {part: tmp_path / part for part in ("image", "binary", "modules", "base")}
    put(roots["binary"] / lib / "vmlinuz")
    put(roots["modules"] / lib / "kernel/fs/xfs.ko", b"\x7fELF")
    shutil.copytree(installed_modules(tmp_path / "tmp", RELEASE), roots["base"] / lib)
    rest = f"{RELEASE}_6.12-1_amd64.deb"
    packages = {part: deb(tmp_path, f"linux-{part}-{rest}", roots[part]) for part in roots}
    # Of another build; none of this kernel's.
    put(tmp_path / f"linux-modules-{RELEASE}_6.12-2_amd64.deb", b"")
    put(tmp_path / f"linux-headers-{rest}", b"")
    assert set(together(packages[given])) == set(packages.values())
    built(found.at(packages[given]), tmp_path / "artifact")
    packages["modules"].unlink()
    packages["base"].unlink()
    if given in ("image", "binary"):
        (tmp_path / "other").mkdir()
        with pytest.raises(UsageError, match=f"put .*linux-modules-{RELEASE} beside it"):
            found.at(packages[given]).build(tmp_path / "other", quiet)


@needs_dpkg
def test_a_package_for_another_machine(tmp_path: Path) -> None:
    root = tmp_path / "root"
    system_for_arm(root)
    package = deb(tmp_path, f"linux-image-{RELEASE}_1_arm64.deb", root)
    (tmp_path / "artifact").mkdir()
    with pytest.raises(UsageError) as caught:
        found.at(package).build(tmp_path / "artifact", quiet)
    said = f"boot/vmlinuz-{RELEASE}: no kernel for x86-64, but an Image for arm64"
    assert str(caught.value) == f"{package}: {said}"


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.xz", "tar.zst"])
def test_the_tar_file_of_a_kernels_make(suffix: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(root / f"boot/vmlinuz-{RELEASE}")
    put(root / f"boot/vmlinux-{RELEASE}", KERNEL)
    installed_modules(root / "lib", RELEASE)
    archive = tmp_path / f"linux-{RELEASE}-x86.{suffix}"
    subprocess.run(["tar", "-caf", archive, "-C", root, "boot", "lib"], check=True)
    built(found.at(archive), tmp_path / "artifact")


def test_sources_in_a_tar_file_are_no_kernel(tmp_path: Path) -> None:
    put(tmp_path / "linux-6.12/Kbuild", b"")
    archive = tmp_path / "linux-6.12.tar.gz"
    subprocess.run(["tar", "-czf", archive, "-C", tmp_path, "linux-6.12"], check=True)
    with pytest.raises(UsageError, match=r"sources, .*lab kernel add NAME --source"):
        found.at(archive).inputs(quiet)


def nothing(_path: Path) -> None:
    """An empty directory."""


def sources(path: Path) -> None:
    put(path / "Kbuild", b"")


def sources_built_elsewhere(path: Path) -> None:
    sources(path)
    out = kernel_tree(path.parent / "build/x86")
    (out / "Makefile").write_text(f"export KBUILD_OUTPUT = {out}\ninclude {path}/Makefile\n")


def sources_built_within(path: Path) -> None:
    sources(path)
    (kernel_tree(path / "out") / "source").symlink_to(path)


def built_for_arm(path: Path) -> None:
    kernel_tree(path)
    (path / "vmlinux").write_bytes(elf_kernel(pvh=False, machine=183))


def image_for_arm(path: Path) -> None:
    sources(path)
    put(path / "arch/arm64/boot/Image", bytes(0x38) + b"ARM\x64" + bytes(64))


def image_alone(path: Path) -> None:
    put(path / "bzImage")


def modules_alone(path: Path) -> None:
    installed_modules(path / "lib", RELEASE)


def tuxmake_for_arm(path: Path) -> None:
    put(path / "Image.gz", gzip.compress(bytes(0x38) + b"ARM\x64" + bytes(64)))
    put(path / "config", b"CONFIG_ARM64=y\n")
    packed_modules(path / "modules.tar.xz")


def system_for_arm(path: Path) -> None:
    installed_modules(path / "lib", RELEASE)
    put(path / f"boot/vmlinuz-{RELEASE}", bytes(0x38) + b"ARM\x64" + bytes(64))


def modules_forgotten(path: Path) -> None:
    kernel_tree(path)
    (path / ".config").write_text("CONFIG_BLK_DEV_NVME=m\n")
    (path / "modules.builtin").write_text("kernel/drivers/block/virtio_blk.ko\n")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (nothing, "no built kernel, vmlinux is missing"),
        (sources, "no built kernel, vmlinux is missing.*--source"),
        (sources_built_elsewhere, "these are sources, built in .*/build/x86 .give .*/build/x86"),
        (sources_built_within, "these are sources, built in .*/out .give .*/out instead"),
        (built_for_arm, "vmlinux is an ELF file for arm64.*ARCH=x86_64"),
        (image_for_arm, "arch/arm64/boot/Image is an Image for arm64.*ARCH=x86_64"),
        (tuxmake_for_arm, "Image.gz: no kernel for x86-64, but an Image for arm64, compressed"),
        (system_for_arm, "boot/vmlinuz-6.12.0-test: no kernel for x86-64, but an Image for arm64"),
        (image_alone, "the modules of 6.12.0-test are not beside it.*--modules"),
        (modules_alone, "no kernel image for 6.12.0-test"),
        (modules_forgotten, "no modules were made.*guest needs erofs, nvme, .*make modules there"),
    ],
)
def test_directories_that_are_no_kernel(
    make: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "linux"
    path.mkdir()
    make(path)
    with pytest.raises(UsageError, match=said):
        found.at(path).inputs(quiet)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "file: an empty file"),
        (b"root:x:0", "file: no kernel image"),
        (bytes(0x38) + b"ARM\x64" + bytes(64), "an Image for arm64"),
        (elf_kernel(pvh=True, machine=243), "an ELF file for RISC-V"),
        (b"\xed\xab\xee\xdb", "an RPM.*rpm2cpio"),
        (b"070701", "an initramfs"),
        (lzma.compress(b"070701" + bytes(99)), "an initramfs, compressed"),
        (BZIMAGE, "the modules of 6.12.0-test are not beside it"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_files_that_are_no_kernel(content: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        names.resolve(str(put(tmp_path / "file", content)))


def test_a_kernel_without_some_modules_boots_and_says_so(tmp_path: Path) -> None:
    path = kernel_tree(tmp_path / "linux")
    assert KernelTree(tree=path).remarks() == []
    (path / ".config").write_text("CONFIG_XFS_FS=m\nCONFIG_BTRFS_FS=m\n")
    (remark,) = KernelTree(tree=path).remarks()
    assert "modules were not made (CONFIG_XFS_FS=m, 2 in all)" in remark
    (path / "modules.order").write_text("fs/xfs/xfs.o\nfs/btrfs/btrfs.o\n")
    put(path / "fs/xfs/xfs.ko", b"")
    (remark,) = KernelTree(tree=path).remarks()
    assert "modules were not made (fs/btrfs/btrfs.ko, 1 in all)" in remark


def as_others(*words: str) -> subprocess.CompletedProcess[str]:
    """Run Python as somebody whom file modes bind, which root is not by itself."""
    caps = "-dac_override,-dac_read_search,-fowner"
    bound = ["setpriv", "--bounding-set", caps, "--inh-caps", caps] if os.getuid() == 0 else []
    argv = [*bound, sys.executable, *words]
    return subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, check=False)


def test_an_image_that_only_root_may_read(tmp_path: Path) -> None:
    image = system(tmp_path)
    image.chmod(0)
    add = ("kernel", "add", "mine", "--image", str(image))
    modules = ("--modules", str(tmp_path / "lib/modules" / RELEASE))
    for words in (add, (*add, *modules), ("up", "nvme-copy", "--kernel", str(image))):
        done = as_others("-m", "lab", *words)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert f"sudo chmod +r {image}" in done.stderr


def test_a_directory_that_may_not_be_entered(tmp_path: Path) -> None:
    image = system(tmp_path)
    image.parent.chmod(0)
    try:
        done = as_others("-m", "lab", "up", "nvme-copy", "--kernel", str(image))
    finally:
        image.parent.chmod(0o755)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "may not read it" in done.stderr


def test_modules_of_a_read_only_store(tmp_path: Path) -> None:
    """As Nix keeps them: all is read-only, and links lead into other directories."""
    image = put(tmp_path / "bzImage")
    store = installed_modules(tmp_path / "store/lib", RELEASE)
    xz = put(store / "kernel/fs/loop.ko.xz", lzma.compress(b"module"))
    (store / "kernel/fs/xfs.ko.xz").symlink_to("/nix/store/gone/xfs.ko.xz")
    for path in (xz, xz.parent, xz.parent.parent, store):
        path.chmod(0o555)
    script = (
        "import json, sys; from pathlib import Path;"
        "from lab.artifacts.kernels.image import KernelImage;"
        "place = Path(sys.argv[1]); place.mkdir();"
        "source = KernelImage(image=sys.argv[2], modules=sys.argv[3]);"
        "print(json.dumps(source.build(place, lambda _: None)))"
    )
    done = as_others("-c", script, str(tmp_path / "artifact"), str(image), str(store))
    for path in (store, xz.parent.parent, xz.parent):
        path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["left_out"] == "kernel/fs/xfs.ko.xz"
    assert vmlinux.has_pvh_entry((tmp_path / "artifact/vmlinux").read_bytes())
