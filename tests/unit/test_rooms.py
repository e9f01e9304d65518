# SPDX-License-Identifier: GPL-2.0-or-later
"""Imports go one way: no two rooms import each other, and CONTRIBUTING says the order."""

import ast
import re
from collections import defaultdict
from itertools import combinations

import pytest

from tests import ROOT


def rooms(of: str = "lab") -> dict[str, set[str]]:
    """The rooms (packages right below a package) that each room imports from."""
    above = of.split(".")
    place = ROOT.joinpath(*above)
    found: dict[str, set[str]] = defaultdict(set)
    for path in place.glob("*/**/*.py"):
        room = path.relative_to(place).parts[0]
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            parts = [name.split(".") for name in names]
            deep = len(above)
            found[room] |= {part[deep] for part in parts if part[:deep] == above and part[deep:]}
        found[room].discard(room)
    return {room: {other for other in others if other in found} for room, others in found.items()}


def layers() -> list[list[str]]:
    """The arrow line of CONTRIBUTING: groups of rooms, the highest first."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (line,) = re.findall(r"Imports go one way: `([^`]+)`", text)
    return [group.strip().split(", ") for group in line.split("→")]


@pytest.mark.parametrize("of", ["lab", "lab.suites"])
def test_no_two_rooms_import_each_other(of: str) -> None:
    imports = rooms(of)
    both = [
        (one, other)
        for one, other in combinations(sorted(imports), 2)
        if other in imports[one] and one in imports[other]
    ]
    assert both == []


def test_every_room_has_its_place_and_imports_only_from_below() -> None:
    places = {room: level for level, group in enumerate(layers()) for room in group}
    imports = rooms()
    assert places.keys() == imports.keys()
    upwards = [
        (room, other)
        for room, others in imports.items()
        for other in others
        if places[other] <= places[room]
    ]
    assert upwards == []


def test_the_architecture_has_a_paragraph_for_each_room() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    told = set(re.findall(r"^\*\*`lab/([a-z]+)`\*\*", text, re.MULTILINE))
    assert told == set(rooms())


def test_no_class_has_the_name_of_another() -> None:
    found = defaultdict(list)
    for path in (ROOT / "lab").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(str(path.relative_to(ROOT)))
    assert {name: places for name, places in found.items() if len(places) > 1} == {}


def test_what_all_suites_share_is_little() -> None:
    assert len([*(ROOT / "lab/suites").glob("*.py")]) <= 9
