# SPDX-License-Identifier: GPL-2.0-or-later
"""The suites fsx and fsstress: the lab's own exerciser with its model on the host, and programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.suites.suite import Late, Suite

if TYPE_CHECKING:
    from lab.suites.request import Assignment


def _fsx(asked: Assignment[Any], watcher: Any) -> Any:
    """The program of a tree that is named, or else the lab's own exerciser."""
    module = "programs" if asked.request.tree else "run"
    return Late(f"lab.suites.fsx.{module}:run")(asked, watcher)


FSX = Suite(
    name="fsx",
    does="random operations on a file, compared with a model of it",
    parse=Late("lab.suites.fsx.options:parse"),
    run=_fsx,
    tree=True,
)

FSSTRESS = Suite(
    name="fsstress",
    does="random operations on many files",
    parse=Late("lab.suites.fsx.options:parse"),
    run=Late("lab.suites.fsx.programs:run"),
    tree=True,
)
