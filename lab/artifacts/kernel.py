# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels: the ELF image, its modules and the initramfs that reaches the root."""

import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import share
from lab.artifacts import cache, debian, module
from lab.artifacts.cache import Artifact, Made, Progress
from lab.artifacts.initramfs import early, module_lists, static_nodes
from lab.artifacts.kernels import names, pack
from lab.artifacts.kernels.brought import BroughtKernel
from lab.artifacts.kernels.linux import Linux, remove_checkout
from lab.artifacts.kernels.source import KernelSource, permitted
from lab.errors import LabError

FORMAT = 3
"""Part of every kernel's key; raise it when this module builds differently."""

_BUSYBOX_SUITE = "trixie"
_BUSYBOX_PACKAGE = "busybox-static"

_BUSYBOX = (
    "tool",
    "busybox",
    {"suite": _BUSYBOX_SUITE, "package": _BUSYBOX_PACKAGE, "format": str(FORMAT)},
)
"""Kind, name and inputs of the artifact."""

_NAME = 120
"""Characters of an artifact's name; a file's may have 255, with the key and more."""

_SCRIPTS = ("init-early", "init")

_MADE_FOR_KERNELS = ("initramfs", module.KIND)
"""Kinds of artifacts that go with a kernel."""


@dataclass(frozen=True)
class Kernel:
    """A bootable kernel."""

    name: str
    key: str
    """That of its artifact: two kernels with the same key are the same."""
    release: str
    """What `uname -r` says."""
    vmlinux: Path
    modules: Path
    """erofs of /lib/modules/RELEASE."""
    initramfs: Path
    config: Path


@dataclass(frozen=True)
class NamedKernel:
    """A kernel by its name, '' if it has none, and all that is built of it, newest first."""

    name: str
    source: str
    made: list[Made]


def ensure_kernel(reference: str, progress: Progress) -> Kernel:
    """Return the kernel that `reference` means (lab.artifacts.kernels.names), building it on first
    use: seconds for one that is compiled already, minutes for sources.

    Raises UsageError for an unknown one, ProfileError for a series that does not apply, and
    HostError when the host cannot build.
    """
    source = names.resolve(reference)

    def build(directory: Path) -> dict[str, str]:
        source.check_host()
        versions = source.build(directory, lambda phase: progress(f"kernel {reference}: {phase}"))
        return {**versions, "source": source.summary}

    if isinstance(source, BroughtKernel):
        artifact = cache.brought("kernel", source.artifact_name, build, progress, room=source.room)
    else:
        name = _artifact_name(reference, source)
        inputs = _inputs(source, progress)
        artifact = cache.ensure(
            "kernel", name, inputs, build, progress, room=source.room, deadline=source.deadline
        )
    return Kernel(
        reference,
        artifact.key,
        (artifact.path / "release").read_text().strip(),
        artifact.path / "vmlinux",
        artifact.path / "modules.erofs",
        _ensure_initramfs(artifact, progress).path / "initramfs.cpio",
        artifact.path / "config",
    )


def refused(kernel: Kernel) -> list[str]:
    """The options that the kernel's configuration asked for and its sources did not set, each with
    the reason."""
    return provenance(kernel).get("refused", "").splitlines()


def provenance(kernel: Kernel) -> dict[str, str]:
    """What a kernel is called, its key and release, and what it was made of."""
    manifest = Artifact("kernel", "", kernel.key, kernel.vmlinux.parent).manifest()
    return {"name": kernel.name, "key": kernel.key, **manifest.versions}


def config_of(key: str) -> Path | None:
    """The configuration of the kernel with this key; None if that is not built any more."""
    found = [one.path / "config" for one in cache.listing("kernel") if one.key == key]
    return next((path for path in found if path.is_file() and path.stat().st_size), None)


def listing() -> list[NamedKernel]:
    """The kernels that have names, and what else is built: trees and packages given as such."""
    built: dict[str, list[Made]] = {}
    for artifact, manifest in cache.manifests("kernel"):
        # Those of an older lab, which no reference leads to any more, are left out.
        if "source" in manifest.versions:
            built.setdefault(manifest.versions["source"], []).append((artifact, manifest))
    known = {name: source.summary for name, source in names.BOOK.known().items()}
    others = [("", summary) for summary in built if summary not in known.values()]
    return [
        NamedKernel(name, summary, built.get(summary, []))
        for name, summary in (*known.items(), *others)
    ]


def remove(kernel: NamedKernel, progress: Progress) -> list[Artifact]:
    """Remove what is built of a kernel, and its name if it was added; what was removed.

    What another name has as well stays, and so do guests that run it.  The name goes last: what
    was interrupted can be done again.
    """
    source = names.BOOK.added().get(kernel.name)
    others = [other for name, other in names.BOOK.known().items() if name != kernel.name]
    if isinstance(source, Linux) and not any(map(source.shares_checkout, others)):
        remove_checkout(source.source, progress)
    doomed: list[Artifact] = []
    if not any(other.summary == kernel.source for other in others):
        own = [artifact for artifact, _ in kernel.made]
        keys = {artifact.key for artifact in own}
        made_for = [made for kind in _MADE_FOR_KERNELS for made in cache.manifests(kind)]
        doomed = [one for one, manifest in made_for if manifest.versions.get("kernel") in keys]
        doomed += own
    removed = [artifact for artifact in doomed if cache.remove(artifact)]
    names.forget(kernel.name)
    return removed


def superseded(progress: Progress) -> list[Artifact]:
    """What no reference leads to any more: kernels whose sources or makers have changed, and what
    was made for them.

    A kernel whose sources cannot be read now stays, and so does one that was given without a name
    and cannot be found again.
    """
    known = [*names.BOOK.known().values()]
    kept, doomed = list[Artifact](), list[Artifact]()
    for artifact, manifest in cache.manifests("kernel"):
        # Those of an older lab have no source.
        source = manifest.versions.get("source")
        current = source is not None and _current(artifact, source, known, progress)
        (kept if current else doomed).append(artifact)
    busybox = cache.address(*_BUSYBOX)
    used = {cache.address(*_initramfs(one, _scripts(), busybox)) for one in kept}
    used.update(made for one in kept for made in module.of_kernel(one.key))
    return [
        *doomed,
        *(one for kind in _MADE_FOR_KERNELS for one in cache.listing(kind) if one not in used),
        *(one for one in cache.listing("tool") if one.name == busybox.name and one != busybox),
    ]


def _current(
    artifact: Artifact, summary: str, known: Sequence[KernelSource], progress: Progress
) -> bool:
    """Whether a source of that summary makes this artifact, as far as can be told."""
    sources = [source for source in known if source.summary == summary] or _found_again(summary)
    try:
        keys = [cache.address("kernel", artifact.name, _inputs(one, progress)) for one in sources]
    except LabError:
        return True
    return artifact in keys or not sources


def _found_again(summary: str) -> list[KernelSource]:
    """The source of a kernel that was given without a name, if it can be told from its summary."""
    try:
        source = names.resolve(summary.replace(" @ ", "@"))
    except LabError:
        return []
    return [source] if source.summary == summary else []


def _inputs(source: KernelSource, progress: Progress) -> dict[str, str]:
    with permitted():
        return {**source.inputs(progress), **pack.inputs(), "format": str(FORMAT)}


def _artifact_name(reference: str, source: KernelSource) -> str:
    """A file name for a kernel: its own, the package's, the tree's; of a long path the end."""
    name = re.sub(r"[^A-Za-z0-9._]+", "-", reference.removeprefix("/"))
    return source.artifact or name[-_NAME:].lstrip(".-")


def _ensure_initramfs(kernel: Artifact, progress: Progress) -> Artifact:
    """The initramfs is an artifact of its own: a changed boot script costs no kernel build."""
    scripts = _scripts()
    busybox = ensure_busybox(progress)

    def build(directory: Path) -> dict[str, str]:
        modules = kernel.path / "early"
        image = early(
            (busybox.path / "busybox").read_bytes(),
            {name: script.encode() for name, script in scripts.items()},
            {module.name: module.read_bytes() for module in modules.glob("*.ko")},
            {name: (modules / name).read_text().split() for name in module_lists()},
            static_nodes((modules / pack.NODES).read_text()),
        )
        (directory / "initramfs.cpio").write_bytes(image)
        return {"kernel": kernel.key}

    return cache.ensure(*_initramfs(kernel, scripts, busybox), build, progress, room=64 << 20)


def _scripts() -> dict[str, str]:
    boot = share.directory("guest-scripts")
    return {name: (boot / name).read_text() for name in _SCRIPTS}


def _initramfs(
    kernel: Artifact, scripts: Mapping[str, str], busybox: Artifact
) -> tuple[str, str, dict[str, str]]:
    """Kind, name and inputs of a kernel's initramfs."""
    inputs = {"kernel": kernel.key, "busybox": busybox.key, "format": str(FORMAT)}
    return "initramfs", kernel.name, {**scripts, **inputs}


def ensure_busybox(progress: Progress) -> Artifact:
    """The static busybox of Debian, shared by all kernels; it has `busybox` in it."""

    def build(directory: Path) -> dict[str, str]:
        progress("initramfs: busybox")
        archive = directory / "package.tar"
        debian.extract([_BUSYBOX_PACKAGE], _BUSYBOX_SUITE, archive)
        with tarfile.open(archive) as tar:
            content = tar.extractfile("./usr/bin/busybox")
            assert content is not None  # a regular file has content
            with content:
                (directory / "busybox").write_bytes(content.read())
        archive.unlink()
        return {}

    return cache.ensure(*_BUSYBOX, build, progress, room=256 << 20)
