# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab dump|drgn|gdb`: a guest's memory in a file, what its kernel says there, and a debugger."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab.cli.guest import Json, Name, complete_guest
from lab.cli.replay import complete_run
from lab.cli.terminal import phases, print_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from drgn import Program

    from lab.inside.find import KernelCore
    from lab.results.dumps import DumpNote

Symbols = Annotated[
    Path | None,
    typer.Option(
        "--symbols",
        help="Directory with the kernel's vmlinux and modules that have debugging "
        "information; default: the kernel's tree, or Debian's package, which is fetched.",
    ),
]


def complete_kernel(incomplete: str) -> list[str]:
    """Guests and runs that start with `incomplete`."""
    return [*complete_guest(incomplete), *complete_run(incomplete)]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(dump)
    app.command()(drgn)
    app.command()(gdb)


def dump(
    name: Name,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="File; default: one in dumps/ in the state directory."),
    ] = None,
    json: Json = False,
) -> None:
    """Write a guest's memory into a file; a request may be held, and the guest goes on.

    `lab drgn FILE` looks into it.
    """
    from datetime import UTC, datetime

    from lab.errors import UsageError
    from lab.guest import guests
    from lab.host import dirs, settings
    from lab.inside.dump import take
    from lab.results.dumps import SUFFIX

    guest = guests.attach(name)
    target = to or dirs.state("dumps") / f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}{SUFFIX}"
    if not target.name.endswith(SUFFIX) or not target.parent.is_dir():
        raise UsageError(f"{target}: not a file for a dump", hint=f"a name that ends in {SUFFIX}")
    try:
        with phases() as progress:
            note = take(guest, target, settings.load().dumps, progress)
    finally:
        guest.close()
    if json:
        print_json({"file": str(target), **note.model_dump()})
        return
    print(f"{note.memory >> 20} MiB of memory in {note.size >> 20} MiB, {note.seconds:.1f} s")
    print(target)


def drgn(
    what: Annotated[
        str,
        typer.Argument(
            metavar="RUN[:CASE]|NAME|FILE",
            help="A run, or a case of it, that left a dump; a guest, of which one is taken; or a "
            "dump.",
            autocompletion=complete_kernel,
        ),
    ],
    report: Annotated[
        bool, typer.Option("--report", help="Print who waits for what, instead of a shell.")
    ] = False,
    symbols: Symbols = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Look into a guest's kernel with drgn: in a run's dump, or in a guest as it is now.

    A guest goes on, also one with a request that is held.
    """
    from lab.inside.find import dump_named, opened

    found = dump_named(what)
    with phases() as progress:
        if found and (report or json):
            _print_report(*found, symbols, progress, json=json)
            return
    with ExitStack() as stack:
        with phases() as progress:
            kernel = stack.enter_context(opened(what, found, symbols, progress))
            progress("read the symbols")
            program = _program(kernel)
        if report or json:
            _report(program, json=json)
        else:
            _shell(program, what)


def gdb(
    name: Name,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[-- WORDS]", help="More words for gdb.")
    ] = None,
    symbols: Symbols = None,
) -> None:
    """Debug a guest's kernel with gdb; the guest stands still until gdb lets it go on.

    Refused while a request is held: `lab drgn NAME` looks into the kernel then.
    """
    from lab.guest import guests
    from lab.inside.debugging import debug

    guest = guests.attach(name)
    try:
        with phases() as progress:
            session = debug(guest, symbols, progress)
        raise typer.Exit(session(words or []))
    finally:
        guest.close()


def _print_report(
    file: Path,
    note: DumpNote | None,
    given: Path | None,
    progress: Callable[[str], None],
    *,
    json: bool,
) -> None:
    """The report of a dump, made if there is none yet, or if symbols were given."""
    from lab.inside.evidence import make_report
    from lab.inside.find import symbols_of
    from lab.results.dumps import document_beside, report_of

    if given or not (text := report_of(file)):
        where = symbols_of(note, given, progress)
        progress("read the kernel's memory")
        text = make_report(file, where)
    print(document_beside(file).read_text() if json else text, end="")


def _program(kernel: KernelCore) -> Program:
    from lab.inside.program import opened

    return opened(kernel.core, kernel.symbols)


def _report(program: Program, *, json: bool) -> None:
    from lab.inside.report.make import report
    from lab.inside.report.text import lines

    made = report(program)
    if json:
        print_json(made.document())
    else:
        print("\n".join(lines(made)))


def _shell(program: Program, what: str) -> None:
    """drgn's own, with one name more."""
    from drgn.cli import run_interactive

    def banner(usual: str) -> str:
        return f"{what}\n{usual}\n>>> report()  # who waits for what"

    def names(usual: dict[str, Any]) -> dict[str, Any]:
        return {**usual, "report": lambda: _report(program, json=False)}

    run_interactive(program, banner_func=banner, globals_func=names)
