# SPDX-License-Identifier: GPL-2.0-or-later
"""The documentation of profiles: its examples are profiles, and it leaves nothing out.

LAB_UPDATE_GOLDEN=1 writes docs/profile-keys.md anew.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from lab.profile.fields import tag_of
from lab.profile.keys import KeySection, sections
from lab.profile.load import load_file
from lab.profile.models import Device, Layer
from tests import ROOT

GUIDE = ROOT / "docs" / "profiles.md"
KEYS = ROOT / "docs" / "profile-keys.md"

EXAMPLES = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)


def types() -> Iterator[str]:
    """What `type` can say, of devices and of layers."""
    for union in (Device, Layer):
        for model in get_args(get_args(union)[0]):
            yield tag_of(model)


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_is_a_profile(tmp_path: Path, example: str) -> None:
    if "extends:" in example:
        (tmp_path / "profiles").symlink_to(ROOT / "profiles")
    if not re.search("^(description|extends):", example, re.MULTILINE):
        example = "description: an example\n" + example
    path = tmp_path / "example.yaml"
    path.write_text(example)
    load_file(path)


@pytest.mark.parametrize("kind", list(types()))
def test_there_is_an_example_of_each_device_and_layer(kind: str) -> None:
    assert re.search(rf"type: {kind}\b(?!-)", "".join(EXAMPLES))


def test_the_list_of_keys_is_current() -> None:
    text = "".join(_markdown(sections()))
    if os.environ.get("LAB_UPDATE_GOLDEN"):
        KEYS.write_text(text)
    assert KEYS.read_text() == text, "LAB_UPDATE_GOLDEN=1 make unit writes it anew"


def _markdown(found: list[KeySection]) -> Iterator[str]:
    yield "# All keys of a profile\n\n"
    yield "Made from the models by `tests/unit/test_docs.py`; `lab profile keys TYPE` shows the\n"
    yield "same at the terminal. [profiles.md](profiles.md) explains them by example.\n"
    for section in found:
        yield f"\n## {section.title}\n\n"
        if section.help:
            yield f"{section.help}.\n\n"
        yield "| key | value | default | |\n|---|---|---|---|\n"
        for key in section.keys:
            cells = (f"`{key.key}`", key.value, key.default or "required", key.help)
            yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n"
