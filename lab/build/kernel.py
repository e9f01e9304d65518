"""Kernels: the ELF image, its modules and the initramfs that reaches the root."""

import re
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from lab import ROOT
from lab.build import artifacts, debian, initramfs, modules, vmlinux
from lab.build.artifacts import Artifact, Progress
from lab.errors import HostError, UsageError
from lab.host.command import run

FORMAT = 1
"""Part of every kernel's key; raise it when this module builds differently."""

ROOM = 1 << 30
"""Bytes free before a build: package, unpacked modules and their erofs together."""

PACKAGED = {"debian": ("trixie", "linux-image-amd64")}
"""Kernels by name: Debian suite and package."""

_BUSYBOX_SUITE = "trixie"
_BUSYBOX_PACKAGE = "busybox-static"

_SCRIPTS = ("init-early", "init")

_MODULE = re.compile(r"(?:usr/)?lib/modules/(?P<release>[^/]+)/(?P<path>.+)")
_BOOT = re.compile(
    r"boot/(?P<old>vmlinuz|config)-[^/]+|(?:usr/)?lib/modules/[^/]+/(?P<new>vmlinuz|config)"
)
"""Debian keeps image and configuration in /boot; from 7.x on beside the modules."""


@dataclass(frozen=True)
class Kernel:
    """A bootable kernel."""

    name: str
    release: str
    """What `uname -r` says."""
    vmlinux: Path
    modules: Path
    """erofs of /lib/modules/RELEASE."""
    initramfs: Path
    config: Path


def ensure_kernel(name: str, progress: Progress) -> Kernel:
    """Return the kernel `name`, building it on first use (ten seconds and a network).

    Raises UsageError for an unknown name and HostError when the host cannot build.
    """
    if name not in PACKAGED:
        raise UsageError(f"no kernel {name}", hint=f"known: {', '.join(PACKAGED)}")
    suite, package = PACKAGED[name]

    def build(directory: Path) -> dict[str, str]:
        progress(f"kernel {name}: packages")
        _download(suite, package, directory, scratch=f"kernel-{name}")
        progress(f"kernel {name}: modules")
        release = _unpack_package(directory)
        return {"release": release}

    inputs = {
        "suite": suite,
        "package": package,
        "format": str(FORMAT),
        "early": repr(_early_lists()),
        "unused": " ".join(modules.UNUSED),
    }
    artifact = artifacts.ensure("kernel", name, inputs, build, progress, room=ROOM)
    return Kernel(
        name,
        (artifact.path / "release").read_text().strip(),
        artifact.path / "vmlinux",
        artifact.path / "modules.erofs",
        _ensure_initramfs(artifact, progress).path / "initramfs.cpio",
        artifact.path / "config",
    )


def _download(suite: str, package: str, directory: Path, scratch: str) -> None:
    debian.mmdebstrap(
        ["--variant=extract", f"--include={package}"],
        suite,
        directory / "package.tar",
        scratch=scratch,
    )


def _unpack_package(directory: Path) -> str:
    """Turn package.tar into the files of a kernel artifact; return the release."""
    base = directory / "base"
    release = _sort_out(directory / "package.tar", directory, base)
    tree = base / "lib/modules" / release
    for unused in modules.UNUSED:
        shutil.rmtree(tree / unused, ignore_errors=True)
    modules.unpack(tree)
    modules.index(base, release)
    _keep_early(tree, directory / "early")
    run(
        ["mkfs.erofs", "-zlz4", "--quiet", "--all-root", directory / "modules.erofs", tree],
        deadline=300,
    )
    (directory / "vmlinux").write_bytes(vmlinux.extract((directory / "vmlinuz").read_bytes()))
    (directory / "release").write_text(release + "\n")
    shutil.rmtree(base)
    (directory / "vmlinuz").unlink()
    (directory / "package.tar").unlink()
    return release


def _sort_out(package: Path, directory: Path, base: Path) -> str:
    """Take vmlinuz, config and the modules (to base/lib/modules) out of the tar file."""
    releases = set()
    with tarfile.open(package) as tar:
        for member in tar:
            path = member.name.removeprefix("./")
            boot, module = _BOOT.fullmatch(path), _MODULE.fullmatch(path)
            if not member.isfile() or not (boot or module):
                continue
            if boot:
                target = directory / (boot["old"] or boot["new"])
            elif module:
                releases.add(module["release"])
                target = base / "lib/modules" / module["release"] / module["path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            content = tar.extractfile(member)
            assert content is not None  # a regular file has content
            with content, target.open("wb") as file:
                shutil.copyfileobj(content, file)
    if len(releases) != 1 or not (directory / "vmlinuz").exists():
        raise HostError(f"the package has no kernel with modules: {sorted(releases)}")
    return releases.pop()


def _early_lists() -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Needed and optional modules of each of the initramfs's lists."""
    return {
        "root": (initramfs.ROOT_MODULES, initramfs.OPTIONAL_ROOT_MODULES),
        "later": (initramfs.LATER_MODULES, ()),
    }


def _keep_early(tree: Path, early: Path) -> None:
    """Copy the modules of the initramfs, and the lists of their load order, out of the tree."""
    early.mkdir()
    for name, (needed, optional) in _early_lists().items():
        order = modules.load_order(tree, needed, optional)
        for module in order:
            shutil.copy(module, early)
        (early / name).write_text("".join(f"{module.name}\n" for module in order))


def _ensure_initramfs(kernel: Artifact, progress: Progress) -> Artifact:
    """The initramfs is an artifact of its own: a changed boot script costs no kernel build."""
    scripts = {name: (ROOT / "guest-scripts" / name).read_bytes() for name in _SCRIPTS}
    busybox = _ensure_busybox(progress)

    def build(directory: Path) -> dict[str, str]:
        early = kernel.path / "early"
        image = initramfs.early(
            (busybox.path / "busybox").read_bytes(),
            scripts,
            {module.name: module.read_bytes() for module in early.glob("*.ko")},
            {name: (early / name).read_text().split() for name in _early_lists()},
            tree=(kernel.path / "modules.erofs").exists(),
        )
        (directory / "initramfs.cpio").write_bytes(image)
        return {}

    inputs = {name: script.decode() for name, script in scripts.items()}
    inputs |= {"kernel": kernel.key, "busybox": busybox.key, "format": str(FORMAT)}
    return artifacts.ensure("initramfs", kernel.name, inputs, build, progress, room=64 << 20)


def _ensure_busybox(progress: Progress) -> Artifact:
    """The static busybox of Debian, shared by all kernels."""

    def build(directory: Path) -> dict[str, str]:
        progress("initramfs: busybox")
        package = directory / "package.tar"
        _download(_BUSYBOX_SUITE, _BUSYBOX_PACKAGE, directory, scratch="busybox")
        with tarfile.open(package) as tar:
            content = tar.extractfile("./usr/bin/busybox")
            assert content is not None  # a regular file has content
            with content:
                (directory / "busybox").write_bytes(content.read())
        package.unlink()
        return {}

    inputs = {"suite": _BUSYBOX_SUITE, "package": _BUSYBOX_PACKAGE, "format": str(FORMAT)}
    return artifacts.ensure("tool", "busybox", inputs, build, progress, room=256 << 20)
