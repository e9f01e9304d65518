# SPDX-License-Identifier: GPL-2.0-or-later
"""From a figure of matplotlib to SVG that can stand in a page.

A picture must follow light and dark, and print.  So it is drawn in stand-in colours, each of which
becomes a variable of the page's style sheet (templates/style.css).
"""

import io
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple
from xml.etree import ElementTree

from markupsafe import Markup

from lab.host import dirs

# Read as it is imported: its list of fonts belongs to the lab's cache, and how a user wants plots
# of their own to look is not how pages look.
os.environ["MPLCONFIGDIR"] = str(dirs.cache("matplotlib"))

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.transforms import Affine2D

TEXT, DIM, LINE, BACK, PANEL = "#000001", "#000002", "#000003", "#000004", "#000005"
GOOD, BAD, ODD, LINK = "#000006", "#000007", "#000008", "#000009"
NEW, OLD, TORN, FOREIGN, UNREADABLE = "#000010", "#000011", "#000012", "#000013", "#000014"
SOURCE, NEIGHBOUR, BAND = "#000015", "#000016", "#000017"

_VARIABLES = {
    TEXT: "text", DIM: "dim", LINE: "line", BACK: "back", PANEL: "panel", GOOD: "good", BAD: "bad",
    ODD: "odd", LINK: "link", NEW: "new", OLD: "old", TORN: "torn", FOREIGN: "foreign",
    UNREADABLE: "unreadable", SOURCE: "source", NEIGHBOUR: "neighbour", BAND: "band",
}  # fmt: skip
_STAND_IN = re.compile("|".join(_VARIABLES))

NAMED = "is-"
"""What a gid begins with that is to be a class of the style sheet."""

PIXELS = 96.0
"""A figure's inch, in pixels of the page."""

FONT = 7.5
"""Points: 10 pixels."""

_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_RC: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "lab", "font.size": FONT, "axes.edgecolor": LINE,
    "axes.labelcolor": DIM, "xtick.color": DIM, "ytick.color": DIM, "text.color": TEXT,
    "axes.linewidth": 0.8, "axes.facecolor": "none", "figure.facecolor": "none",
    "path.simplify": False, "text.parse_math": False,
}  # fmt: skip


def figure(width: float, height: float) -> Figure:
    """An empty figure of so many pixels."""
    return Figure(figsize=(width / PIXELS, height / PIXELS), dpi=72)


def drawing() -> AbstractContextManager[None]:
    """A block in which figures look alike: `with drawing(): …`."""
    return matplotlib.rc_context(_RC)


class Box(NamedTuple):
    """A rectangle by its edges, in pixels."""

    left: float
    top: float
    right: float
    bottom: float


Line = list[tuple[float, float]]
"""Points that are joined, in pixels."""


class Sheet:
    """A figure without axes, which take longer than all that is drawn here: everything is in pixels
    from its upper left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.figure = figure(width, height)
        down = Affine2D().scale(1 / width, -1 / height).translate(0, 1)
        self._place = down + self.figure.transSubfigure

    def text(self, x: float, y: float, words: str, color: str, **how: Any) -> None:
        """Words, in the middle of whose height `y` is; `how` is matplotlib's."""
        self.figure.add_artist(
            Text(x, y, words, color=color, verticalalignment="center", transform=self._place, **how)
        )

    def boxes(self, found: Iterable[Box], color: str, *, edge: float = 0.0) -> None:
        """Rectangles as one element: filled, or as outlines of a width."""
        lines = [
            [(x, y), (right, y), (right, bottom), (x, bottom), (x, y)]
            for x, y, right, bottom in found
        ]
        if edge:
            self.strokes(lines, color, edge)
        else:
            self._add(lines, facecolor=color, edgecolor="none", linewidth=0)

    def strokes(self, lines: Sequence[Line], color: str, width: float) -> None:
        """Lines as one element."""
        self._add(lines, edgecolor=color, fill=False, linewidth=width)

    def _add(self, lines: Sequence[Line], **how: Any) -> None:
        if lines:
            path = Path.make_compound_path(*(Path(line) for line in lines))
            self.figure.add_artist(PathPatch(path, transform=self._place, clip_on=False, **how))


def inline(made: Figure, label: str, name: str) -> Markup:
    """The figure as an element of HTML; `label` is for those who hear, `name` its class."""
    with io.StringIO() as sink:
        made.savefig(sink, format="svg", transparent=True, metadata=_NOTHING)
        root = ElementTree.fromstring(sink.getvalue())
    for part in ("metadata", "defs"):
        for found in root.findall(f"{_SVG}{part}"):
            root.remove(found)
    for element in root.iter():
        # matplotlib indents, and breaks paths into lines.
        element.tail = ""
        element.text = (element.text or "").strip()
        if "d" in element.attrib:
            element.set("d", " ".join(element.attrib["d"].split()))
        element.tag = element.tag.removeprefix(_SVG)
        if target := element.attrib.pop(_HREF, ""):
            element.set("href", target)
        elif element.tag == "g" and (name_of := element.attrib.pop("id", "")).startswith(NAMED):
            element.set("class", name_of.removeprefix(NAMED))
        if "style" in element.attrib:
            element.set("style", _styled(element.attrib["style"]))
    root.attrib.update({"class": name, "role": "img", "aria-label": label})
    width, height = (value * PIXELS for value in made.get_size_inches())
    root.attrib.update({"width": f"{width:.0f}", "height": f"{height:.0f}"})
    return Markup(ElementTree.tostring(root, encoding="unicode"))


_NOTHING = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_FAMILY = re.compile(r"font-family: [^;]*(; )?")


def _styled(style: str) -> str:
    """Variables for the stand-ins, and the page's own font."""
    found = _STAND_IN.sub(lambda match: f"var(--{_VARIABLES[match[0]]})", style)
    return _FAMILY.sub("", found)
