"""git, as the lab uses it: on the sources of kernels, never asking, never running hooks."""

from pathlib import Path

from lab.host.command import run

DEADLINE = 600.0
"""Seconds for one command; a kernel's work tree is 80,000 files."""

_SETTINGS = {
    "user.name": "lab",
    "user.email": "lab@localhost",
    "commit.gpgSign": "false",
    "core.hooksPath": "/dev/null",
    # In the lab's own repositories speed counts, not size.
    "core.looseCompression": "0",
    "gc.auto": "0",
    "advice.detachedHead": "false",
}


def git(tree: Path, *words: str | Path, hint: str = "") -> str:
    """Run git in a work tree and return what it printed.  Raises HostError."""
    settings = [word for item in _SETTINGS.items() for word in ("-c", "=".join(item))]
    return run(["git", "-C", tree, *settings, *words], deadline=DEADLINE, hint=hint).strip()
