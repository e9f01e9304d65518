# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab image`: list, build and remove root file systems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli.terminal import phases, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lab.artifacts.cache import Manifest

app = typer.Typer(help="List, build and remove images.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME")]
MaybeName = Annotated[str | None, typer.Argument(metavar="[NAME]")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
All = Annotated[bool, typer.Option("--all", help="Remove all that are built.")]


@app.command("list")
def list_images(json: Json = False) -> None:
    """List the images that can be named, and what is built of them."""
    from lab.artifacts.image import definitions

    print_artifacts("image", definitions(), json=json)


@app.command("build")
def build_image(name: Name) -> None:
    """Build an image now instead of at its first use."""
    from lab.artifacts.image import ensure_image

    with phases() as progress:
        image = ensure_image(name, progress)
    print(image.root)


@app.command("rm")
def remove_images(name: MaybeName = None, everything: All = False) -> None:
    """Remove what is built of an image.

    Guests that run from it are not disturbed.
    """
    remove_artifacts(("image",), name, everything=everything)


def print_artifacts(kind: str, known: Iterable[str], *, json: bool) -> None:
    """List the artifacts of a kind, and the `known` names that have none yet."""
    from dataclasses import asdict

    from lab.artifacts import cache

    built = cache.manifests(kind)
    unbuilt = sorted(set(known) - {artifact.name for artifact, _ in built})
    if json:
        rows = [{**asdict(manifest), "path": str(artifact.path)} for artifact, manifest in built]
        print_json(rows + [{"kind": kind, "name": name, "built": None} for name in unbuilt])
        return
    table = [_row(manifest) for _, manifest in built]
    table += [(name, "-", "not built", "-") for name in unbuilt]
    print_table(("NAME", "KEY", "BUILT (UTC)", "SIZE"), table)


def remove_artifacts(kinds: tuple[str, ...], name: str | None, *, everything: bool) -> None:
    """Remove artifacts by name, or all of `kinds`, and say what was freed.

    Raises UsageError unless exactly one of name and --all is given, or if nothing is built.
    """
    from lab.artifacts import cache
    from lab.errors import UsageError

    if (name is None) != everything:
        raise UsageError("give either a name or --all")
    removed = [one for kind in kinds for one in cache.remove_named(kind, name)]
    if name is not None and not removed:
        raise UsageError(f"nothing is built of {name}", hint=f"see `lab {kinds[0]} list`")
    for artifact in removed:
        print(f"removed {artifact.kind} {artifact.name} {artifact.key}")


def _row(manifest: Manifest) -> tuple[str, str, str, str]:
    built = manifest.built.replace("T", " ")[:16]
    return manifest.name, manifest.key, built, f"{manifest.size / 1e6:.0f} MB"
