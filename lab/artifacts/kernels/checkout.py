# SPDX-License-Identifier: GPL-2.0-or-later
"""A clean checkout of a kernel's sources that patches can be applied to.

It stays in the cache directory from build to build, so that `make` compiles what has changed and
no more: it goes from the patched sources of one build to those of the next in a single step, which
writes the files that differ.  The user's sources are only read: a git tree gets a worktree, a
directory or tar file is copied into a repository of the lab's own.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from lab.artifacts.cache import Progress
from lab.artifacts.kernels import excerpt, make
from lab.artifacts.kernels.git import git
from lab.artifacts.kernels.mails import Mail
from lab.artifacts.kernels.scratch import AppliedSeries, Scratch
from lab.errors import HostError, UsageError
from lab.host import dirs, lock
from lab.host.command import run
from lab.host.walk import walk

_LEFT_BY_BUILDS = (
    "/.git", "/.config", "/include/config", "/include/generated", "/arch/*/include/generated",
    "*.o", "*.ko", "*.cmd", "*.a", "/vmlinux", "/source", "/Documentation/output",
)  # fmt: skip
"""What a build in the sources leaves, with which make refuses to build outside of them."""

_TRIAL = "trial"
"""Directories in which a series is tried on sources: this, and the number of the process."""

_COMPILED = (".o", ".ko", ".cmd", ".a")

_BASE = "refs/tags/lab-base"
"""The sources as given, in a repository of the lab's own."""


class Checkout:
    """The lab's copy of the sources in `source`; only one process at a time may work in it."""

    def __init__(self, source: Path) -> None:
        self.source = source
        key = hashlib.sha256(str(source).encode()).hexdigest()[:16]
        # Made by prepare(), which holds the lock: another process may be removing it.
        self.directory = dirs.cache("linux") / key
        self.tree = self.directory / "source"
        self.lock = dirs.cache("linux") / f"{key}.lock"

    @contextlib.contextmanager
    def held(self, progress: Progress) -> Iterator[None]:
        """Work in the checkout alone; another process may be compiling there for an hour."""

        def waiting(_lock: Path) -> None:
            progress("wait for another lab, which works on the same sources")

        with lock.held(self.lock, deadline=make.DEADLINE, on_wait=waiting):
            yield

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

    def has(self, commit: str) -> bool:
        """Whether the git tree has a commit."""
        try:
            git(self.source, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
        except HostError:
            return False
        return True

    def check(self, rev: str) -> None:
        """Raise UsageError for a commit that is not there, and for what are no sources."""
        if self.is_git:
            self.commit(rev or "HEAD")
        elif rev:
            raise UsageError(f"{self.source} is no git tree", hint="leave out --rev")
        elif not self.source.is_file() and not (self.source / "Kbuild").is_file():
            raise UsageError(f"{self.source}: no sources of a kernel, Kbuild is missing")

    def identity(self, rev: str) -> str:
        """What the sources are: git's tree, or what tells files apart by size and time."""
        self.check(rev)
        if self.is_git:
            return git(self.source, "rev-parse", f"{self.commit(rev)}^{{tree}}")
        if self.source.is_file():
            return _stamp(self.source)
        whole = hashlib.sha256()
        for stamp in sorted(map(_stamp, _sources(self.source))):
            whole.update(stamp.encode(errors="surrogateescape") + b"\n")
        return whole.hexdigest()

    def prepare(
        self, rev: str, progress: Progress, patches: Sequence[Mail]
    ) -> tuple[str, AppliedSeries | None]:
        """Lay out the sources with the patches on them; the caller holds the lock.

        Returns the commit that the patches are on, '' if git knows nothing of the sources (to tell
        it of 80,000 files takes half a minute, and nobody needs it without patches), and what came
        of the patches.  Raises SeriesRejection when they do not fit.
        """
        self.directory.mkdir(mode=0o700, exist_ok=True)
        _sweep(dirs.cache("linux"), _TRIAL)
        base = self._base(rev, progress, patched=bool(patches))
        if not base:
            return "", None
        applied = None
        if patches:
            progress("apply the patches")
            repository = self.source if self.is_git else self.tree
            files = {file for mail in patches for file in mail.files}
            with _place(self.directory / "scratch") as place:
                applied = Scratch.of_commit(place, repository, base, files, keep=True).apply(
                    patches
                )
        self._go(applied.commit if applied else base, progress)
        return base, applied

    def try_out(self, rev: str, patches: Sequence[Mail], progress: Progress) -> AppliedSeries:
        """Apply patches to what they touch of the sources, in seconds, leaving nothing behind.

        Raises SeriesRejection when they do not fit, UsageError when there are no sources.
        """
        files = {file for mail in patches for file in mail.files}
        progress("look for what the patches touch")
        with _place(dirs.cache("linux") / f"{_TRIAL}-{os.getpid()}") as directory:
            if self.is_git:
                commit = self.commit(rev)
                scratch = Scratch.of_commit(directory, self.source, commit, files, keep=False)
                return scratch.apply(patches)
            if self.source.is_file():
                excerpt.from_tar(self.source, files, directory)
            else:
                excerpt.from_directory(self.source, files, directory)
            progress("try the patches")
            return Scratch.of_files(directory).apply(patches)

    def remove(self) -> None:
        """Remove the copy, and what was built in it.  The caller holds the lock."""
        shutil.rmtree(self.directory, ignore_errors=True)
        if self.is_git:
            git(self.source, "worktree", "prune")

    def _base(self, rev: str, progress: Progress, *, patched: bool) -> str:
        """The commit of the sources as given; '' if git knows nothing of them and need not."""
        if self.is_git:
            return self.commit(rev)
        if self.source.is_file():
            self._unpack(progress)
        known = (self.tree / ".git").exists()
        if self.source.is_dir() and not (known or patched):
            progress("copy the sources")
            self._copy()
        if not (known or patched):
            return ""
        if self.source.is_dir():
            return self._read_directory(progress)
        return self._read_tree(progress)

    def _go(self, commit: str, progress: Progress) -> None:
        """Let the tree be that commit; only files that differ are written."""
        if (self.tree / ".git").exists():
            # That of a `git am` that a lab of old left.
            with contextlib.suppress(HostError):
                git(self.tree, "am", "--quit")
            git(self.tree, "checkout", "--quiet", "--force", "--detach", commit)
            git(self.tree, "clean", "-ffdxq")
            return
        progress("check out the sources")
        git(self.source, "worktree", "prune")
        git(self.source, "worktree", "add", "--force", "--detach", self.tree, commit)

    def _unpack(self, progress: Progress) -> None:
        mark = self.directory / "unpacked"
        stamp = _stamp(self.source)
        if mark.exists() and mark.read_text() == stamp:
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

        By content, and without the files' times, which may be older than what was compiled.
        """
        self.tree.mkdir(exist_ok=True)
        excluded = [f"--exclude={pattern}" for pattern in _LEFT_BY_BUILDS]
        argv = ["rsync", "-rlp", "--checksum", "--delete", *excluded]
        run([*argv, f"{self.source}/", self.tree], deadline=600)

    def _read_tree(self, progress: Progress) -> str:
        """The commit of what was unpacked; made when it is first asked for."""
        with contextlib.suppress(HostError):
            return git(self.tree, "rev-parse", "--verify", "--quiet", _BASE)
        progress("tell git of the sources")
        git(self.tree, "init", "--quiet")
        git(self.tree, "add", "--all", "--force")
        git(self.tree, "commit", "--quiet", "--allow-empty", "--message=the sources as given")
        git(self.tree, "update-ref", _BASE, "HEAD")
        return git(self.tree, "rev-parse", "HEAD")

    def _read_directory(self, progress: Progress) -> str:
        """The commit of a directory as it is now, made without touching the patched copy of it."""
        progress("tell git of the sources")
        new = not (self.tree / ".git").exists()
        if new:
            self.tree.mkdir(exist_ok=True)
            git(self.tree, "init", "--quiet")
        own = {
            "GIT_DIR": str(self.tree / ".git"),
            "GIT_WORK_TREE": str(self.source),
            # One of its own, that knows the times of the directory's files.
            "GIT_INDEX_FILE": str(self.tree / ".git/lab-sources"),
        }
        left = [f":(exclude,glob){one}" for pattern in _LEFT_BY_BUILDS for one in _globs(pattern)]
        git(self.source, "add", "--all", "--force", "--", ".", *left, env=own)
        tree = git(self.source, "write-tree", env=own)
        base = git(self.tree, "commit-tree", "-m", "the sources as given", tree)
        git(self.tree, "update-ref", _BASE, base)
        if new and any(path.name != ".git" for path in self.tree.iterdir()):
            # Copied before, and compiled: git is told that it knows these files.
            git(self.tree, "update-ref", "HEAD", base)
            git(self.tree, "reset", "--quiet")
        return base


@contextlib.contextmanager
def _place(directory: Path) -> Iterator[Path]:
    """An empty directory that is gone afterwards, as is what a killed lab left of its like."""
    _sweep(directory.parent, directory.name.partition("-")[0])
    directory.mkdir()
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _sweep(parent: Path, name: str) -> None:
    """Remove the directories `name`, and `name-PID` of processes that have ended: those of a lab
    that was killed, and those that could not be removed."""
    for left in parent.glob(f"{name}*"):
        pid = left.name.partition("-")[2]
        if not (pid and Path("/proc", pid).exists() and int(pid) != os.getpid()):
            shutil.rmtree(left, ignore_errors=True)


def _sources(directory: Path) -> Iterator[Path]:
    for place, directories, files in walk(directory):
        if ".git" in directories:
            directories.remove(".git")
        yield from (Path(place, file) for file in files if not file.endswith(_COMPILED))


def _globs(pattern: str) -> tuple[str, str]:
    """A pattern of rsync as git has it: for what it names, and for all below."""
    name = pattern.removeprefix("/") if pattern.startswith("/") else f"**/{pattern}"
    return name, f"{name}/**"


def _stamp(file: Path) -> str:
    status = file.lstat()
    return f"{file} {status.st_size} {status.st_mtime_ns}"
