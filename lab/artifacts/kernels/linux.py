# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel that the lab builds: sources, a series of patches and a configuration."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from lab.artifacts.cache import BUILD_DEADLINE, Progress
from lab.artifacts.kernels import config, external, gcov, make, notes, rejects, series
from lab.artifacts.kernels.checkout import Checkout
from lab.artifacts.kernels.scratch import AppliedSeries, SeriesRejection
from lab.artifacts.kernels.series import Series
from lab.artifacts.kernels.source import KernelSource, readable
from lab.artifacts.kernels.tree import KernelTree
from lab.errors import ProfileError


class Linux(KernelSource):
    """Sources (git tree, directory or tar file) with patches, built by the lab."""

    room: ClassVar[int] = 6 << 30
    # Another kernel of the same sources may have to be compiled first.
    deadline: ClassVar[float] = 2 * make.DEADLINE + BUILD_DEADLINE
    artifact: ClassVar[str] = "linux"

    type: Literal["source"] = "source"
    source: Path
    rev: str = ""
    """Commit of a git tree; '' for what lies in its work tree."""
    series: tuple[Path, ...] = ()
    config: tuple[str, ...] = ()
    """Fragments on top of those of every kernel, by name or path."""
    coverage: tuple[str, ...] = ()
    """Directories and files of the sources whose objects count what they execute."""

    @property
    def summary(self) -> str:
        words = [readable(self.source), *([f"@ {self.rev}"] if self.rev else [])]
        counted = [f"gcov:{','.join(self.coverage)}"] if self.coverage else []
        parts = (*self._patches(), *self.config, *counted)
        return " ".join([*words, *(f"+ {part}" for part in parts)])

    def inputs(self, progress: Progress) -> dict[str, str]:
        return {
            "sources": Checkout(self.source).identity(self.rev),
            "series": series.digest(self.series),
            "config": config.text(self._fragments()),
            "compiler": make.compiler(),
            **({"coverage": ",".join(self.coverage)} if self.coverage else {}),
        }

    def check_host(self) -> None:
        make.check_tools()

    def build(self, directory: Path, progress: Progress) -> dict[str, str]:
        checkout = Checkout(self.source)
        with checkout.held(progress):
            base, applied, asked = self._compile(checkout, progress)
            out = self._out(checkout)
            unmet = config.unmet(checkout.tree, self._fragments(), asked)
            versions = KernelTree(tree=out, coverage=self.coverage).build(directory, progress)
            if self.coverage and applied:
                notes.keep_series(checkout.tree, base, directory)
        return {
            **versions,
            "base": base,
            "patches": "\n".join(applied.subjects if applied else []),
            "compiler": make.compiler(),
            "refused": "\n".join(unmet.refused),
            "absent": "\n".join(unmet.absent),
        }

    def counting(self, places: tuple[str, ...]) -> "Linux":
        return self.model_copy(update={"coverage": places})

    def build_module(self, name: str, sources: Path, release: str, progress: Progress) -> None:
        checkout = Checkout(self.source)
        with checkout.held(progress):
            # The tree may have gone on to another kernel since.
            self._compile(checkout, progress)
            external.by_tree(self._out(checkout), sources, name, progress)

    def symbols(self, release: str, progress: Progress) -> Path:
        # Of the kernel that was built there last: whoever reads it sees whether it is this one.
        return KernelTree(tree=self._out(Checkout(self.source))).symbols(release, progress)

    def _out(self, checkout: Checkout) -> Path:
        """Where it is compiled: another configuration would compile everything anew."""
        names = (Path(name).stem for name in self._fragments())
        return checkout.directory / "-".join(["out", *names])

    def _fragments(self) -> tuple[str, ...]:
        return (*self.config, gcov.FRAGMENT) if self.coverage else self.config

    def _compile(
        self, checkout: Checkout, progress: Progress
    ) -> tuple[str, AppliedSeries | None, str]:
        """Compile what has changed; the commit below the patches, what came of them, and the
        configuration that was made.  The caller holds the checkout."""
        found = series.read_all(self.series)
        try:
            base, applied = checkout.prepare(self.rev, progress, series.patches(found))
        except SeriesRejection as error:
            raise _refusal(checkout, found, error) from error
        progress("configure")
        out = self._out(checkout)
        gcov.check_sources(checkout.tree, self.coverage)
        made = make.configure(checkout.tree, out, config.text(self._fragments()))
        counted = [gcov.make_word(self.coverage)] if self.coverage else []
        make.build(checkout.tree, out, base if self.series else "", progress, counted)
        return base, applied, made

    def try_series(self, progress: Progress) -> list[str]:
        """Try the series on the sources, in seconds; what a user should know, a line each.

        Raises UsageError for what are no sources, ProfileError with all that does not apply.
        """
        checkout = Checkout(self.source)
        checkout.check(self.rev)
        found = series.read_all(self.series)
        if not found:
            return []
        try:
            applied = checkout.try_out(self.rev, series.patches(found), progress)
        except SeriesRejection as error:
            raise _refusal(checkout, found, error) from error
        unknown = [
            f"{one.path.name} is for commit {one.base}, which {readable(self.source)} does not have"
            for one in found
            if one.base and checkout.is_git and not checkout.has(one.base)
        ]
        return [*(one.summary for one in found), *applied.notes, *unknown]

    def shares_checkout(self, other: KernelSource) -> bool:
        """Whether another kernel is made from the same sources."""
        return isinstance(other, Linux) and other.source == self.source

    def _patches(self) -> list[str]:
        return [path.name for path in self.series]


def _refusal(
    checkout: Checkout, found: Sequence[Series], rejected: SeriesRejection
) -> ProfileError:
    """All that does not apply: the first in a line, each with what stands there instead."""
    first, count = rejected.found[0], len(rejected.found)
    # Numbers go through all series that were given; a user has those of one.
    number, path = first.number, found[0].path
    for one in found:
        path = one.path
        if number <= len(one.patches):
            break
        number -= len(one.patches)
    more = f"; all {count} rejects below" if count > 1 else ""
    return ProfileError(
        f'{path}: patch {number}, "{first.patch}", does not apply: {first.place}{more}',
        detail=rejects.told(rejected.found),
        hint=_cure(checkout, next((one.base for one in found if one.base), "")),
    )


def _cure(checkout: Checkout, base: str) -> str:
    """What to do about a series that does not apply, which may say what commit it is for."""
    if not checkout.is_git:
        return f"rebase the series{f', which is for commit {base}' if base else ''}"
    if not base:
        return "rebase the series, or name the commit that it is for with --rev"
    if checkout.has(base):
        return f"rebase the series, or take the commit that it is for: --rev {base}"
    return f"it is for commit {base}, which {readable(checkout.source)} does not have: fetch that"


def remove_checkout(source: Path, progress: Progress) -> None:
    """Remove the lab's copy of sources, and what was built in it, if it is there."""
    checkout = Checkout(source)
    with checkout.held(progress):
        checkout.remove()
