# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab results export|bundle|html|matrix|notify`: runs and nights for others."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab.cli.compare import Run, comparison_of, complete_run
from lab.cli.terminal import phases, print_json

if TYPE_CHECKING:
    from lab.results.coverage import CoverageReport


class ExportFormat(StrEnum):
    """What `lab results export` writes."""

    KCIDB = "kcidb"
    MARKDOWN = "markdown"
    JUNIT = "junit"
    MAIL = "mail"
    TABLES = "tables"


def register(app: typer.Typer) -> None:
    """Add the commands to `lab results`."""
    app.command()(export)
    app.command()(bundle)
    app.command()(html)
    app.command()(matrix)
    app.command()(notify)


def export(
    run: Run = "latest",
    to: Annotated[ExportFormat, typer.Option("--to", help="The format.")] = ExportFormat.KCIDB,
    base: Annotated[
        str | None,
        typer.Option(help="The baseline, for markdown.", autocompletion=complete_run),
    ] = None,
    origin: Annotated[str, typer.Option(help="Who reports, for kcidb.")] = "lab",
) -> None:
    """Print a run for others.

    As KCIDB's JSON, a summary in Markdown for a mailing list, or JUnit XML for CI systems.  As a
    mail: what copies came to, findings first; as tables: by path, fault and rule, in Markdown; of a
    night both on all kernels but the baseline, unless that is the only one.
    """
    from lab.errors import UsageError

    if to in (ExportFormat.MAIL, ExportFormat.TABLES):
        from lab.results.mail import mail
        from lab.results.tables import tables

        documents, covered = _judging(run)
        print(mail(documents, covered) if to is ExportFormat.MAIL else tables(documents), end="")
        return

    if to is ExportFormat.MARKDOWN:
        from lab.results.markdown import summary
        from lab.results.tester import tester

        if base is None:
            raise UsageError("a summary compares", hint="name the baseline: --base RUN")
        print(summary(comparison_of(base, run), tester()), end="")
        return
    from lab.results.kcidb import report
    from lab.results.store.database import session
    from lab.results.store.feed import feed
    from lab.results.store.query import cases_of, run_named

    with session() as store:
        feed(store)
        found = run_named(store, run)
        if to is ExportFormat.KCIDB:
            print_json(report([found], cases_of(store, [found.id]), origin))
            return
    from lab.results.cases import read_all
    from lab.results.junit import xml
    from lab.results.runs import load

    document = load(found.id).document
    said = {"plant": found.plant, "error": found.error}
    cases = read_all(found.id, document)
    print(xml(found.id, found.suite, cases, said), end="")


def _judging(name: str) -> tuple[list[dict[str, Any]], list[CoverageReport]]:
    """A run that judges copies, or those of a night but for its baseline: their documents, with the
    name that the kernel was asked for by, and what of the kernels they executed."""
    import json

    from lab.errors import UsageError
    from lab.farm.hosts.evidence import runs_named
    from lab.results import coverage, runs
    from lab.results.store.database import session
    from lab.results.store.feed import feed

    with session() as store:
        feed(store)
        wanted = runs_named(store, name, baseline=False)
    found = map(runs.load, wanted)
    documents = [
        past.document | {"kernel_name": json.loads(past.profile)["kernel"]}
        for past in found
        if "path" in past.document
    ]
    if not documents:
        raise UsageError(f"{name} has no run that judges copies", hint="such as copy-faults")
    counted = filter(None, (coverage.of_run(runs.directory(run)) for run in wanted))
    return documents, coverage.merged(counted)


def bundle(
    case: Annotated[
        str,
        typer.Argument(
            metavar="RUN[:CASE]",
            help="The run, and the case that matters in it: default, the only one that failed.",
            autocompletion=complete_run,
        ),
    ],
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="Where to; default: lab-RUN.tar.gz, here."),
    ] = None,
) -> None:
    """Put a run into one file, to look at and replay.

    Elsewhere `lab replay` takes it as it is.
    """
    from lab.cli.terminal import warn
    from lab.results.runs import spelled_out
    from lab.suites.copy_faults.bundle import make_bundle

    run, _, wanted = spelled_out(case).partition(":")
    target = file or Path(f"lab-{run}.tar.gz")
    with phases() as progress:
        progress("pack the run's evidence")
        lacking = make_bundle(run, wanted, target)
    for what in lacking:
        warn(f"left out {what}")
    print(f"{target} {target.stat().st_size / 1e6:.1f} MB")


def html(
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="[DIRECTORY]", help="Where to; default: in the state directory."),
    ] = None,
    run: Annotated[
        list[str] | None,
        typer.Option("--run", help="Pages of these runs too.", autocompletion=complete_run),
    ] = None,
) -> None:
    """Write pages of the last night and its runs.

    Without any night, of the latest run.  Prints the index, and the address of each run's page that
    --run asks for.
    """
    from lab.farm.outcome import last_night
    from lab.host import dirs
    from lab.results.runs import LATEST
    from lab.results.site.write import write
    from lab.results.store.database import session
    from lab.results.store.feed import feed
    from lab.results.store.query import run_named
    from lab.results.store.schema import RunRow

    with phases() as progress, session() as store:
        progress("take in new runs")
        feed(store)
        progress("write the pages")
        night = last_night(store)
        ids = [job.run_id for job in night.row.jobs if job.run_id] if night else []
        runs = [store.get(RunRow, each) for each in ids]
        wanted = run or ([] if night else [LATEST])
        asked = [run_named(store, name) for name in wanted]
        # What was asked for comes first, then the latest.
        found = asked + [one for one in reversed(runs) if one]
        index = write(store, directory or dirs.state("site"), night, found)
        print(index)
        for one in asked:
            print((index.parent / f"{one.id}.html").absolute().as_uri())


def matrix(
    night: Annotated[
        str, typer.Argument(metavar="[NIGHT]", help="Its id or its beginning; default: the last.")
    ] = "",
    known: Annotated[
        Path | None,
        typer.Option(help="A YAML list that explains failures, each with `says` and `because`."),
    ] = None,
    plan: Annotated[
        str, typer.Option(help="How to call the plan on the page; default: its name.")
    ] = "",
) -> None:
    """Print a night as a page: for each profile its QEMUs by kernels, in Markdown."""
    from lab.farm import page
    from lab.results.store.database import session
    from lab.results.store.query import night_named

    explained = page.known(known) if known else []
    with session() as store:
        found = night_named(store, night)
        print(page.page(store, found, explained, plan or f"{found.plan}.yaml"), end="")


def notify(
    night: Annotated[
        str, typer.Argument(metavar="[NIGHT]", help="Its id or its beginning; default: the last.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the mail and the JSON, and send nothing.")
    ] = False,
) -> None:
    """Tell of a night again, by the mail and the webhook of the settings.

    Exit status 3 if somebody could not be told.
    """
    from lab.errors import UsageError
    from lab.farm.notify.send import notices
    from lab.farm.outcome import with_before
    from lab.host.settings import load
    from lab.results import letter
    from lab.results.store.database import session
    from lab.results.store.query import night_named

    settings = load().notify
    with session() as store:
        found = with_before(store, night_named(store, night))
        if dry_run:
            print(f"Subject: {letter.subject(found)}\n\n{letter.text(found)}")
            print_json(letter.document(found))
            return
        if not (settings.mail or settings.webhook):
            raise UsageError(
                "nobody is to be told of a night",
                hint="set notify.mail or notify.webhook in config.yaml: docs/nightly.md",
            )
        from lab.cli.nightly import tell

        raise typer.Exit(0 if tell(notices(settings), found) else 3)
