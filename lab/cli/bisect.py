# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab bisect`: the first commit of a kernel on which a run fails."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab.cli.qemu import Qemu, qemu_named
from lab.cli.terminal import print_json, print_table, timed_lines

if TYPE_CHECKING:
    from lab.farm.bisect import Bisection, BisectionResult, Step, Try


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(bisect)


def bisect(
    good: Annotated[str, typer.Option(metavar="COMMIT", help="One on which the run is well.")],
    bad: Annotated[str, typer.Option(metavar="COMMIT", help="A later one on which it fails.")],
    run: Annotated[
        str,
        typer.Option(
            metavar="'PROFILE SUITE -- ARGS'",
            help="What tells them apart, as `lab run` takes it.",
        ),
    ],
    qemu: Qemu = None,
    source: Annotated[Path, typer.Option(help="The kernel's git tree.")] = Path(),
    anew: Annotated[
        bool, typer.Option("--anew", help="Forget what the same command has found before.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find the first commit on which a run fails.

    It drives `git bisect`, with kernels that it builds and boots.

    A commit that does not build or boot is skipped.

    Interrupted, the same command goes on.

    Exit status 1 if the first bad commit may be one of several.
    """
    from lab.farm.bisect import bisect as find

    say = timed_lines()
    asked, attempt = _asked(source, good, bad, run, qemu, say)
    if anew:
        asked.write([])
    elif known := len(asked.steps):
        say(f"{known} commits have been tried before")
    found = find(asked, attempt, lambda step, left: say(_line(step, left)))
    if json:
        print_json(_document(asked, found))
    else:
        _print(asked, found)
    raise typer.Exit(int(len(found.suspects) != 1))


def _asked(
    source: Path, good: str, bad: str, run: str, qemu: str | None, say: Any
) -> tuple[Bisection, Try]:
    """The bisection, and what judges its commits, with all that they name looked up."""
    import hashlib
    import shlex

    from lab.artifacts.kernels.checkout import Checkout
    from lab.errors import UsageError
    from lab.farm.bisect import Bisection
    from lab.farm.trial import CommitTrial
    from lab.host import dirs
    from lab.suites.request import Request
    from lab.suites.suite import find

    try:
        words = shlex.split(run)
    except ValueError as error:
        raise UsageError(f"--run {run}: {error}") from error
    if len(words) < 2 or words[2:3] not in ([], ["--"]):
        raise UsageError(
            f"--run {run!r}: expected PROFILE SUITE -- ARGS",
            hint="such as --run 'nvme-copy copy-faults -- --points write:2 --actions eio'",
        )
    profile, suite, args = words[0], words[1], tuple(words[3:])
    find(suite)
    request = Request(profile, suite, args, qemu=qemu_named(qemu))
    request.load()
    checkout = Checkout(source.absolute())
    if not checkout.is_git:
        raise UsageError(f"{source}: no git tree", hint="--source DIR, where .git is")
    ends = [checkout.commit(good), checkout.commit(bad)]
    within = [request.qemu] if request.qemu else []
    key = hashlib.sha256(
        "\0".join([str(checkout.source), *ends, *words, *within]).encode()
    ).hexdigest()
    place = dirs.state("bisects", key[:12])
    bisection = Bisection(checkout.source, ends[0], ends[1], place)
    return bisection, CommitTrial(checkout.source, request, place, say)


def _line(step: Step, left: int) -> str:
    why = f": {step.tried.why}" if step.tried.why else ""
    return f"{step.commit[:12]} {step.subject}: {step.tried.verdict}{why}; {left} left"


def _described(asked: Bisection, commit: str) -> dict[str, str]:
    from lab.artifacts.kernels.git import git

    words = git(asked.source, "show", "--no-patch", "--format=%an <%ae>%n%aI%n%s", commit)
    author, date, subject = words.split("\n", 2)
    return {"commit": commit, "subject": subject, "author": author, "date": date}


def _document(asked: Bisection, found: BisectionResult) -> dict[str, Any]:
    return {
        "source": str(asked.source),
        "good": asked.good,
        "bad": asked.bad,
        "suspects": [_described(asked, commit) for commit in found.suspects],
        "steps": [
            {
                "commit": step.commit, "subject": step.subject, "verdict": step.tried.verdict,
                "run": step.tried.run or None, "why": step.tried.why or None,
            }
            for step in found.steps
        ],
    }  # fmt: skip


def _print(asked: Bisection, found: BisectionResult) -> None:
    rows = [
        (step.commit[:12], step.tried.verdict, step.tried.run or "-", step.subject)
        for step in found.steps
    ]
    print_table(("COMMIT", "", "RUN", "SUBJECT"), rows)
    print()
    if len(found.suspects) != 1:
        print(f"the first bad commit is one of these {len(found.suspects)}; others were skipped:")
    for commit in found.suspects:
        about = _described(asked, commit)
        first = "first bad commit: " if len(found.suspects) == 1 else "  "
        print(f"{first}{about['commit']} {about['subject']}")
        print(f"    {about['author']}, {about['date']}")
