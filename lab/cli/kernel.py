"""`lab kernel`: list, build and remove kernels."""

from __future__ import annotations

import typer

from lab.cli.image import All, Json, MaybeName, Name, print_artifacts, remove_artifacts
from lab.cli.terminal import phases

app = typer.Typer(help="List, build and remove kernels.", no_args_is_help=True)


@app.command("list")
def list_kernels(json: Json = False) -> None:
    """List the kernels that can be named, and what is built of them."""
    from lab.build.kernel import PACKAGED

    print_artifacts("kernel", PACKAGED, json=json)


@app.command("build")
def build_kernel(name: Name) -> None:
    """Build a kernel's artifacts now instead of at their first use."""
    from lab.build.kernel import ensure_kernel

    with phases() as progress:
        kernel = ensure_kernel(name, progress)
    print(kernel.vmlinux.parent)


@app.command("rm")
def remove_kernels(name: MaybeName = None, everything: All = False) -> None:
    """Remove what is built of a kernel; guests that run it are not disturbed."""
    remove_artifacts(("kernel", "initramfs"), name, everything=everything)
