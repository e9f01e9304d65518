# SPDX-License-Identifier: GPL-2.0-or-later
"""The window: runs above, then the one that is chosen, and what happens in it."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.widgets import DataTable, Footer, Header, RichLog, Static

from lab.cli.watching.subject import Watched, WatchedRun
from lab.results.live import LiveEvent, RunFollower, RunState

_POLL = 0.5
"""Seconds between two looks at the files."""
_FAILED = 4
"""Cases that did not pass, the latest ones, that are shown."""
_STYLES = {
    "pass": "green", "fail": "bold red", "hung": "bold red", "crashed": "bold red",
    "notrun": "yellow", "fell back": "yellow", "running": "bold", "failed": "bold red",
    "interrupted": "yellow",
}  # fmt: skip
_SOURCES = {"kernel": "magenta", "oracle": "green", "stepper": "cyan", "qmp": "blue"}


class WatchApp(App[None]):
    """Follows what it is given; it reads, and leaves everything as it is."""

    CSS = """
    #runs { height: auto; max-height: 40%; }
    #state { height: auto; padding: 0 1; }
    #events { height: 1fr; border-top: solid $primary; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("q", "quit", "Leave"),
        ("f", "follow", "Follow the run that goes on"),
    ]

    def __init__(self, subject: Watched) -> None:
        super().__init__()
        self.title = subject.title
        self._subject = subject
        self._rows: list[WatchedRun] = []
        self._followers: dict[str, RunFollower] = {}
        self._chosen = ""
        self._following = True

    def compose(self) -> ComposeResult:
        """The window's parts."""
        yield Header(show_clock=True)
        yield DataTable(id="runs", cursor_type="row")
        yield Static(id="state")
        yield RichLog(id="events", wrap=False, max_lines=500)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        table = self._table
        for column in ("run", "what", "state", "cases"):
            table.add_column(column, key=column)
        self.look()
        self.set_interval(_POLL, self.look)

    @property
    def _table(self) -> DataTable[Text]:
        return self.query_one("#runs", DataTable)

    def look(self) -> None:
        """Read what is new, and show it."""
        self._rows = list(self._subject.rows())
        table = self._table
        for row in self._rows:
            follower = self._follower(row.run)
            new = follower.poll() if follower and not self._over(follower) else []
            cells = _cells(row, follower)
            if row.key not in table.rows:
                table.add_row(*cells.values(), key=row.key)
            for column, cell in cells.items():
                if table.get_cell(row.key, column) != cell:
                    table.update_cell(row.key, column, cell, update_width=True)
            if row.key == self._chosen:
                self._write(new)
        if self._following or not self._chosen:
            self._choose(self._live())
        self._show_state()

    @staticmethod
    def _over(follower: RunFollower) -> bool:
        return follower.state is not RunState.RUNNING

    def _follower(self, run: str) -> RunFollower | None:
        if not run:
            return None
        return self._followers.setdefault(run, RunFollower(run))

    def _live(self) -> str:
        """The run that goes on, or else the last that has begun."""
        begun = [row for row in self._rows if row.run]
        going = [row for row in begun if not self._over(self._followers[row.run])]
        return (going or begun or self._rows)[-1].key if self._rows else ""

    def _choose(self, key: str) -> None:
        """Show the events of a run."""
        if not key or key == self._chosen:
            return
        self._chosen = key
        self.query_one("#events", RichLog).clear()
        place = next(at for at, row in enumerate(self._rows) if row.key == key)
        self._table.move_cursor(row=place)
        if follower := self._chosen_follower():
            self._write(list(follower.events))

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """A run was chosen by hand: it stays."""
        self._following = False
        self._choose(str(event.row_key.value))
        self._show_state()

    def action_follow(self) -> None:
        """Go on with whatever runs."""
        self._following = True
        self.look()

    def _chosen_follower(self) -> RunFollower | None:
        run = next((row.run for row in self._rows if row.key == self._chosen), "")
        return self._followers.get(run)

    def _write(self, events: list[LiveEvent]) -> None:
        log = self.query_one("#events", RichLog)
        for event in events:
            log.write(_line(event))

    def _show_state(self) -> None:
        self.query_one("#state", Static).update(_state(self._chosen_follower()))


def _cells(row: WatchedRun, follower: RunFollower | None) -> dict[str, Text]:
    state = row.state
    what = row.what
    if follower:
        state = state if state in ("done", "failed") else str(follower.state)
        what = what or f"{follower.suite} on {follower.profile}"
    return {
        "run": Text(row.run or "·"),
        "what": Text(what),
        "state": Text(state, _STYLES.get(state, "")),
        "cases": _counted(follower),
    }


def _counted(follower: RunFollower | None) -> Text:
    parts = [
        (f"{count} {status}", _STYLES.get(status, ""))
        for status, count in sorted(follower.counts.items())
    ] if follower else []  # fmt: skip
    return Text(", ").join(Text(words, style) for words, style in parts)


def _state(follower: RunFollower | None) -> Text:
    """The run that is chosen in some lines."""
    if follower is None:
        return Text("not begun yet", "dim")
    said = Text(f"{follower.run}, {follower.last:.0f} s")
    if follower.at:
        said.append(f"\nat {follower.at}, for {follower.last - follower.since:.0f} s", "bold")
    for case, words in follower.failed[-_FAILED:]:
        said.append(f"\n{case}: ", "bold red")
        said.append(words.splitlines()[0][:120] if words else "")
    return said


def _line(event: LiveEvent) -> Text:
    return Text.assemble(
        (f"{event.t:9.3f} ", "dim"), (f"{event.source:8}", _SOURCES.get(event.source, "dim")),
        f"{event.event:18} ", event.text.replace("\n", " "),
    )  # fmt: skip
