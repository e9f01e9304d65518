# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel that is built already, in its tree."""

import re
import shutil
from pathlib import Path
from typing import Literal

from lab.artifacts import formats, initramfs, vmlinux
from lab.artifacts.cache import Progress
from lab.artifacts.formats import Kind
from lab.artifacts.kernels import config, external, gcov, install, notes
from lab.artifacts.kernels.pack import pack
from lab.artifacts.kernels.source import KernelSource, head, identity, readable
from lab.errors import HostError, UsageError
from lab.host.command import run

RELEASE = "include/config/kernel.release"
IMAGE = "arch/x86/boot/bzImage"

_OTHER_IMAGES = "arch/*/boot/*Image*"
_MADE_BY = re.compile(r"^include (?P<sources>\S+)/Makefile$", re.MULTILINE)
"""What the kernel's Makefile writes into the Makefile of a build directory (outputmakefile)."""


class KernelTree(KernelSource):
    """A tree in which `make` has built a kernel, in the sources or out of them (O=)."""

    type: Literal["tree"] = "tree"
    tree: Path
    coverage: tuple[str, ...] = ()
    """Directories and files of the sources whose objects count what they execute."""

    @property
    def summary(self) -> str:
        counted = f" + gcov:{','.join(self.coverage)}" if self.coverage else ""
        return f"{readable(self.tree)}{counted}"

    def inputs(self, progress: Progress) -> dict[str, str]:
        """Place, size and time of what was built, as make tells things apart."""
        for name in ("vmlinux", ".config", RELEASE):
            if not (self.tree / name).is_file():
                raise self._unbuilt(name)
        form = formats.of(head(self.tree / "vmlinux"))
        if form.kind is not Kind.ELF:
            raise UsageError(
                f"{self.tree}: vmlinux is {form.words}; guests of the lab are x86-64 machines",
                hint="build it with ARCH=x86_64",
            )
        self._check_modules()
        names = ("vmlinux", ".config", *install.LISTS, *self._modules())
        return {
            "tree": str(self.tree),
            "files": "\n".join(identity(self.tree / name) for name in names),
            **({"coverage": ",".join(self.coverage)} if self.coverage else {}),
        }

    def build(self, directory: Path, progress: Progress) -> dict[str, str]:
        progress("modules")
        release = (self.tree / RELEASE).read_text().strip()
        base = directory / "base"
        target = base / "lib/modules" / release
        modules = [name for name in self._modules() if (self.tree / name).is_file()]
        install.modules(self.tree, modules, target, self._options())
        if self.coverage:
            progress("notes of what counts")
            notes.keep(self.tree, sources_of(self.tree), self.coverage, directory)
        shutil.copy(self.tree / ".config", directory / "config")
        pack(directory, self._image(directory), base, release)
        return {"release": release}

    def counting(self, places: tuple[str, ...]) -> "KernelTree":
        if self._options().get(gcov.OPTION) != "y":
            raise UsageError(
                f"{self.tree}: built without gcov ({gcov.OPTION} is not set), which coverage of "
                f"{', '.join(places)} needs",
                hint=f"scripts/config -e GCOV_KERNEL there, then make "
                f"'{gcov.make_word(places)}'; or let the lab build it: lab kernel add NAME "
                "--source, then --kernel NAME",
            )
        notes.check(self.tree, places)
        return self.model_copy(update={"coverage": places})

    def build_module(self, name: str, sources: Path, release: str, progress: Progress) -> None:
        external.by_tree(self.tree, sources, name, progress)

    def symbols(self, release: str, progress: Progress) -> Path:
        options = self._options()
        if options and options.get("CONFIG_DEBUG_INFO") != "y":
            raise UsageError(
                f"{self.tree}: built without debugging information",
                hint="build it with CONFIG_DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT=y; the lab does of "
                "sources with --config debug",
            )
        return self.tree

    def remarks(self) -> list[str]:
        absent = self._missing()
        if not absent:
            return []
        return [
            f"{readable(self.tree)}: modules were not made ({absent[0]}, {len(absent)} in all), so "
            "the guest will not have them: make modules there"
        ]

    def _unbuilt(self, name: str) -> UsageError:
        """Why there is no kernel: built elsewhere, for something else, or not at all."""
        if out := next(iter(build_directories(self.tree)), None):
            return UsageError(
                f"{self.tree}: these are sources, built in {out}", hint=f"give {out} instead"
            )
        others = sorted(self.tree.glob(_OTHER_IMAGES))
        for path in others:
            form = formats.of(head(path)) if path.is_file() else None
            if form and form.named:
                return UsageError(
                    f"{self.tree}: {path.relative_to(self.tree)} is {form.words}; guests of the "
                    "lab are x86-64 machines",
                    hint="build it with ARCH=x86_64",
                )
        return UsageError(
            f"{self.tree}: no built kernel, {name} is missing",
            hint="make -j$(nproc) there; if it was built elsewhere (O=), give that directory; or "
            f"let the lab build it: lab kernel add NAME --source {readable(self.tree)}",
        )

    def _modules(self) -> list[str]:
        """Paths of the modules in the tree; modules.order has them as .o since Linux 6.2."""
        order = self.tree / "modules.order"
        lines = order.read_text().split() if order.exists() else []
        # Until 5.2 as they are installed.
        return [f"{line.rpartition('.')[0].removeprefix('kernel/')}.ko" for line in lines]

    def _wanted(self) -> list[str]:
        """The options that the configuration has as modules."""
        return [name for name, value in self._options().items() if value == "m"]

    def _options(self) -> dict[str, str]:
        file = self.tree / ".config"
        return config.options(file.read_text()) if file.is_file() else {}

    def _missing(self) -> list[str]:
        """Modules that the configuration asks for and `make` did not make, by file or option."""
        modules = self._modules()
        if not modules:
            return [f"{name}=m" for name in self._wanted()]
        return [name for name in modules if not (self.tree / name).is_file()]

    def _check_modules(self) -> None:
        """Raise UsageError where modules were forgotten that a guest cannot do without."""
        absent = self._missing()
        if not absent:
            return
        built_in = self.tree / "modules.builtin"
        text = built_in.read_text() if built_in.exists() else ""
        names = {Path(line).stem.replace("-", "_") for line in text.split()}
        needed = {name for needs, _ in initramfs.module_lists().values() for name in needs}
        if lacking := sorted(needed - names):
            raise UsageError(
                f"{self.tree}: no modules were made ({absent[0]} and others), and a guest needs "
                f"{', '.join(lacking)}",
                hint="make modules there",
            )

    def _image(self, directory: Path) -> bytes:
        """The kernel's ELF file without debugging information, or the bzImage if that is no use."""
        stripped = directory / "stripped"
        run(["strip", "--strip-debug", "-o", stripped, self.tree / "vmlinux"], deadline=120)
        image = stripped.read_bytes()
        stripped.unlink()
        if vmlinux.has_pvh_entry(image):
            return image
        try:
            return (self.tree / IMAGE).read_bytes()
        except FileNotFoundError:
            raise HostError(
                f"{self.tree}: vmlinux has no entry for PVH, and there is no {IMAGE}",
                hint="build with CONFIG_PVH=y, or make bzImage",
            ) from None


def build_directories(sources: Path) -> list[Path]:
    """Where kernels were built of these sources with O=, the latest first: in a directory within
    the sources, beside them, or in a directory beside them."""
    if not (sources / "Kbuild").is_file():
        return []
    near = [*_inside(sources), *_inside(sources.parent)]
    near += [
        path for place in _inside(sources.parent) if place != sources for path in _inside(place)
    ]
    found = [path for path in near if (path / "vmlinux").is_file() and _built_of(path, sources)]
    return sorted(found, key=lambda path: (path / "vmlinux").stat().st_mtime, reverse=True)


def sources_of(out: Path) -> Path:
    """The sources of what was built in a directory, which may be that directory."""
    if (out / "source").is_symlink():
        return (out / "source").resolve()
    try:
        made = _MADE_BY.search((out / "Makefile").read_text(errors="replace"))
    except OSError:
        made = None
    return (out / made["sources"]).resolve() if made else out.resolve()


def _built_of(out: Path, sources: Path) -> bool:
    return out.resolve() != sources.resolve() and sources_of(out) == sources.resolve()


def _inside(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if path.is_dir())
    except OSError:
        return []
