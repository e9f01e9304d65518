# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab profile`: list, show and check profiles."""

from __future__ import annotations

from typing import Annotated

import typer

from lab.cli.terminal import print_json, print_table

app = typer.Typer(help="List, show and check profiles.", no_args_is_help=True)


def complete_profile(incomplete: str) -> list[str]:
    """The names of profiles that start with `incomplete`, for the shell's completion."""
    from lab.profile.find import available

    return [name for name in available() if name.startswith(incomplete)]


Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="A profile's name, or a path to one.", autocompletion=complete_profile
    ),
]
Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PROFILES]...",
        help="Names or paths; without any, all that ship.",
        autocompletion=complete_profile,
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Change the profile: machine.memory=4G, 'devices[0].mdts=5'; can be repeated.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("check")
def check_profiles(profiles: Names = None, changes: Changes = None, json: Json = False) -> None:
    """Check profiles.

    Each problem is reported with its file, line and key.
    """
    from dataclasses import asdict

    from lab.profile.check import check

    checked = list(check(profiles or [], changes or []))
    if json:
        print_json([asdict(profile) for profile in checked])
    else:
        for profile in checked:
            for problem in profile.problems:
                typer.echo(str(problem), err=True)
            if not profile.problems:
                typer.echo(f"ok  {profile.name}  {profile.file}")
    if any(profile.problems for profile in checked):
        raise typer.Exit(2)


@app.command("list")
def list_profiles(json: Json = False) -> None:
    """List the profiles that ship, and your own."""
    from dataclasses import asdict

    from lab.profile.summary import summaries

    rows = list(summaries())
    if json:
        print_json([asdict(row) for row in rows])
        return
    cells = [
        (row.name, f"{row.description} ({row.file})" if row.own else row.description)
        for row in rows
    ]
    print_table(("name", "description"), cells)


@app.command("show")
def show_profile(name: Name, changes: Changes = None, json: Json = False) -> None:
    """Show what a guest of this profile is made of, defaults included."""
    from lab.profile.load import load

    profile = load(name, changes or [])
    if json:
        typer.echo(profile.model_dump_json(indent=2))
        return
    from rich.console import Console

    from lab.cli.stack import tree

    Console(highlight=False).print(tree(profile))


@app.command("schema")
def print_schema() -> None:
    """Print the JSON schema of profiles, for editors."""
    from lab.profile.schema import json_schema

    print_json(json_schema())


@app.command("keys")
def show_keys(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[TYPE]",
            help="A type of device or layer, such as dm-thin, or the way to a mapping, such as "
            "nvme.namespaces; without it, all there are.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show the keys of a profile, device or layer.

    With their defaults.
    """
    from dataclasses import asdict

    from lab.errors import UsageError
    from lab.profile.keys import sections

    known = {section.title: section for section in sections()}
    if kind is not None and kind not in known:
        raise UsageError(f"no mapping {kind}", hint=f"there are: {', '.join(known)}")
    chosen = list(known.values()) if kind is None else [known[kind]]
    if json:
        print_json([asdict(section) for section in chosen])
    elif kind is None:
        rows = [
            (each.title, each.help or ", ".join(key.key for key in each.keys)) for each in chosen
        ]
        print_table(("type or key", "what it is"), rows)
    else:
        keys = [(key.key, key.value, key.default or "required", key.help) for key in chosen[0].keys]
        print_table(("key", "value", "default", "what it is"), keys)
