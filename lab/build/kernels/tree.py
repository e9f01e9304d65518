"""A kernel that is built already: its tree, or an image with a directory of modules."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from lab.build import vmlinux
from lab.build.artifacts import Progress
from lab.build.kernels.pack import pack
from lab.build.kernels.source import Source, readable
from lab.errors import HostError, UsageError
from lab.host.command import run

_RELEASE = "include/config/kernel.release"
_BUILT_IN = ("modules.builtin", "modules.builtin.modinfo")
_IMAGE = "arch/x86/boot/bzImage"


class Tree(Source):
    """A tree in which `make` has built a kernel, in the sources or out of them (O=)."""

    type: Literal["tree"] = "tree"
    tree: Path

    @property
    def summary(self) -> str:
        return readable(self.tree)

    def inputs(self, progress: Progress) -> dict[str, str]:
        """Place, size and time of what was built, as make tells things apart."""
        for name in ("vmlinux", ".config", _RELEASE):
            if not (self.tree / name).is_file():
                raise UsageError(
                    f"{self.tree}: no built kernel, {name} is missing",
                    hint="make -j$(nproc) there, or let the lab build it: lab kernel add NAME "
                    f"--source {readable(self.tree)}",
                )
        files = (self.tree / name for name in ("vmlinux", ".config", *_BUILT_IN, *self._modules()))
        return {"tree": str(self.tree), "files": "\n".join(_identity(file) for file in files)}

    def build(self, directory: Path, progress: Progress) -> dict[str, str]:
        progress("modules")
        release = (self.tree / _RELEASE).read_text().strip()
        base = directory / "base"
        self._install_modules(base, release)
        shutil.copy(self.tree / ".config", directory / "config")
        pack(directory, self._image(directory), base, release)
        return {"release": release}

    def _modules(self) -> list[str]:
        """Paths of the modules in the tree; modules.order has them as .o since Linux 6.2."""
        order = self.tree / "modules.order"
        lines = order.read_text().split() if order.exists() else []
        return [f"{line.rpartition('.')[0]}.ko" for line in lines]

    def _install_modules(self, base: Path, release: str) -> None:
        target = base / "lib/modules" / release
        if self._modules():
            # Without debugging information, which is most of a module; the index is made later.
            install = ["modules_install", f"INSTALL_MOD_PATH={base}", "INSTALL_MOD_STRIP=1"]
            run(["make", "-s", "-C", self.tree, *install, "DEPMOD=true"], deadline=600)
            # To the sources on this host.
            for link in ("build", "source"):
                (target / link).unlink(missing_ok=True)
            return
        target.mkdir(parents=True)
        (target / "modules.order").touch()
        for name in _BUILT_IN:
            if (self.tree / name).exists():
                shutil.copy(self.tree / name, target)

    def _image(self, directory: Path) -> bytes:
        """The kernel's ELF file without debugging information, or the bzImage if that is no use."""
        stripped = directory / "stripped"
        run(["strip", "--strip-debug", "-o", stripped, self.tree / "vmlinux"], deadline=120)
        image = stripped.read_bytes()
        stripped.unlink()
        if vmlinux.has_pvh_entry(image):
            return image
        try:
            return (self.tree / _IMAGE).read_bytes()
        except FileNotFoundError:
            raise HostError(
                f"{self.tree}: vmlinux has no entry for PVH, and there is no {_IMAGE}",
                hint="build with CONFIG_PVH=y, or make bzImage",
            ) from None


class Image(Source):
    """A kernel image, bzImage or ELF, and its modules as they are installed."""

    type: Literal["image"] = "image"
    image: Path
    modules: Path
    """The directory named as the release, such as /lib/modules/6.12.0."""

    @property
    def summary(self) -> str:
        return readable(self.image)

    def inputs(self, progress: Progress) -> dict[str, str]:
        if not self.image.is_file():
            raise UsageError(f"{self.image}: no such kernel image")
        if not (self.modules / "modules.builtin").is_file():
            raise UsageError(
                f"{self.modules}: no directory of modules, modules.builtin is missing",
                hint="name the one that make modules_install made, such as lib/modules/6.12.0",
            )
        files = (self.image, *sorted(_files(self.modules)))
        return {"image": str(self.image), "files": "\n".join(map(_identity, files))}

    def build(self, directory: Path, progress: Progress) -> dict[str, str]:
        progress("modules")
        image = self.image.read_bytes()
        release = self.modules.resolve().name
        built = vmlinux.release(image)
        if built and built != release:
            raise HostError(
                f"{self.image} is kernel {built}, but its modules are those of {release}",
                hint="name the directory of its own modules",
            )
        base = directory / "base"
        target = base / "lib/modules" / release
        target.parent.mkdir(parents=True)
        shutil.copytree(self.modules, target, ignore=shutil.ignore_patterns("build", "source"))
        (directory / "config").touch()
        pack(directory, image, base, release)
        return {"release": release}


def _identity(file: Path) -> str:
    if not file.exists():
        return f"{file} -"
    status = file.stat()
    return f"{file} {status.st_size} {status.st_mtime_ns}"


def _files(directory: Path) -> Iterator[Path]:
    return (path for path in directory.rglob("*") if path.is_file())
