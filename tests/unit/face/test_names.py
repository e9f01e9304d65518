# SPDX-License-Identifier: GPL-2.0-or-later
"""The names of `import lab`: all there, each imported only when it is used."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import lab

LIGHT = "import sys, {what}; print(*sorted(sys.modules))"


def imported(what: str) -> set[str]:
    """The modules that an empty Python has imported after it imported some."""
    code = LIGHT.format(what=what)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_lab_imports_nothing_else_but_parts_of_python() -> None:
    """A clock would measure the host; 4 ms above an empty Python where it is quiet."""
    new = imported("lab") - imported("importlib, typing")
    assert new == {"lab"}


def test_fabric_is_imported_when_a_connection_is_asked_for() -> None:
    new = imported("lab.face.guests, lab.face.suites")
    assert "qemu.qmp" in new
    assert not {"fabric", "pytest"} & new


@pytest.mark.parametrize("name", lab.__all__)
def test_each_name_is_there(name: str) -> None:
    found = getattr(lab, name)
    assert callable(found)
    assert inspect.getdoc(found)


def test_what_is_promised_to_a_type_checker_is_what_there_is() -> None:
    tree = ast.parse(Path(lab.__file__).read_text())
    (typed,) = (node for node in tree.body if isinstance(node, ast.If))
    homes = {
        alias.name: node.module
        for node in typed.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(homes) == set(lab.__all__)
    assert {n: home for home, names in lab._HOMES.items() for n in names} == {
        name: home for name, home in homes.items() if name != "guest"
    }
    assert (Path(lab.__file__).parent / "py.typed").exists()


def test_the_room_of_guests_is_what_starts_one(monkeypatch: pytest.MonkeyPatch) -> None:
    room = importlib.import_module("lab.guest")
    assert isinstance(room, ModuleType)
    assert getattr(lab, "guest") is room  # noqa: B009
    with pytest.raises(lab.ProfileError, match="no profile 'no-such-profile'"):
        lab.guest("no-such-profile")


def test_no_other_name_is_made_up() -> None:
    with pytest.raises(AttributeError, match="module 'lab' has no attribute 'guests'"):
        _ = lab.guests
    assert set(lab.__all__) <= set(dir(lab))
