"""A kernel that the lab builds: sources, a series of patches and a configuration."""

from pathlib import Path
from typing import ClassVar, Literal

from lab.build.artifacts import BUILD_DEADLINE, Progress
from lab.build.kernels import config, make, series
from lab.build.kernels.checkout import Checkout
from lab.build.kernels.source import Source, readable
from lab.build.kernels.tree import Tree
from lab.host import lock


class Linux(Source):
    """Sources (git tree, directory or tar file) with patches, built by the lab."""

    room: ClassVar[int] = 6 << 30
    artifact: ClassVar[str] = "linux"

    type: Literal["source"] = "source"
    source: Path
    rev: str = ""
    """Commit of a git tree; '' for what lies in its work tree."""
    series: tuple[Path, ...] = ()
    config: tuple[str, ...] = ()
    """Fragments on top of those of every kernel, by name or path."""

    @property
    def summary(self) -> str:
        words = [readable(self.source), *([f"@ {self.rev}"] if self.rev else [])]
        return " ".join([*words, *(f"+ {part}" for part in (*self._patches(), *self.config))])

    def inputs(self, progress: Progress) -> dict[str, str]:
        return {
            "sources": Checkout(self.source).identity(self.rev),
            "series": series.digest(self.series),
            "config": config.text(self.config),
            "compiler": make.compiler(),
        }

    def build(self, directory: Path, progress: Progress) -> dict[str, str]:
        checkout = Checkout(self.source)
        asked = config.text(self.config)
        # One for each configuration: another one would compile everything anew.
        out = checkout.directory / "-".join(["out", *(Path(name).stem for name in self.config)])
        with lock.held(checkout.lock, deadline=BUILD_DEADLINE):
            base = checkout.prepare(self.rev, progress, patched=bool(self.series))
            subjects = series.apply(checkout.tree, self.series)
            progress("configure")
            made = make.configure(checkout.tree, out, asked)
            make.build(checkout.tree, out, base if self.series else "", progress)
            versions = Tree(tree=out).build(directory, progress)
        refused = config.refused(asked, made)
        return {
            **versions,
            "base": base,
            "patches": "\n".join(subjects),
            "compiler": make.compiler(),
            "refused": "\n".join(refused),
        }

    def shares_checkout(self, other: Source) -> bool:
        """Whether another kernel is made from the same sources."""
        return isinstance(other, Linux) and other.source == self.source

    def _patches(self) -> list[str]:
        return [path.name for path in self.series]


def remove_checkout(source: Path) -> None:
    """Remove the lab's copy of sources, and what was built in it, if it is there."""
    checkout = Checkout(source)
    with lock.held(checkout.lock, deadline=BUILD_DEADLINE):
        checkout.remove()
