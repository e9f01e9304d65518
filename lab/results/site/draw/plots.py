# SPDX-License-Identifier: GPL-2.0-or-later
"""Plots: what a number was before, and how many are spread."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator

from lab.results.site.draw import canvas
from lab.results.site.draw.canvas import drawing, figure, inline


class History(NamedTuple):
    """Values of the same thing, oldest first; `first` and `last` say when those were."""

    values: tuple[float, ...]
    first: str
    last: str


@lru_cache(maxsize=256)
def sparkline(of: History, unit: str, label: str) -> Markup:
    """A line of values from left to right, zero at the bottom; all are in its label too."""
    values = of.values
    made = figure(330, 84)
    with drawing():
        axes = made.add_axes((0.14, 0.26, 0.82, 0.66))
        # One value is a point in the middle, not a line.
        at = list(range(len(values)))
        axes.plot(at, values, color=canvas.LINK, linewidth=1.2, clip_on=False)
        axes.plot(at, values, color=canvas.LINK, marker="o", markersize=2.6, linewidth=0,
                  clip_on=False)  # fmt: skip
        axes.set_ylim(0, max([*values, 1e-9]) * 1.08)
        axes.set_xlim(-0.5, max(len(values) - 0.5, 0.5))
        axes.yaxis.set_major_locator(MaxNLocator(2))
        ends = [0, len(values) - 1] if len(values) > 1 else at
        axes.set_xticks(ends, [of.first, of.last][: len(ends)])
        axes.set_ylabel(unit, size=7, labelpad=2)
        _quiet(axes)
        told = ", ".join(f"{value:.1f}" for value in values)
        return inline(made, f"{label}: {told} {unit}", "plot")


_STYLES = ("-", "--", "-.", ":")
_COLORS = (canvas.LINK, canvas.FOREIGN, canvas.TEXT, canvas.TORN)
"""What comes fifth looks like the first, and has its name beside it."""


def distribution(of: Mapping[str, Sequence[tuple[float, float]]], unit: str, label: str) -> Markup:
    """For each name the part in per cent (the second number) that took at most so long (the first,
    in `unit`), as steps over a logarithmic axis; empty if there is nothing."""
    shown = {name: points for name, points in of.items() if points}
    if not shown:
        return Markup()
    made = figure(520, 210 + 13 * len(shown))
    with drawing():
        low = 15 * len(shown) + 40
        height = 210 + 13 * len(shown)
        axes = made.add_axes((0.1, low / height, 0.87, 1 - (low + 8) / height))
        for number, (name, points) in enumerate(shown.items()):
            times, parts = zip(*points, strict=True)
            axes.plot(
                (times[0], *times), (0, *parts), drawstyle="steps-post", linewidth=1.4,
                color=_COLORS[number % 4], linestyle=_STYLES[number % 4], label=name, clip_on=False,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=7, subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(0, 100)
        axes.set_yticks([0, 25, 50, 75, 90, 100])
        axes.grid(color=canvas.LINE, linewidth=0.5)
        axes.set_xlabel(unit, size=7)
        axes.set_ylabel("% of all took at most that", size=7)
        _quiet(axes)
        made.legend(loc="lower left", bbox_to_anchor=(0.08, 0), frameon=False, fontsize=7)
        return inline(made, label, "distribution")


def steps(values: Sequence[float]) -> list[tuple[float, float]]:
    """Measured values as what distribution() takes."""
    found = sorted(value for value in values if value > 0)
    return [(value, 100 * number / len(found)) for number, value in enumerate(found, 1)]


def _quiet(axes: Axes) -> None:
    axes.tick_params(length=2, width=0.6, labelsize=7, pad=2)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
