# SPDX-License-Identifier: GPL-2.0-or-later
"""A judged case of a past run on the terminal: what came of it, its rules, its sector map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from lab.cli.show.dumps import print_dumps
from lab.results.rules import WORDS, offending
from lab.results.sectors.grid import NEIGHBOUR, SOURCE
from lab.results.sectors.model import FOREIGN, NEW, OLD, TORN, UNREADABLE, sector_map
from lab.results.sectors.text import BESIDE, MARKS, case_map, extents, fault

_COLOURS = {
    NEW: "blue", OLD: "dim", TORN: "bold yellow", FOREIGN: "bold red", UNREADABLE: "bold magenta",
    SOURCE: "cyan", NEIGHBOUR: "dim",
}  # fmt: skip
_STYLES = {MARKS[state]: style for state, style in _COLOURS.items()}
_VERDICTS = {
    "holds": "green", "violated": "bold red", "caught": "yellow", "not exercised": "yellow",
    "fell back": "yellow",
}  # fmt: skip

SHOWN = 6
"""Stretches of sectors that are listed of a rule."""


def print_judged(console: Console, run: str, case: Mapping[str, Any]) -> None:
    """A case by its document."""
    verdict = str(case.get("verdict", ""))
    console.print(
        Text.assemble(
            (f"{run}:{case['number']}", "dim"), f" {case['name']}: ",
            (verdict, _VERDICTS.get(verdict, "bold red")),
        )
    )  # fmt: skip
    for rule, found in case.get("rules", {}).items():
        if found["verdict"] in ("violated", "fell back", "caught"):
            _print_rule(console, rule, found, case)
    told = (case.get("outcome") or {}).get("completion")
    if told:
        error = f", {told['error']}" if told.get("error") else ""
        said = "success" if not told["status"] else f"status {told['status']:#x}{error}"
        console.print(f"the caller was told: {said}")
    if lines := case_map(case):
        console.print(f"\nafter the copy, with {fault(case)}:")
        for line in lines:
            console.print(_coloured(line), no_wrap=True, overflow="crop")
    print_dumps(console, run, str(case["number"]))
    console.print(f"\nagain: lab replay {run}:{case['number']}", soft_wrap=True)


def _print_rule(
    console: Console, rule: str, found: Mapping[str, str], case: Mapping[str, Any]
) -> None:
    style = _VERDICTS[found["verdict"]]
    words = f": {WORDS[rule]}" if rule in WORDS else ""
    console.print(Text.assemble((f"{rule} {found['verdict']}", style), words))
    console.print(Text(f"  {found['evidence']}"))
    seen = sector_map(case)
    told = (case.get("outcome") or {}).get("completion") or {}
    bad = extents(offending(rule, seen, int(told.get("dw0") or 0))) if seen else []
    if bad:
        more = f", and {len(bad) - SHOWN} stretches more" if len(bad) > SHOWN else ""
        console.print(f"  sectors: {', '.join(map(str, bad[:SHOWN]))}{more}")


def _coloured(line: str) -> Text:
    """A line of a map; those around it have no colours."""
    found = Text(line)
    if not line[: BESIDE - 1].strip().isdecimal():
        return found
    for at, mark in enumerate(line[BESIDE:], BESIDE):
        if style := _STYLES.get(mark):
            found.stylize(style, at, at + 1)
    return found
