# SPDX-License-Identifier: GPL-2.0-or-later
"""git, as the lab uses it: on the sources of kernels, never asking, never running hooks.

What a user has set for git, in files or in the environment, is for the user's own work and changes
nothing here: neither what is applied nor how git words what the lab reads.
"""

import functools
import os
from collections.abc import Mapping
from pathlib import Path

from lab.errors import HostError
from lab.host.command import DETAIL_LINES, run

DEADLINE = 600.0
"""Seconds for one command; a kernel's work tree is 80,000 files."""

_SETTINGS = {
    "user.name": "lab",
    "user.email": "lab@localhost",
    # A repository has settings too: these go before them, and before those of no file.
    "am.keepcr": "true",
    "am.messageId": "false",
    "am.threeWay": "false",
    "apply.ignoreWhitespace": "no",
    "apply.whitespace": "nowarn",
    "color.ui": "false",
    "commit.gpgSign": "false",
    "core.attributesFile": "/dev/null",
    "core.autocrlf": "false",
    "core.eol": "lf",
    "core.excludesFile": "/dev/null",
    "core.fsmonitor": "false",
    "core.hooksPath": "/dev/null",
    "core.quotePath": "false",
    "core.safecrlf": "false",
    "core.whitespace": "",
    "diff.mnemonicPrefix": "false",
    "diff.noprefix": "false",
    "i18n.commitEncoding": "UTF-8",
    "i18n.logOutputEncoding": "UTF-8",
    "init.defaultBranch": "lab",
    "init.templateDir": "",
    "log.showSignature": "false",
    "mailinfo.quotedCr": "nowarn",
    "mailinfo.scissors": "false",
    "maintenance.auto": "false",
    "merge.conflictStyle": "merge",
    "rerere.enabled": "false",
    "submodule.recurse": "false",
    "tag.gpgSign": "false",
    # In the lab's own repositories speed counts, not size.
    "core.looseCompression": "0",
    "gc.auto": "0",
    "advice.detachedHead": "false",
}


def git(
    tree: Path,
    *words: str | Path,
    hint: str = "",
    env: Mapping[str, str] | None = None,
    lines: int = DETAIL_LINES,
) -> str:
    """Run git in a work tree and return what it printed.

    `env` is for git's own variables.  Raises HostError with the last `lines` that git said.
    """
    ours = {**_environment(), **(env or {})}
    argv = ["git", "-C", tree, *words]
    return run(argv, deadline=DEADLINE, hint=hint, env=ours, lines=lines).strip()


def _environment() -> dict[str, str]:
    """Ours without what is the user's of git, and in English."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") and name != "LANGUAGE"
    }
    # A tree of somebody else's is refused unless this user said that it is safe.
    settings = [*_SETTINGS.items(), *(("safe.directory", place) for place in _trusted())]
    for number, (key, value) in enumerate(settings):
        ours |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return {
        **ours,
        "GIT_CONFIG_COUNT": str(len(settings)),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }


@functools.cache
def _trusted() -> tuple[str, ...]:
    """The directories of others whose repositories this user trusts."""
    try:
        asked = ["git", "config", "--get-all", "safe.directory"]
        return tuple(run(asked, deadline=10, cwd=Path("/")).split("\n")[:-1])
    except HostError:
        return ()
