# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab qemu`: add, list and remove QEMUs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli.image import All, Json
from lab.cli.terminal import phases, print_json, print_table

if TYPE_CHECKING:
    from lab.artifacts.qemu import NamedQemu

app = typer.Typer(help="Add, list and remove QEMUs.", no_args_is_help=True)


def complete_qemu(incomplete: str) -> list[str]:
    """The names of QEMUs that start with `incomplete`, for the shell's completion."""
    from lab.artifacts.qemus.names import BOOK

    return [name for name in BOOK.known() if name.startswith(incomplete)]


MaybeName = Annotated[str | None, typer.Argument(metavar="[NAME]", autocompletion=complete_qemu)]
Qemu = Annotated[
    str | None,
    typer.Option(
        "--qemu",
        help="Run in this QEMU: a name, a program, a build tree, or a package; see `lab qemu`.",
        autocompletion=complete_qemu,
    ),
]


def qemu_named(qemu: str | None) -> str:
    """What --qemu names, as it is kept; '' for nothing.  Told before anything slow: a name that
    means nothing."""
    if qemu is None:
        return ""
    from lab.artifacts.qemus.names import qemu_name

    return qemu_name(qemu)


@app.command("list")
def list_qemus(json: Json = False) -> None:
    """List the QEMUs that can be named, and what they are."""
    from lab.artifacts.qemu import listing

    qemus = listing()
    if json:
        print_json([_document(qemu) for qemu in qemus])
        return
    print_table(
        ("NAME", "SOURCE", "VERSION", "UNPACKED (UTC)", "SIZE"), [_row(one) for one in qemus]
    )


@app.command("add")
def add_qemu(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is to be called.")],
    package: Annotated[
        str | None, typer.Option(metavar="NAME[/SUITE][=VERSION]", help="A package of Debian.")
    ] = None,
    tree: Annotated[Path | None, typer.Option(help="A tree in which QEMU was built.")] = None,
    path: Annotated[
        Path | None, typer.Option(help="The program, or a script that runs it.")
    ] = None,
) -> None:
    """Give a QEMU a name, unpack it if it is a package, and try it.

    Nothing is installed, and nobody needs to be root.
    """
    from lab.artifacts.qemu import add
    from lab.artifacts.qemus import names
    from lab.artifacts.qemus.source import QemuProgram, QemuSource, QemuTree
    from lab.errors import UsageError
    from lab.host import dirs

    if sum(one is not None for one in (package, tree, path)) != 1:
        raise UsageError("say one of --package, --tree and --path")
    source: QemuSource
    if package:
        source = names.package(package)
    elif tree:
        source = QemuTree(tree=dirs.expanded(tree).absolute())
    else:
        assert path is not None
        source = QemuProgram(path=dirs.expanded(path).absolute())
    with phases() as progress:
        version = add(name, source, progress)
    print(f"{name}: {source.summary}, QEMU {version}")


@app.command("rm")
def remove_qemus(name: MaybeName = None, everything: All = False) -> None:
    """Remove what is unpacked of a QEMU, and its name if it was added."""
    from lab.artifacts.qemu import listing, remove
    from lab.errors import UsageError

    if (name is None) != everything:
        raise UsageError("give either a name or --all")
    doomed = [one for one in listing() if everything or name in (one.name, one.source)]
    if not doomed:
        raise UsageError(f"no QEMU {name}", hint="see `lab qemu list`")
    for qemu in doomed:
        for artifact in remove(qemu):
            print(f"removed {artifact.kind} {artifact.name} {artifact.key}")


def _row(qemu: NamedQemu) -> tuple[str, str, str, str, str]:
    version = qemu.version.partition(" (")[0] or "-"
    if not qemu.made:
        return qemu.name, qemu.source, version, "-", "-"
    size = sum(manifest.size for _, manifest in qemu.made)
    when = qemu.made[0][1].built.replace("T", " ")[:16]
    return qemu.name or "-", qemu.source, version, when, f"{size / 1e6:.0f} MB"


def _document(qemu: NamedQemu) -> dict[str, object]:
    from dataclasses import asdict

    built = [{**asdict(manifest), "path": str(artifact.path)} for artifact, manifest in qemu.made]
    return {
        "name": qemu.name, "source": qemu.source, "version": qemu.version or None, "built": built,
    }  # fmt: skip
