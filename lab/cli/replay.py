# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab replay`: a case of an earlier run, or of a bundle, again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli.kernel import Kernel
from lab.cli.qemu import Qemu
from lab.cli.terminal import print_error, print_json, warn

if TYPE_CHECKING:
    from lab.suites.copy_faults.replay import Replay


def complete_run(incomplete: str) -> list[str]:
    """The runs that start with `incomplete`, for the shell's completion."""
    from lab.results import runs

    return [f"{each}:" for each in runs.ids() if each.startswith(incomplete)]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(replay)


def replay(
    case: Annotated[
        str,
        typer.Argument(
            metavar="RUN[:CASE] | BUNDLE[:CASE]",
            help="The case by its number in the run, NUMBER.min for its minimised form, or "
            "POINT,ACTION of a sweep; of crash-states a failure by its number.  Of a run alone, "
            "the case that failed; of a bundle alone, "
            "the one that it was made for.",
            autocompletion=complete_run,
        ),
    ],
    times: Annotated[int, typer.Option("--times", min=1, max=10_000, help="How often.")] = 1,
    kernel: Kernel = None,
    qemu: Qemu = None,
    json: Annotated[bool, typer.Option("--json", help="Print the new run's JSON.")] = False,
) -> None:
    """Carry out a case of a run, or of a bundle, again.

    Exit status 1 if it does not come to the same.
    """
    from lab.results.runs import spelled_out
    from lab.suites.crash_states.replay import is_of

    case = spelled_out(case)
    if is_of(case):
        raise typer.Exit(_replay_state(case, times, kernel, qemu, json=json))
    from lab.suites.copy_faults.bundle import bundle_named, case_in
    from lab.suites.copy_faults.elsewhere import on
    from lab.suites.copy_faults.replay import carry_out_again, case_of

    if found := bundle_named(case):
        recorded = case_in(*found, kernel, qemu)
    else:
        recorded = case_of(case)
        recorded = replace(recorded, profile=on(recorded.profile, kernel, qemu))
    from lab.cli.show.copy_faults import watching_verdicts
    from lab.guest import registry

    registry.sweep()
    with watching_verdicts() as watch:
        done = carry_out_again(recorded, times, watch)
    for difference in done.differences():
        warn(f"not as it was recorded: {difference}")
    if json:
        print_json(done.document())
    else:
        _print(done)
    if done.report.error:
        print_error(done.report.error)
    raise typer.Exit(done.exit_status)


def _replay_state(
    case: str, times: int, kernel: str | None, qemu: str | None, *, json: bool
) -> int:
    """A failure of crash-states, which needs a guest only where a file system is to be asked."""
    from lab.cli.terminal import timed_lines
    from lab.guest import registry
    from lab.suites.crash_states.replay import carry_out_again

    registry.sweep()
    done = carry_out_again(case, times, timed_lines(), kernel, qemu)
    if json:
        print_json(done.document())
        return done.exit_status
    operations = ", ".join(map(str, done.operations))
    print(f"{done.id}, operations {operations}; {done.loss}")
    print(f"recorded: {' '.join(done.rules)}")
    for number, (rules, same) in enumerate(zip(done.found, done.same, strict=True), 1):
        print(f"{number}: {' '.join(rules) or 'holds'}: {'same' if same else 'NOT the same'}")
    for line in done.evidence:
        print(f"    {line}")
    print(f"{sum(done.same)} of {times} came to the same")
    return done.exit_status


def _print(done: Replay) -> None:
    from rich.console import Console

    from lab.cli.show.copy_faults import print_summary
    from lab.suites.copy_faults.replay import CaseOutcome

    recorded = done.recorded
    print(f"{recorded.id}, {recorded.setup.name}, recorded: {recorded.outcome}")
    for case, same in zip(done.report.cases, done.same, strict=True):
        print(f"{case.number}: {CaseOutcome.of(case.result)}: {'same' if same else 'NOT the same'}")
    print(f"{sum(done.same)} of {done.times} came to the same")
    print_summary(Console(highlight=False), done.report)
