# SPDX-License-Identifier: GPL-2.0-or-later
"""The worker as a unit of systemd: of the system for root, else of the user."""

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.artifacts.depot import VARIABLE as DEPOT
from lab.errors import HostError
from lab.host import dirs
from lab.host.command import run
from lab.results.store.database import VARIABLE as STORE

NAME = "lab-worker.service"
ENVIRONMENT = "worker.env"
_DEADLINE = 60.0


@dataclass(frozen=True)
class UnitPlaces:
    """Where a unit belongs."""

    unit: Path
    environment: Path
    target: str
    systemctl: tuple[str, ...]


def places(*, root: bool) -> UnitPlaces:
    """Those of the system, or of this user."""
    if root:
        place = Path("/etc/systemd/system") / NAME
        return UnitPlaces(
            place, Path("/etc/lab") / ENVIRONMENT, "multi-user.target", ("systemctl",)
        )
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return UnitPlaces(
        home / "systemd/user" / NAME, dirs.config(ENVIRONMENT), "default.target",
        ("systemctl", "--user"),
    )  # fmt: skip


def unit(command: Sequence[str], where: UnitPlaces) -> str:
    """The text of a unit that runs a command."""
    # systemd expands % and $ in a command line (systemd.service(5), COMMAND LINES).
    words = shlex.join(command).replace("%", "%%").replace("$", "$$")
    text = Path(__file__).with_name(NAME).read_text()
    for key, value in (
        ("command", words), ("environment", str(where.environment)), ("target", where.target),
    ):  # fmt: skip
        text = text.replace(f"@{key}@", value)
    return text


def install(options: Sequence[str], say: Callable[[str], None]) -> None:
    """Write the unit of `lab worker OPTIONS`, with the store and the depot of this environment, and
    start it; what is as it should be is left alone.  Raises HostError."""
    where = places(root=os.geteuid() == 0)
    command = [sys.executable, "-m", "lab", "worker", *options]
    kept = {name: value for name in (STORE, DEPOT) if (value := os.environ.get(name))}
    said = "".join(f'{name}="{value}"\n' for name, value in kept.items())
    # The store's URL may have a password.
    changed = write(where.environment, said, 0o600, say)
    changed |= write(where.unit, unit(command, where), 0o644, say)
    if changed:
        run([*where.systemctl, "daemon-reload"], deadline=_DEADLINE)
        run([*where.systemctl, "enable", NAME], deadline=_DEADLINE)
        run([*where.systemctl, "restart", NAME], deadline=_DEADLINE)
        say(f"{NAME}: enabled and started")
    if os.geteuid() != 0:
        _linger(say)


def remove(say: Callable[[str], None]) -> None:
    """Stop the unit and remove it.  Raises HostError."""
    where = places(root=os.geteuid() == 0)
    if where.unit.exists():
        run([*where.systemctl, "disable", "--now", NAME], deadline=200.0)
        where.unit.unlink()
        run([*where.systemctl, "daemon-reload"], deadline=_DEADLINE)
        say(f"{where.unit}: removed")
    if where.environment.exists():
        where.environment.unlink()
        say(f"{where.environment}: removed")


def write(path: Path, text: str, mode: int, say: Callable[[str], None]) -> bool:
    """Have a file say something; whether it had to be changed.  Raises HostError."""
    try:
        if path.is_file() and path.read_text() == text:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        new.touch(mode)
        new.write_text(text)
        new.replace(path)
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}") from error
    say(f"{path}: written")
    return True


def _linger(say: Callable[[str], None]) -> None:
    """Let the user's units run while nobody is logged in."""
    name = Path("/var/lib/systemd/linger") / os.environ.get("USER", "")
    if name.is_file():
        return
    run(["loginctl", "enable-linger"], deadline=_DEADLINE)
    say("runs while nobody is logged in: loginctl enable-linger")
