# SPDX-License-Identifier: GPL-2.0-or-later
"""`git bisect` between two commits, with verdicts that come from elsewhere.

What was found of each commit is written down as it is found, and git's own notes are made of that
each time: a bisection that was interrupted goes on where it was.  The user's work tree, branch and
any bisection of their own are left alone; git's notes lie in a work tree of the lab's, without
files.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import TypeAdapter

from lab.artifacts.kernels.git import git
from lab.errors import HostError, UsageError
from lab.host import lock
from lab.host.dirs import not_writable

_STEPS = "steps.json"


class CommitVerdict(StrEnum):
    """What `git bisect` is told of a commit."""

    GOOD = "good"
    BAD = "bad"
    SKIP = "skip"


@dataclass(frozen=True)
class CommitResult:
    """What came of a commit: the run that says so, '' if there is none, and why it is skipped."""

    verdict: CommitVerdict
    run: str = ""
    why: str = ""


@dataclass(frozen=True)
class Step:
    """A commit that was tried."""

    commit: str
    subject: str
    tried: CommitResult


_STEPS_READER = TypeAdapter(list[Step])


@dataclass(frozen=True)
class BisectionResult:
    """The end of a bisection: the first bad commit, or all that it may be."""

    suspects: list[str]
    steps: list[Step]


@dataclass(frozen=True)
class Bisection:
    """Two commits of a git tree, and the directory that keeps what is found between them."""

    source: Path
    good: str
    bad: str
    place: Path

    @property
    def steps(self) -> list[Step]:
        """What was found so far."""
        try:
            return _STEPS_READER.validate_json((self.place / _STEPS).read_bytes())
        except FileNotFoundError:
            return []

    def write(self, steps: list[Step]) -> None:
        """Replace what was found so far."""
        path = self.place / _STEPS
        new = path.with_suffix(".new")
        try:
            new.write_bytes(_STEPS_READER.dump_json(steps, indent=1))
            new.replace(path)
        except OSError as error:
            raise not_writable(path, error) from error


Try = Callable[[str], CommitResult]
"""Builds a commit and runs it."""

OnStep = Callable[[Step, int], None]
"""Told of each verdict, and how many commits may still be the first bad one."""


def bisect(asked: Bisection, attempt: Try, on_step: OnStep) -> BisectionResult:
    """Find the first bad commit; raises what `attempt` raises, and can then be called again.

    Both ends are tried first: UsageError if the good one is not good, or the bad one not bad.
    HostError when another lab is at it.
    """
    with lock.held(asked.place / "lock", deadline=0):
        book = _Book(asked, attempt)
        between = int(git(asked.source, "rev-list", "--count", f"{asked.good}..{asked.bad}"))
        for commit, expected in ((asked.bad, CommitVerdict.BAD), (asked.good, CommitVerdict.GOOD)):
            step = book.look_up(commit)
            on_step(step, between)
            if step.tried.verdict is not expected:
                raise UsageError(
                    f"{commit[:12]} {step.subject}: expected {expected}, but the verdict is "
                    f"{step.tried.verdict}",
                    hint=step.tried.why or f"lab results show {step.tried.run}",
                )
        with _notes(asked) as tree:
            git(tree, "bisect", "start", "--no-checkout", asked.bad, asked.good)
            while commit := _next(tree):
                step = book.look_up(commit)
                _mark(tree, step)
                on_step(step, len(_suspects(tree)))
            return BisectionResult(_suspects(tree), book.used)


class _Book:
    """The verdicts: those that were written down, and those that have to be found."""

    def __init__(self, asked: Bisection, attempt: Try) -> None:
        self._asked = asked
        self._attempt = attempt
        self._known = {step.commit: step for step in asked.steps}
        self.used: list[Step] = []

    def look_up(self, commit: str) -> Step:
        """What is to be said of a commit; it is tried if that is not known."""
        if commit not in self._known:
            subject = git(self._asked.source, "show", "--no-patch", "--format=%s", commit)
            self._known[commit] = Step(commit, subject, self._attempt(commit))
            self._asked.write(list(self._known.values()))
        self.used.append(self._known[commit])
        return self._known[commit]


@contextmanager
def _notes(asked: Bisection) -> Iterator[Path]:
    """A work tree of the user's repository, without files, while git bisects in it.

    The state of a bisection and its refs belong to one work tree (git-worktree(1), REFS).
    """
    tree = asked.place / "tree"
    # A lab that was killed has left its own.
    shutil.rmtree(tree, ignore_errors=True)
    words = ["worktree", "add", "--force", "--no-checkout", "--detach"]
    git(asked.source, *words, tree, asked.good)
    try:
        yield tree
    finally:
        git(asked.source, "worktree", "remove", "--force", tree)


def _next(tree: Path) -> str:
    """The commit that git wants to know of; '' at the end."""
    left = set(_suspects(tree)) - {git(tree, "rev-parse", "refs/bisect/bad")}
    skipped = git(tree, "for-each-ref", "--format=%(objectname)", "refs/bisect/skip-*")
    return git(tree, "rev-parse", "BISECT_HEAD") if left - set(skipped.split()) else ""


def _mark(tree: Path, step: Step) -> None:
    try:
        git(tree, "bisect", step.tried.verdict, step.commit)
    except HostError:
        # git calls it a failure when only skipped commits are left.
        if _next(tree):
            raise


def _suspects(tree: Path) -> list[str]:
    """The commits that may be the first bad one, newest first."""
    goods = "--glob=refs/bisect/good-*"
    return git(tree, "rev-list", "refs/bisect/bad", "--not", goods).split()
