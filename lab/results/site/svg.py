# SPDX-License-Identifier: GPL-2.0-or-later
"""Plots as inline SVG; colours are the page's style sheet's, so that they follow dark and light."""

from collections.abc import Sequence

from markupsafe import Markup

WIDTH, HEIGHT, MARGIN = 320, 60, 4


def line(values: Sequence[float], label: str) -> Markup:
    """A line of values from left to right, zero at the bottom; `label` is for those who hear."""
    top = max([*values, 1e-9])
    step = (WIDTH - 2 * MARGIN) / max(len(values) - 1, 1)
    points = [
        (MARGIN + step * number, HEIGHT - MARGIN - value / top * (HEIGHT - 2 * MARGIN))
        for number, value in enumerate(values)
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = Markup("").join(
        Markup('<circle cx="{:.1f}" cy="{:.1f}" r="2.5"><title>{:.1f}</title></circle>').format(
            x, y, value
        )
        for (x, y), value in zip(points, values, strict=True)
    )
    return Markup(
        '<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">'
        '<polyline points="{}"/>{}</svg>'
    ).format(WIDTH, HEIGHT, label, path, dots)


def strip(statuses: Sequence[str], label: str) -> Markup:
    """A box for each outcome, oldest first."""
    boxes = Markup("").join(
        Markup(
            '<rect class="{}" x="{}" y="0" width="8" height="14"><title>{}</title></rect>'
        ).format(status, number * 10, status)
        for number, status in enumerate(statuses)
    )
    return Markup(
        '<svg class="strip" width="{0}" height="14" viewBox="0 0 {0} 14" role="img"'
        ' aria-label="{1}">{2}</svg>'
    ).format(max(len(statuses) * 10, 1), label, boxes)
