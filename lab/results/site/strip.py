# SPDX-License-Identifier: GPL-2.0-or-later
"""The outcomes of a case, run after run, as a strip of boxes."""

from collections.abc import Sequence

from markupsafe import Markup


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
