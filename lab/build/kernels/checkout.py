"""A clean checkout of a kernel's sources that patches can be applied to.

It stays in the cache directory from build to build, so that `make` compiles what has changed and
no more.  The user's sources are only read: a git tree gets a worktree, a directory or tar file is
copied into a repository of the lab's own.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from lab.build.artifacts import Progress
from lab.build.kernels.git import git
from lab.errors import HostError, UsageError
from lab.host import dirs
from lab.host.command import run

_LEFT_BY_BUILDS = (
    "/.git", "/.config", "/include/config", "/include/generated", "/arch/*/include/generated",
    "*.o", "*.ko", "*.cmd", "*.a", "/vmlinux", "/source", "/Documentation/output",
)  # fmt: skip
"""What a build in the sources leaves, with which make refuses to build outside of them."""

_COMPILED = (".o", ".ko", ".cmd", ".a")

_BASE = "lab-base"
"""Tag of the sources as given, in a repository of the lab's own."""


class Checkout:
    """The lab's copy of the sources in `source`; only one process at a time may work in it."""

    def __init__(self, source: Path) -> None:
        self.source = source
        key = hashlib.sha256(str(source).encode()).hexdigest()[:16]
        self.directory = dirs.cache("linux", key)
        self.tree = self.directory / "source"
        self.lock = dirs.cache("linux") / f"{key}.lock"

    @property
    def is_git(self) -> bool:
        """Whether the sources are a git work tree."""
        return (self.source / ".git").exists()

    def commit(self, rev: str) -> str:
        """The commit that `rev` names in the git tree; with '' what lies in its work tree.

        Raises UsageError when there is none.
        """
        if not rev:
            # A commit of what is modified, made without touching anything; nothing if clean.
            return git(self.source, "stash", "create") or self.commit("HEAD")
        try:
            return git(self.source, "rev-parse", "--verify", "--quiet", f"{rev}^{{commit}}")
        except HostError as error:
            raise UsageError(f"{self.source}: no commit {rev}", hint="see git log there") from error

    def identity(self, rev: str) -> str:
        """What the sources are: git's tree, or what tells files apart by size and time."""
        if self.is_git:
            return git(self.source, "rev-parse", f"{self.commit(rev)}^{{tree}}")
        if rev:
            raise UsageError(f"{self.source} is no git tree", hint="leave out --rev")
        if self.source.is_file():
            return _stamp(self.source)
        if not (self.source / "Kbuild").is_file():
            raise UsageError(f"{self.source}: no sources of a kernel, Kbuild is missing")
        whole = hashlib.sha256()
        for stamp in sorted(map(_stamp, _sources(self.source))):
            whole.update(stamp.encode(errors="surrogateescape") + b"\n")
        return whole.hexdigest()

    def prepare(self, rev: str, progress: Progress, *, patched: bool) -> str:
        """Lay out the sources as given; the caller holds the lock.

        Returns the commit that patches go on; '' if there shall be none and git knows nothing of
        the sources: to tell it of 80,000 files takes half a minute.
        """
        if self.is_git:
            self._worktree(self.commit(rev), progress)
        elif self.source.is_file():
            self._unpack(progress)
        else:
            progress("copy the sources")
            self._copy()
        if patched and not self.is_git:
            progress("tell git of the sources")
            self._commit()
        return git(self.tree, "rev-parse", "HEAD") if self.is_git or patched else ""

    def remove(self) -> None:
        """Remove the copy, and what was built in it.  The caller holds the lock."""
        shutil.rmtree(self.directory, ignore_errors=True)
        if self.is_git:
            git(self.source, "worktree", "prune")

    def _worktree(self, commit: str, progress: Progress) -> None:
        if (self.tree / ".git").exists():
            self._clean(commit)
            return
        progress("check out the sources")
        git(self.source, "worktree", "prune")
        git(self.source, "worktree", "add", "--force", "--detach", self.tree, commit)

    def _clean(self, commit: str) -> None:
        self._abort()
        git(self.tree, "checkout", "--quiet", "--force", "--detach", commit)
        git(self.tree, "clean", "-ffdxq")

    def _abort(self) -> None:
        """End the `git am` of a build that failed or was killed."""
        with contextlib.suppress(HostError):
            git(self.tree, "am", "--quit")

    def _unpack(self, progress: Progress) -> None:
        mark = self.directory / "unpacked"
        stamp = _stamp(self.source)
        if mark.exists() and mark.read_text() == stamp:
            if (self.tree / ".git").exists():
                self._clean(_BASE)
            return
        mark.unlink(missing_ok=True)
        shutil.rmtree(self.tree, ignore_errors=True)
        self.tree.mkdir()
        progress("unpack the sources")
        run(
            ["tar", "-xf", self.source, "-C", self.tree, "--strip-components=1", "--no-same-owner"],
            deadline=600,
        )
        mark.write_text(stamp)

    def _copy(self) -> None:
        """Bring the copy of a directory up to date.

        By content, and without the files' times: a file that is no longer patched must be newer
        than what was compiled of it.
        """
        self.tree.mkdir(exist_ok=True)
        excluded = [f"--exclude={pattern}" for pattern in _LEFT_BY_BUILDS]
        argv = ["rsync", "-rlp", "--checksum", "--delete", *excluded]
        run([*argv, f"{self.source}/", self.tree], deadline=600)

    def _commit(self) -> None:
        """Make what lies in the tree the base that series are applied to."""
        if (self.tree / ".git").exists():
            self._abort()
        git(self.tree, "init", "--quiet")
        git(self.tree, "add", "--all", "--force")
        git(self.tree, "commit", "--quiet", "--allow-empty", "--message=the sources as given")
        git(self.tree, "update-ref", f"refs/tags/{_BASE}", "HEAD")


def _sources(directory: Path) -> Iterator[Path]:
    for place, directories, files in os.walk(directory):
        if ".git" in directories:
            directories.remove(".git")
        yield from (Path(place, file) for file in files if not file.endswith(_COMPILED))


def _stamp(file: Path) -> str:
    status = file.lstat()
    return f"{file} {status.st_size} {status.st_mtime_ns}"
