# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of a script in the manner of cryptsetup's, carried out by a real bash."""

import subprocess
from pathlib import Path

import pytest

from lab.errors import UsageError
from lab.results.cases import CaseStatus
from lab.suites.cryptsetup.options import parse, select
from lab.suites.cryptsetup.parts import parts
from lab.suites.cryptsetup.run import judge

SCRIPT = """\
#!/bin/bash
DEV=none

clean() { rm -f state; DEV=""; }
fail()
{
\t[ -n "$1" ] && echo "$1"
\techo "FAILED backtrace:"
\twhile caller $frame; do ((frame++)); done
\texit 2
}
prepare() # size
{
\tclean
\tDEV=dev$1
\techo "$1" > state
}
check() # what
{
\techo -n "[$1 on $DEV]"
\t[ "$1" = bad ] && fail "it is bad"
\techo "[OK]"
}
sum() { echo -n "[sum $DEV]"; }

[ "$MISSING" ] && { echo "no tool"; exit 77; }
SALT=abc
echo "First tests:"
prepare 1
check a
check bad
if [ "$NEW" ]; then
\techo "New ones:"
\tprepare 2
\tcheck b # with a comment
\tif [ "$NEWER" ]; then
\t\tcheck c
\tfi
\tSALT=$SALT-new
\tcheck $SALT
fi
echo "Still of the first:"
check d
for each in 1 2; do
\techo "[again $each $SALT]"
done
echo -n "A line of its own:"
if [ -z "$OLD" ]; then
\tprepare 3
\tX=$(cat state)
\tsum
\techo -n "[$X]"
\techo "[OK]"
else
\techo "[N/A]"
fi
echo -n "The last: "
cat <<EOF
here $DEV
EOF
clean
exit 0
"""

NAMES = [
    "check.1", "check.2", "check.3", "check.4", "check.5", "check.6", "a-line-of-its-own",
    "the-last",
]  # fmt: skip


def carry_out(tmp_path: Path, name: str, **env: str) -> tuple[int, str]:
    (tmp_path / "script").write_text({part.name: part.text for part in parts(SCRIPT)}[name])
    done = subprocess.run(
        ["bash", "script"], cwd=tmp_path, env={"PATH": "/usr/bin:/bin", **env}, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_a_part_is_a_call_that_says_something_or_what_stands_under_a_heading() -> None:
    assert [part.name for part in parts(SCRIPT)] == NAMES


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("check.1", "First tests:\n[a on dev1][OK]\n"),
        ("check.3", "New ones:\n[b on dev2][OK]\n"),
        ("check.5", "New ones:\n[abc-new on dev2][OK]\n"),
        # What an `if` above made need not be there.
        ("check.6", "Still of the first:\n[d on dev1][OK]\n[again 1 abc]\n[again 2 abc]\n"),
        ("a-line-of-its-own", "A line of its own:[sum dev3][3][OK]\n"),
        ("the-last", "The last: here dev1\n"),
    ],
)
def test_a_part_does_nothing_else_but_prepares_for_itself(
    tmp_path: Path, name: str, said: str
) -> None:
    assert carry_out(tmp_path, name, NEW="yes") == (0, said)
    assert not (tmp_path / "state").exists(), "it cleans up"


def test_the_backtrace_has_the_lines_of_the_script(tmp_path: Path) -> None:
    status, said = carry_out(tmp_path, "check.2")
    line = SCRIPT.splitlines().index("check bad") + 1
    assert status == 2
    assert f"\n{line} main script\n" in said
    assert judge("s:check.2", status, said).reason == "exit status 2: [bad on dev1]it is bad"


def test_a_part_that_is_not_reached_says_behind_what_it_is(tmp_path: Path) -> None:
    status, said = carry_out(tmp_path, "check.4", NEW="yes")
    assert (status, said.splitlines()[-1]) == (77, 'behind if [ "$NEWER" ]; then')
    ended = judge("s:check.4", status, said)
    assert (ended.status, ended.reason) == (CaseStatus.NOTRUN, 'behind if [ "$NEWER" ]; then')


def test_checks_of_the_surroundings_are_in_all_parts(tmp_path: Path) -> None:
    assert [carry_out(tmp_path, name, MISSING="yes") for name in NAMES] == [(77, "no tool\n")] * 8


def test_what_the_script_finds_not_applicable_is_not_run(tmp_path: Path) -> None:
    status, said = carry_out(tmp_path, "a-line-of-its-own", OLD="yes")
    assert judge("s:a-line-of-its-own", status, said).status is CaseStatus.NOTRUN
    assert judge("s", 0, said).status is CaseStatus.PASS, "the script as a whole goes on behind it"


def test_a_script_of_another_form_has_no_parts() -> None:
    assert parts("#!/bin/bash\n./a || exit 1\n") == []


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/Makefile").write_text("TESTS = a-test b-test\n")
    for name, text in (("a-test", SCRIPT), ("b-test", "#!/bin/sh\nexit 0\n")):
        (tmp_path / "tests" / name).write_text(text)
        (tmp_path / "tests" / name).chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("a-test:*", NAMES),
        ("a-test:check", NAMES[:6]),
        ("*:check.[12]", NAMES[:2]),
        ("a-test:the-last", ["the-last"]),
    ],
)
def test_parts_are_asked_for_by_name(tree: Path, asked: str, meant: list[str]) -> None:
    chosen = select(tree, parse([asked, "b-test"]))
    assert list(chosen) == [*(f"a-test:{name}" for name in meant), "b-test"]
    assert chosen["b-test"] == ""
    assert all(chosen[f"a-test:{name}"] for name in meant)


@pytest.mark.parametrize("asked", ["b-test:*", "a-test:nothing"])
def test_a_part_that_is_not_there_is_told(tree: Path, asked: str) -> None:
    with pytest.raises(UsageError, match="cryptsetup: no part"):
        select(tree, parse([asked]))
