# SPDX-License-Identifier: GPL-2.0-or-later
"""A run of conformance on the terminal: its matrix, and the differences side by side."""

from __future__ import annotations

from contextlib import AbstractContextManager

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.cli.show.copy_faults import watching_verdicts
from lab.copy.contract import Ruling
from lab.suites.conformance.matrix import CaseRuling, RuleDifference, Situation
from lab.suites.conformance.options import ConformanceOptions
from lab.suites.conformance.report import Conformance
from lab.suites.conformance.run import QUIRKS
from lab.suites.copy_faults.acts import registry
from lab.suites.copy_faults.case import CaseResult
from lab.suites.watch import Watcher


def watched(_options: ConformanceOptions) -> AbstractContextManager[Watcher[CaseResult]]:
    """Show a run, all paths as one."""
    return watching_verdicts()


def show(done: Conformance, _options: ConformanceOptions) -> None:
    """What each path came to, where it differs, and what became of that."""
    if not done.reports:
        return
    console = Console(highlight=False)
    for report in done.reports:
        if report.not_supported:
            console.print(
                f"{report.path.name} on {report.path.ref}: not supported: {report.not_supported}",
                style="yellow",
            )
    console.print(_matrix(done))
    console.print()
    found = done.differences()
    for difference in found:
        console.print(_side_by_side(done, difference))
        console.print()
    new = done.new()
    known = len(found) - len(new)
    console.print(
        f"{len(new)} new {_plural(new)}, {known} known {'quirk' if known == 1 else 'quirks'}; "
        f"{sum(len(report.cases) for report in done.reports)} cases in {done.seconds:.1f} s"
    )
    for report in done.reports:
        where = f"{report.path.name} on {report.path.ref} of {report.profile.name}"
        console.print(f"  {where}: run {report.run}", soft_wrap=True)
    last = done.reports[-1]
    qemu = last.qemu.partition(" (")[0]
    console.print(f"kernel {last.kernel}, QEMU {qemu}, {last.accelerator.upper()}")
    if new:
        console.print(f"proposed quirks: {done.directory / QUIRKS}", soft_wrap=True)
    console.print(f"evidence: {done.directory}", soft_wrap=True)


def _plural(found: list[RuleDifference]) -> str:
    return "difference" if len(found) == 1 else "differences"


def _matrix(done: Conformance) -> Table:
    """Situations by paths; a cell has the rules that are violated there, or kept otherwise than
    the reference keeps them."""
    cells = done.matrix()
    differing: dict[tuple[str, Situation], list[str]] = {}
    for each in done.differences():
        differing.setdefault((each.path, each.situation), []).append(each.rule)
    situations = dict.fromkeys(situation for rows in cells.values() for situation in rows)
    table = Table("situation", *cells, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for situation in sorted(situations, key=_order):
        row = (
            _cell(rows.get(situation), differing.get((path, situation), []))
            for path, rows in cells.items()
        )
        table.add_row(str(situation), *row)
    return table


def _order(situation: Situation) -> tuple[int, int]:
    """By action, and then as a copy comes to the stages."""
    stages, actions = list(type(situation.stage)), registry.actions()
    return actions.index(situation.action), stages.index(situation.stage)


def _cell(row: dict[str, CaseRuling] | None, differing: list[str]) -> Text:
    if row is None:
        return Text("·", "dim")
    broken = [rule for rule, ruled in row.items() if ruled.ruling is Ruling.VIOLATED]
    if not broken and not differing:
        return Text("holds", "green")
    return Text(" ".join(dict.fromkeys([*broken, *differing])), "bold red")


def _side_by_side(done: Conformance, found: RuleDifference) -> Table:
    """A difference: what the path did, and what the reference did."""
    quirk = done.quirk(found)
    state = Text("known quirk", "yellow") if quirk else Text("new", "bold red")
    title = Text.assemble((found.rule, "bold"), f" when {found.situation}: ", state)
    table = Table(found.path, done.reference, title=title, title_justify="left", width=80)
    table.columns[0].ratio = table.columns[1].ratio = 1
    table.add_row(_words(found.here), _words(found.reference))
    if quirk:
        table.caption = quirk.consequence
    return table


_STYLES = {Ruling.VIOLATED: "red", Ruling.FELL_BACK: "yellow"}


def _words(ruled: CaseRuling | None) -> Text:
    if ruled is None:
        return Text("never comes into this situation", "dim")
    style = _STYLES.get(ruled.ruling, "green")
    return Text.assemble(
        (str(ruled.ruling), style), f": {ruled.evidence}\n", (f"lab replay {ruled.case}", "dim")
    )
