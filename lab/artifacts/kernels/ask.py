# SPDX-License-Identifier: GPL-2.0-or-later
"""From what `lab kernel add` was given to a source."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from lab.artifacts.cache import Progress
from lab.artifacts.kernels import config, found, names, series
from lab.artifacts.kernels.image import KernelImage
from lab.artifacts.kernels.linux import Linux
from lab.artifacts.kernels.package import SUITE, KernelPackage
from lab.artifacts.kernels.source import KernelSource, permitted
from lab.errors import UsageError


@dataclass(frozen=True)
class KernelArguments:
    """The options; None or empty for what was not given."""

    package: str | None
    tree: Path | None
    image: Path | None
    modules: Path | None
    source_path: Path | None
    rev: str
    series: Sequence[str]
    config: Sequence[str]

    def source(self, name: str) -> KernelSource:
        """What they describe, checked as far as that is quick.  Raises UsageError."""
        given = [self.package, self.tree, self.image, self.source_path]
        if sum(one is not None for one in given) != 1:
            raise UsageError("say one of --package, --tree, --image and --source")
        if self.modules is not None and self.image is None:
            raise UsageError("--modules are those of an --image")
        if self.source_path is None and (self.rev or self.series or self.config):
            raise UsageError("--rev, --series and --config are for --source")
        if self.package:
            return _package(self.package)
        if self.image and self.modules:
            return _checked(
                KernelImage(image=self.image.absolute(), modules=self.modules.absolute())
            )
        if path := self.tree or self.image:
            if not path.exists():
                raise UsageError(f"{path}: no such file or directory")
            return _checked(found.at(path))
        return self._linux(name)

    def _linux(self, name: str) -> Linux:
        assert self.source_path is not None
        if not self.source_path.exists():
            raise UsageError(f"{self.source_path}: no such sources")
        config.text(self.config)
        patches = tuple(_patches(one, name) for one in self.series)
        fragments = tuple(
            one if one in config.variants() else str(Path(one).absolute()) for one in self.config
        )
        return Linux(
            source=self.source_path.absolute(), rev=self.rev, series=patches, config=fragments
        )


def define(name: str, asked: KernelArguments, progress: Progress) -> tuple[KernelSource, list[str]]:
    """Give what was asked for a name; the source, and what its user should know of it.

    A series is tried on its sources first.  Raises UsageError, and ProfileError with all that does
    not apply; nothing is left then.
    """
    try:
        source = asked.source(name)
        told = source.try_series(progress) if isinstance(source, Linux) else []
        names.BOOK.add(name, source)
    except BaseException:
        if name not in names.BOOK.known():
            names.forget(name)
        raise
    return source, told


def _patches(series_or_id: str, name: str) -> Path:
    path = Path(series_or_id)
    if path.exists():
        return path.absolute()
    if "@" in series_or_id:
        names.BOOK.check_free(name)
        return _complete(series_or_id, series.fetch(series_or_id, names.fetched(name)))
    raise UsageError(
        f"series {series_or_id}: no such file or directory",
        hint="a mailbox, a directory of patches, or the message-id of the series",
    )


def _complete(message_id: str, path: Path) -> Path:
    """The mailbox that b4 made.  Raises UsageError when it lacks something, of which b4 says a
    word and ends well."""
    try:
        series.read_all([path])
    except UsageError as error:
        raise UsageError(
            error.message.replace(str(path), f"series {message_id}"),
            hint="the archive has no more of it: try again later, or get the mails yourself and "
            "give the mailbox",
        ) from error
    return path


def _package(words: str) -> KernelPackage:
    package, _, suite = words.partition("/")
    try:
        return KernelPackage(package=package, suite=suite or SUITE)
    except ValidationError as error:
        raise UsageError(
            f"--package {words}: no name of a package", hint="such as linux-image-amd64/sid"
        ) from error


def _checked(source: KernelSource) -> KernelSource:
    with permitted():
        source.inputs(lambda _phase: None)
    return source
