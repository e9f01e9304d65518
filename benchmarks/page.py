# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/benchmarks.md: made of what each part found when it was measured last."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.builds import BEFORE, ROOT
from lab.host import dirs, qemu

PAGE = ROOT / "docs/benchmarks.md"
_FOUND = "found.json"


@dataclass(frozen=True)
class Figure:
    """A number with what it must not exceed (or, with `least`, fall below) and what is aimed at;
    without `value` it could not be measured."""

    what: str
    value: float | None
    bound: float | None
    aim: float | None = None
    unit: str = ""
    least: bool = False

    def row(self) -> str:
        """Its row in a table."""
        shown = "not measured" if self.value is None else f"**{self._text(self.value)}**"
        return f"| {self.what} | {shown} | {self._limit(self.bound)} | {self._limit(self.aim)} |"

    def _limit(self, limit: float | None) -> str:
        return "-" if limit is None else f"{'≥' if self.least else '≤'} {self._text(limit)}"

    def _text(self, value: float) -> str:
        digits = 0 if value >= 100 else 1 if value >= 10 else 2
        return f"{value:.{digits}f}{self.unit}"


@dataclass(frozen=True)
class Section:
    """What a part has found: its figures, and how it came to them."""

    title: str
    figures: Sequence[Figure]
    lines: Sequence[str]
    platform: Mapping[str, str] = field(default_factory=dict)

    def page(self) -> list[str]:
        """The part of the page."""
        when = ", ".join(self.platform.values())
        return ["", f"## {self.title}", "", *self.lines, "", f"Measured {when}."]


def platform(load: tuple[float, float]) -> dict[str, str]:
    """When and where a part is measured; `load`: the host's, before and after."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cpus": f"{os.cpu_count()} CPUs",
        "qemu": f"QEMU {qemu.version(qemu.binary())}",
        "accelerator": "TCG",
        "load": f"load {load[0]:.1f} before and {load[1]:.1f} after",
    }


def keep(name: str, section: Section) -> None:
    """Remember what a part found."""
    found = _kept()
    found[name] = {**asdict(section), "figures": [asdict(each) for each in section.figures]}
    path = dirs.cache("benchmarks") / _FOUND
    path.write_text(json.dumps(found, indent=1))


def write(order: Sequence[str]) -> None:
    """Write the page, of all that was ever found by the parts in `order`."""
    found = _kept()
    sections = [_section(found[name]) for name in order if name in found]
    rows = [figure.row() for section in sections for figure in section.figures]
    lines = [
        "# Benchmarks",
        "",
        "Written by `make benchmark`; `python -m benchmarks NAME…` measures some parts anew. Only",
        f"the ratios mean anything elsewhere. `before` is the lab of commit {BEFORE}, whose guests",
        "were always booted and reached over SSH; it is checked out by the benchmark, with a cache",
        "and a state of its own, and measured in turn with this one. CPU seconds are those of the",
        "commands and of QEMU together.",
        "",
        "| figure | measured | bound | aim |",
        "|---|---|---|---|",
        *rows,
        *(line for section in sections for line in section.page()),
    ]
    PAGE.write_text("\n".join(lines) + "\n")


def _kept() -> dict[str, Any]:
    path: Path = dirs.cache("benchmarks") / _FOUND
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _section(kept: Mapping[str, Any]) -> Section:
    figures = [Figure(**each) for each in kept["figures"]]
    return Section(kept["title"], figures, kept["lines"], kept["platform"])
