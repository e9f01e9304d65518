# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab host`: hosts that become workers in one command, over SSH."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli.image import Json
from lab.cli.terminal import print_json, print_table, timed_lines

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer(help="Make hosts workers, over SSH.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="What it is called.")]


@app.command("add")
def add(
    name: Name,
    address: Annotated[str, typer.Argument(metavar="USER@HOST[:PORT]")],
    guests: Annotated[int, typer.Option("--guests", min=1, max=256, help="Runs at a time.")] = 1,
    labels: Annotated[str, typer.Option("--labels", help="What plans may ask of it.")] = "",
    wheel: Annotated[
        Path | None,
        typer.Option("--wheel", help="The lab to install; default: this checkout's, built now."),
    ] = None,
) -> None:
    """Make a Debian or Ubuntu host a worker of the store that LAB_STORE names.

    Run again it changes what is otherwise by now, and nothing else.
    """
    from lab.farm.hosts import machines, queue
    from lab.farm.hosts.machines import BOOK, RemoteHost

    queue.require()
    wanted = RemoteHost(
        address=address, guests=guests, labels=tuple(filter(None, labels.split(",")))
    )
    if name in BOOK.added() and BOOK.added()[name].address != address:
        BOOK.check_free(name)
    say = timed_lines()
    given = {key: os.environ[key] for key in ("LAB_STORE", "LAB_ARTIFACTS") if key in os.environ}
    with machines.connected(address) as remote:
        machines.install_packages(remote, say)
        machines.install_lab(remote, wheel or _wheel(say), say)
        machines.install_unit(remote, name, wanted, given, say)
    BOOK.forget(name)
    BOOK.add(name, wanted)
    print(f"{name} is a worker: lab host check {name}")


@app.command("list")
def list_hosts(json: Json = False) -> None:
    """List the hosts that were added here, and the workers that the store knows."""
    from lab.farm.hosts.machines import BOOK
    from lab.farm.hosts.roster import present
    from lab.results.store.database import session, shared

    added, workers = BOOK.added(), {}
    if shared():
        with session() as store:
            workers = {row.name: row for row in present(store)}
    rows = []
    for name in sorted({*added, *workers}):
        row = workers.get(name)
        rows.append(
            {
                "name": name,
                "address": added[name].address if name in added else None,
                "works": row is not None,
                "guests": row.guests if row else added[name].guests,
                "labels": row.offer["labels"] if row else list(added[name].labels),
                "version": row.version if row else None,
                "says": row.says or None if row else None,
            }
        )
    if json:
        print_json(rows)
    elif not rows:
        print("no hosts; make one a worker with: lab host add NAME USER@HOST")
    else:
        print_table(
            ("name", "address", "guests", "labels", "state"),
            [
                (
                    str(row["name"]), str(row["address"] or "-"), str(row["guests"]),
                    ",".join(row["labels"]) or "-",  # type: ignore[arg-type]
                    str(row["says"] or "works") if row["works"] else "not there",
                )
                for row in rows
            ],
        )  # fmt: skip


@app.command("check")
def check(name: Name) -> None:
    """Have a host's own `lab doctor` say what it can do, and whether its worker runs."""
    from lab.farm.hosts import machines

    with machines.connected(_known(name)) as remote:
        print(remote.run(f"{machines.LAB} doctor || true", 300), end="")
        system = "" if remote.run("id -u").strip() == "0" else " --user"
        said = remote.run(f"systemctl{system} is-active lab-worker.service || true").strip()
    print(f"lab-worker.service: {said}")
    if said != "active":
        from lab.errors import HostError

        raise HostError(
            f"{name}: its worker does not run: {said}",
            hint=f"on it: journalctl{system} --unit lab-worker.service",
        )


@app.command("remove")
def remove(name: Name) -> None:
    """End a host's worker, and remove the lab from it; its images and runs stay."""
    from lab.farm.hosts import machines
    from lab.farm.hosts.machines import BOOK

    with machines.connected(_known(name)) as remote:
        machines.remove(remote, timed_lines())
    BOOK.forget(name)
    print(f"{name} is no worker any more")


def _known(name: str) -> str:
    """The address of a host that was added."""
    from lab.errors import UsageError
    from lab.farm.hosts.machines import BOOK

    added = BOOK.added()
    if name not in added:
        raise UsageError(f"no host {name}", hint=f"known: {', '.join(added) or 'none'}")
    return added[name].address


def _wheel(say: Callable[[str], None]) -> Path:
    """The wheel of this checkout, built now."""
    import lab
    from lab.errors import UsageError
    from lab.host import dirs
    from lab.host.command import run

    source = Path(lab.__file__).parent.parent
    if not (source / "pyproject.toml").is_file():
        raise UsageError("this lab is no checkout", hint="--wheel FILE, the one that it came from")
    say("build the wheel")
    target = dirs.cache("wheels")
    for old in target.glob("*.whl"):
        old.unlink()
    run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", f"--wheel-dir={target}",
         source], deadline=600, env={**os.environ, "SOURCE_DATE_EPOCH": "315532800"})  # fmt: skip
    (made,) = target.glob("*.whl")
    return made
