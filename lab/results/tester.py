# SPDX-License-Identifier: GPL-2.0-or-later
"""Who tests: the name and address for a `Tested-by:`."""

from lab.errors import HostError
from lab.host.command import run


def tester() -> str:
    """What git knows of the user, as NAME <ADDRESS>; a blank to be filled in if nothing."""
    try:
        name = run(["git", "config", "user.name"], deadline=10).strip()
        address = run(["git", "config", "user.email"], deadline=10).strip()
    except HostError:
        return "NAME <ADDRESS>"
    return f"{name} <{address}>"
