# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab kernel`: add, list, build and remove kernels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli.image import All, Json
from lab.cli.terminal import phases, print_json, print_table, warn

if TYPE_CHECKING:
    from lab.artifacts.kernel import NamedKernel

app = typer.Typer(help="Add, list, build and remove kernels.", no_args_is_help=True)


def complete_kernel(incomplete: str) -> list[str]:
    """The names of kernels that start with `incomplete`, for the shell's completion."""
    from lab.artifacts.kernels.names import BOOK

    return [name for name in BOOK.known() if name.startswith(incomplete)]


Name = Annotated[
    str,
    typer.Argument(
        metavar="KERNEL",
        help="A name, a path (a built tree, an image, a .deb), or a package such as "
        "linux-image-amd64/sid.",
        autocompletion=complete_kernel,
    ),
]
MaybeName = Annotated[str | None, typer.Argument(metavar="[NAME]", autocompletion=complete_kernel)]
Kernel = Annotated[
    str | None,
    typer.Option(
        "--kernel",
        help="Boot this kernel: a name, a path (a built tree, an image, a .deb), or a package; "
        "see `lab kernel`.",
        autocompletion=complete_kernel,
    ),
]


def kernel_named(kernel: str | None) -> str:
    """What --kernel names, as it is kept; '' for nothing.  Told before anything slow: a name that
    means nothing."""
    if kernel is None:
        return ""
    from lab.artifacts.kernels.names import canonical, resolve

    reference = canonical(kernel)
    for remark in resolve(reference).remarks():
        warn(remark)
    return reference


@app.command("list")
def list_kernels(json: Json = False) -> None:
    """List the kernels that can be named, and what is built of them."""
    from lab.artifacts.kernel import listing

    kernels = listing()
    if json:
        print_json([_document(kernel) for kernel in kernels])
        return
    print_table(
        ("NAME", "SOURCE", "RELEASE", "BUILT (UTC)", "SIZE"), [_row(one) for one in kernels]
    )


@app.command("add")
def add_kernel(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is to be called.")],
    package: Annotated[
        str | None, typer.Option(metavar="NAME[/SUITE]", help="A package of Debian.")
    ] = None,
    tree: Annotated[
        Path | None,
        typer.Option(readable=False, help="A tree with a built kernel, or a directory with one."),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(readable=False, help="A bzImage, vmlinux, unified kernel image or .deb."),
    ] = None,
    modules: Annotated[
        Path | None,
        typer.Option(
            readable=False,
            help="Its modules, such as /lib/modules/6.12.0; default: those beside it.",
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(readable=False, help="Sources to build: a git tree, a directory, a tar file."),
    ] = None,
    rev: Annotated[str, typer.Option(help="Commit of the git tree; default: its work tree.")] = "",
    series: Annotated[
        list[str] | None,
        typer.Option(help="Patches: mailbox, directory or message-id; can be repeated."),
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option(help="debug, kasan, kmemleak, lockdep, ubsan or a file; can be repeated."),
    ] = None,
) -> None:
    """Give a kernel a name.  It is built at its first use, or by `lab kernel build`."""
    from lab.artifacts.kernels.ask import KernelArguments, define
    from lab.errors import HostError

    asked = KernelArguments(package, tree, image, modules, source, rev, series or [], config or [])
    if series:
        with phases() as progress:
            made, told = define(name, asked, progress)
    else:
        made, told = define(name, asked, lambda _phase: None)
    print(f"{name}: {made.summary}")
    for line in told:
        print(f"  {line}")
    for remark in made.remarks():
        warn(remark)
    try:
        made.check_host()
    except HostError as error:
        warn(str(error))


@app.command("build")
def build_kernel(kernel: Name) -> None:
    """Build a kernel's artifacts now instead of at their first use."""
    from lab.artifacts.kernel import ensure_kernel, refused
    from lab.artifacts.kernels.names import canonical, resolve

    for remark in resolve(canonical(kernel)).remarks():
        warn(remark)
    with phases() as progress:
        built = ensure_kernel(canonical(kernel), progress)
    for option in refused(built):
        warn(f"the sources refuse {option}")
    print(f"{built.release} {built.vmlinux.parent}")


@app.command("rm")
def remove_kernels(name: MaybeName = None, everything: All = False) -> None:
    """Remove what is built of a kernel, and its name if it was added."""
    from lab.artifacts.kernel import listing, remove
    from lab.errors import UsageError

    if (name is None) != everything:
        raise UsageError("give either a name or --all")
    doomed = [one for one in listing() if everything or name in (one.name, one.source)]
    if not doomed:
        raise UsageError(f"no kernel {name}", hint="see `lab kernel list`")
    for kernel in doomed:
        with phases() as progress:
            removed = remove(kernel, progress)
        for artifact in removed:
            print(f"removed {artifact.kind} {artifact.name} {artifact.key}")


def _row(kernel: NamedKernel) -> tuple[str, str, str, str, str]:
    if not kernel.made:
        return kernel.name, kernel.source, "-", "not built", "-"
    _, manifest = kernel.made[0]
    built = manifest.built.replace("T", " ")[:16]
    size = sum(each.size for _, each in kernel.made)
    release = manifest.versions["release"]
    return kernel.name or "-", kernel.source, release, built, f"{size / 1e6:.0f} MB"


def _document(kernel: NamedKernel) -> dict[str, object]:
    from dataclasses import asdict

    built = [{**asdict(manifest), "path": str(one.path)} for one, manifest in kernel.made]
    return {"name": kernel.name, "source": kernel.source, "built": built}
