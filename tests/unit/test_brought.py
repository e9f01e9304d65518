# SPDX-License-Identifier: GPL-2.0-or-later
"""Layers, paths and actions of another package: known wherever the lab's own are."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lab.artifacts.initramfs import ArchiveEntry
from lab.errors import HostError
from lab.guest.initrd import _add
from tests import ROOT

MODULES = {
    "acme_layer": '''
        """A layer, with its class for the guest."""
        from collections.abc import Iterator, Sequence
        from pathlib import Path
        from typing import Literal

        from pydantic import Field

        from lab.profile.layers.base import BaseLayer, Node
        from lab.profile.units import Size

        class Brd(BaseLayer):
            guest_class = "acme_brd.Brd"
            guest_scripts = (Path(__file__).with_name("acme_brd.py"),)
            type: Literal["acme-brd"] = Field(description="A RAM disk (brd)")
            size: Size = Field(description="Its bytes")

            def offers(self, below: Sequence[Node]) -> Iterator[Node]:
                yield Node(self.name, "block", self.size)
        ''',
    "acme_brd": "# for the guest",
    "acme_path": '''
        """A path, with its module for the guest."""
        from pathlib import Path

        from lab.copy.paths.files import FsClone

        class Clone(FsClone):
            name = "acme-clone"
            does = "the same by another hand"
            module = "acme_clone"
            guest_scripts = (Path(__file__).with_name("acme_clone.py"),)
        ''',
    "acme_clone": "# for the guest",
    "acme_action": '''
        """An action."""
        from lab.faults.actions import HELD, Action
        from lab.suites.copy_faults.acts.act import Act
        from lab.suites.copy_faults.acts.scene import Effect

        NOTHING = Act(Action("acme-nothing", HELD), lambda scene: Effect())
        ''',
}

ENTRIES = {
    "lab.layers": "acme-brd = acme_layer:Brd",
    "lab.paths": "acme-clone = acme_path:Clone",
    "lab.actions": "acme-nothing = acme_action:NOTHING",
}

LAYERED = """\
description: test
devices:
  - {type: nvme, serial: S, namespaces: [{size: 64M}]}
layers:
  - {name: ram, type: acme-brd, size: 16M}
  - {name: fs, type: ext4, over: ram}
"""


class Package:
    """An installed package, in a directory of its own."""

    def __init__(self, place: Path, modules: dict[str, str], entries: dict[str, str]) -> None:
        self.place = place
        info = place / "acme-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.5\n")
        groups = [f"[{group}]\n{lines}\n" for group, lines in entries.items()]
        (info / "entry_points.txt").write_text("".join(groups))
        for name, text in modules.items():
            (place / f"{name}.py").write_text(textwrap.dedent(text).strip() + "\n")

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What a Python with the package says."""
        return subprocess.run(
            [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(self.place)},
        )  # fmt: skip

    def lab(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What a command says."""
        return self.python("-m", "lab", *words)

    def evaluates(self, code: str) -> object:
        """What a Python with the package makes of code that prints JSON."""
        done = self.python("-c", textwrap.dedent(code))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """A package that brings one of each."""
    return Package(tmp_path_factory.mktemp("acme"), MODULES, ENTRIES)


def test_a_layer_is_in_the_schema_and_in_profiles(acme: Package, tmp_path: Path) -> None:
    assert '"acme-brd"' in acme.lab("profile", "schema").stdout
    profile = tmp_path / "p.yaml"
    profile.write_text(LAYERED)
    checked = acme.lab("profile", "check", str(profile))
    assert (checked.returncode, checked.stderr) == (0, "")
    profile.write_text(LAYERED.replace("size: 16M", "sizes: 16M"))
    refused = acme.lab("profile", "check", str(profile))
    assert refused.returncode == 2
    assert "did you mean size?" in refused.stdout + refused.stderr


def test_the_guest_is_told_and_given_what_makes_it(acme: Package, tmp_path: Path) -> None:
    profile = tmp_path / "p.yaml"
    profile.write_text(LAYERED)
    code = f"""
    import json
    from pathlib import Path
    from types import SimpleNamespace
    from lab.guest import initrd, stack
    from lab.profile.load import load
    profile = load({str(profile)!r}, [])
    told = json.loads(stack.description(profile, None, probe=True))["layers"][0]["class"]
    initrd.archive = lambda files: json.dumps([told, *files]).encode()
    empty = Path({str(tmp_path / "empty")!r})
    empty.write_bytes(b"")
    kernel = SimpleNamespace(initramfs=empty)
    print(initrd.initrd(kernel, initrd.everyones(profile)).decode())
    """
    found = acme.evaluates(code)
    assert isinstance(found, list)
    assert found[0] == "acme_brd.Brd"
    assert {"lab/layers/acme_brd.py", "lab/copies/acme_clone.py"} <= set(found)
    assert {"lab/layers/layer.py", "lab/copies/__main__.py"} <= set(found)


def test_a_path_is_found_by_its_name_and_never_goes_before_the_labs_own(acme: Package) -> None:
    code = """
    import json
    from lab.copy.model import Copy, Extent
    from lab.copy.paths import find
    from lab.profile.load import load
    profile = load("loop-xfs-reflink", [])
    asked = find(profile, "acme-clone")
    request = asked.request(Copy((Extent(0, 8),), 64))
    print(json.dumps([asked.ref, request["op"], find(profile).name]))
    """
    assert acme.evaluates(code) == ["xfs", "acme_clone.copy", "loop-reflink"]
    refused = acme.lab("run", "nvme-copy", "copy-faults", "--", "--path", "nope")
    assert refused.returncode == 2
    assert refused.stderr.rstrip().endswith("bdev-ioctl, acme-clone")


def test_a_profile_can_say_that_the_path_is_its_own(acme: Package) -> None:
    own = acme.lab("profile", "check", "loop-xfs-reflink", "--set", "path=acme-clone")
    assert (own.returncode, own.stderr) == (0, "")
    none = acme.lab("profile", "check", "nvme-copy", "--set", "path=acme-clone")
    assert "there is no place for acme-clone" in none.stdout + none.stderr


def test_an_action_is_one_of_all_and_not_swept(acme: Package) -> None:
    code = """
    import json
    from lab.suites.copy_faults.acts import registry
    names = [str(action) for action in registry.named("all")]
    print(json.dumps([names[-1], [str(action) for action in registry.swept()]]))
    """
    found = acme.evaluates(code)
    assert isinstance(found, list)
    assert found[0] == "acme-nothing"
    assert "acme-nothing" not in found[1]


BROKEN = [
    ("lab.layers", "acme-brd = acme_layer:Nope", "AttributeError"),
    ("lab.layers", "brd = acme_layer:Brd", "it calls itself acme-brd"),
    ("lab.layers", "size = acme_layer:Size", "it is no BaseLayer"),
    ("lab.layers", "node = acme_layer:BaseLayer", "BaseLayer has no guest_class"),
    ("lab.paths", "files = acme_path:FsClone", "it calls itself fs-clone"),
    ("lab.paths", "file = acme_path:Path", "it is no CopyPath"),
    ("lab.actions", "held = acme_action:HELD", "it is a tuple, and no Act"),
]


@pytest.mark.parametrize(("group", "entry", "why"), BROKEN)
def test_what_is_broken_is_named_and_left_out(
    tmp_path: Path, group: str, entry: str, why: str
) -> None:
    package = Package(tmp_path, MODULES, {group: entry})
    code = "import lab.copy.paths, lab.suites.copy_faults.acts.registry as acts; acts.acts();"
    done = package.python("-c", f"{code} lab.copy.paths.paths()")
    assert done.returncode == 0, done.stderr
    assert f"{entry.split()[0]} of acme 1.5 is left out" in done.stderr
    assert why in done.stderr


@pytest.mark.parametrize(
    ("group", "entry", "clash"),
    [
        ("lab.layers", "xfs = acme_layer:Brd", "a layer xfs"),
        ("lab.paths", "nvme-copy = acme_path:Clone", "a path nvme-copy"),
        ("lab.actions", "eio = acme_action:NOTHING", "an action eio"),
    ],
)
def test_a_name_that_the_lab_has_is_refused(
    tmp_path: Path, group: str, entry: str, clash: str
) -> None:
    package = Package(tmp_path, MODULES, {group: entry})
    done = package.lab("run", "nvme-copy", "copy-faults", "--", "--path", "nope")
    assert done.returncode == 3, done.stderr
    assert f"lab: acme 1.5 brings {clash}, but the lab has one of that name" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_script_for_guests_that_the_lab_has_too_is_refused(tmp_path: Path) -> None:
    files = {"lab/copies/nvme.py": ArchiveEntry.file(b"the lab's")}
    script = tmp_path / "nvme.py"
    with pytest.raises(HostError, match="No such file"):
        _add(files, "copies", script)
    script.write_bytes(b"another")
    with pytest.raises(HostError, match=r"guests have another copies/nvme\.py"):
        _add(files, "copies", script)
    _add(files, "layers", script)
    assert files["lab/layers/nvme.py"].data == b"another"


def test_a_script_without_suffix_is_a_program(tmp_path: Path) -> None:
    files: dict[str, ArchiveEntry] = {}
    script = tmp_path / "look"
    script.write_bytes(b"#!/bin/sh")
    _add(files, "suites", script)
    assert files == {"lab/bin/look": ArchiveEntry.file(b"#!/bin/sh", 0o755)}
