# SPDX-License-Identifier: GPL-2.0-or-later
"""`git bisect`, run for real in small repositories; what is found of a commit is read from it."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.errors import HostError, UsageError
from lab.farm.bisect import Bisection, CommitResult, CommitVerdict, Step, bisect
from tests.unit.builders import git
from tests.unit.test_cases_cli import lab

WELL, BROKEN, STUCK = "well", "broken", "does not compile"
_VERDICT = {WELL: CommitVerdict.GOOD, BROKEN: CommitVerdict.BAD, STUCK: CommitVerdict.SKIP}


class Killed(BaseException):
    """The lab is gone."""


class History:
    """A repository whose commits each say how they are."""

    def __init__(self, place: Path, states: list[str]) -> None:
        self.tree = place / "linux"
        self.tree.mkdir()
        git(self.tree, "init", "--quiet")
        self.commits = [self._commit(number, state) for number, state in enumerate(states)]
        self.tried: list[str] = []
        self.kills: set[int] = set()

    def _commit(self, number: int, state: str) -> str:
        (self.tree / "state").write_text(f"{number} {state}\n")
        git(self.tree, "add", "state")
        git(self.tree, "commit", "--quiet", f"--message=change {number}")
        return git(self.tree, "rev-parse", "HEAD")

    def attempt(self, commit: str) -> CommitResult:
        self.tried.append(commit)
        if len(self.tried) in self.kills:
            raise Killed
        state = git(self.tree, "show", f"{commit}:state").split(maxsplit=1)[1]
        return CommitResult(_VERDICT[state], "" if state == STUCK else f"run of {commit}", state)

    def bisection(self, good: int = 0, bad: int = -1) -> Bisection:
        place = self.tree.parent / "state"
        place.mkdir(exist_ok=True)
        return Bisection(self.tree, self.commits[good], self.commits[bad], place)

    def find(self, good: int = 0, bad: int = -1) -> list[int]:
        """The numbers of the suspects."""
        found = bisect(self.bisection(good, bad), self.attempt, quiet)
        return sorted(self.commits.index(commit) for commit in found.suspects)

    def everything(self) -> list[str]:
        """All that a person has in the tree: files, branch, refs, state of git."""
        files = [f"{path} {path.read_bytes()!r}" for path in self.tree.iterdir() if path.is_file()]
        left = sorted(path.name for path in (self.tree / ".git").iterdir())
        # How git keeps its refs and lists work trees is its own affair; what they say comes below.
        left = [name for name in left if name not in ("worktrees", "packed-refs")]
        told = [["status", "--short"], ["branch", "--list"], ["for-each-ref"], ["worktree", "list"]]
        return [*sorted(files), *left, *(git(self.tree, *words) for words in told)]


def quiet(_step: Step, _left: int) -> None:
    pass


@settings(max_examples=8)
@given(data=st.data())
def test_the_first_bad_commit_is_found_in_few_steps_whatever_happens(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    count = data.draw(st.integers(2, 24))
    first = data.draw(st.integers(1, count - 1))
    history = History(
        tmp_path_factory.mktemp("history"), [WELL] * first + [BROKEN] * (count - first)
    )
    history.kills = data.draw(st.sets(st.integers(1, 12), max_size=4))
    before = history.everything()
    while True:
        try:
            assert history.find() == [first]
            break
        except Killed:
            assert history.everything() == before
    assert history.everything() == before
    # Both ends, and a step for each halving; what was known is not tried again.
    assert len(history.tried) <= 2 + count.bit_length() + len(history.kills)
    tried = len(history.tried)
    assert history.find() == [first]
    assert len(history.tried) == tried


def test_what_does_not_build_is_skipped(tmp_path: Path) -> None:
    history = History(tmp_path, [WELL, WELL, STUCK, WELL, BROKEN, STUCK, BROKEN])
    assert history.find() == [4]


def test_where_everything_in_between_is_skipped_there_are_several_suspects(tmp_path: Path) -> None:
    history = History(tmp_path, [WELL, STUCK, STUCK, STUCK, BROKEN])
    before = history.everything()
    assert history.find() == [1, 2, 3, 4]
    assert len(history.tried) == 5
    assert history.everything() == before


def test_neighbours_need_no_step(tmp_path: Path) -> None:
    history = History(tmp_path, [WELL, BROKEN])
    assert history.find() == [1]
    assert len(history.tried) == 2


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ([WELL, WELL, WELL], "change 2: expected bad, but the verdict is good"),
        ([BROKEN, BROKEN, BROKEN], "change 0: expected good, but the verdict is bad"),
        ([WELL, WELL, STUCK], "change 2: expected bad, but the verdict is skip.*does not compile"),
    ],
)
def test_ends_that_are_not_what_they_are_said_to_be(
    tmp_path: Path, states: list[str], said: str
) -> None:
    history = History(tmp_path, states)
    with pytest.raises(UsageError, match=said):
        history.find()


def test_a_bisection_of_the_users_own_is_left_alone(tmp_path: Path) -> None:
    history = History(tmp_path, [WELL] * 5 + [BROKEN] * 4)
    git(history.tree, "bisect", "start", history.commits[-1], history.commits[0])
    (history.tree / "notes.txt").write_text("not committed")
    before = history.everything()
    where = git(history.tree, "rev-parse", "HEAD")
    assert history.find() == [5]
    assert history.everything() == before
    assert git(history.tree, "rev-parse", "HEAD") == where
    assert "git bisect start" in git(history.tree, "bisect", "log")


def test_a_work_tree_that_a_killed_lab_left(tmp_path: Path) -> None:
    history = History(tmp_path, [WELL] * 3 + [BROKEN] * 4)
    left = history.bisection().place / "tree"
    git(history.tree, "worktree", "add", "--no-checkout", "--detach", str(left), "HEAD")
    git(left, "bisect", "start", "--no-checkout", history.commits[5], history.commits[1])
    assert history.find() == [3]
    assert not left.exists()


def test_histories_that_parted(tmp_path: Path) -> None:
    """The good commit lies on a branch beside the bad one: git tries where they parted."""
    history = History(tmp_path, [WELL, WELL, BROKEN, BROKEN])
    git(history.tree, "checkout", "--quiet", "-b", "side", history.commits[0])
    history.commits.append(history._commit(9, WELL))
    assert history.find(good=-1, bad=3) == [2]


def test_two_labs_at_one_bisection(tmp_path: Path) -> None:
    history = History(tmp_path, [WELL, BROKEN])

    def nested(_commit: str) -> CommitResult:
        with pytest.raises(HostError, match="holds the lock"):
            history.find()
        raise Killed

    with pytest.raises(Killed):
        bisect(history.bisection(), nested, quiet)


@pytest.mark.parametrize(
    ("bad", "run", "said"),
    [
        ("HEAD", "nvme-copy", "expected PROFILE SUITE -- ARGS"),
        ("HEAD", "nvme-copy copy-faults --points x", "expected PROFILE SUITE -- ARGS"),
        ("HEAD", "nvme-copy 'x", "No closing quotation"),
        ("HEAD", "nvme-copy nope", "no suite nope"),
        ("HEAD", "nope copy-faults", "no profile 'nope'"),
        ("v9", "nvme-copy copy-faults", "no commit v9"),
    ],
)
def test_the_command_line_is_looked_up_first(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bad: str,
    run: str,
    said: str,
) -> None:
    tree = History(tmp_path, [WELL, BROKEN]).tree
    words = ["--source", str(tree), "--good", "HEAD~", "--bad", bad, "--run", run]
    assert lab(monkeypatch, "bisect", *words) == 2
    assert said in capsys.readouterr().err
