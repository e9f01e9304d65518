# SPDX-License-Identifier: GPL-2.0-or-later
"""Image definitions: what is wrong is named with its file and key."""

from pathlib import Path

import pytest

from lab.artifacts import image
from lab.errors import ProfileError, UsageError
from tests import ROOT

GOOD = "suite: trixie\npackages: [bash]\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (GOOD + "package: [zsh]\n", "package: Extra inputs"),
        ("suite: trixie\n", "packages: Field required"),
        ("suite: trixie\npackages: bash\n", "packages: Input should be a valid list"),
        ("suite: trixie\npackages: [bash, 3]\n", r"packages\.1: Input should be a valid string"),
        ("suite: ../x\npackages: [bash]\n", "suite: String should match"),
        ("- bash\n", "top level"),
        ("", "top level"),
        ("suite: [\n", "yaml:1: not valid YAML"),
    ],
)
def test_a_wrong_definition_names_file_and_key(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ProfileError, match=complaint) as caught:
        image.load(path)
    assert str(path) in caught.value.message


def test_every_problem_is_told(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("suite: 3\npackages: []\nmore: x\n")
    with pytest.raises(ProfileError) as caught:
        image.load(path)
    assert all(key in str(caught.value) for key in ("suite", "packages", "more"))


def test_shipped_definitions_are_right() -> None:
    shipped = sorted((ROOT / "images").glob("*.yaml"))
    assert shipped
    for path in shipped:
        packages = set(image.load(path).packages)
        # What no guest boots, but a shell on the host is opened in.
        needed = {"gcc", "make"} if path.stem == "build" else {"openssh-server", "udev", "kmod"}
        assert needed <= packages


def test_an_extended_definition_adds_to_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    own = tmp_path / "lab/images/mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("extends: sid\npackages: [bcache-tools]\n")
    trixie, sid, mine = (image.load(image.definitions()[n]) for n in ("trixie", "sid", "mine"))
    assert sid == trixie.model_copy(update={"suite": "sid"})
    assert mine == sid.model_copy(update={"packages": [*sid.packages, "bcache-tools"]})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("extends: nothing\n", "extends: no image is called 'nothing'"),
        ("extends: [trixie]\n", "extends: no image is called"),
        ("extends: mine\n", "extends: mine leads back here"),
        ("extends: sid\npackages: bash\n", "packages: Input should be a valid list"),
    ],
)
def test_what_cannot_be_extended_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, complaint: str
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    own = tmp_path / "lab/images/mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(text)
    with pytest.raises(ProfileError, match=complaint) as caught:
        image.load(own)
    assert str(own) in caught.value.message


def test_a_definition_of_the_users_own_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    own = tmp_path / "lab/images/trixie.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(GOOD)
    assert image.definitions()["trixie"] == own


def test_an_unknown_image_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"no image \.\./etc"):
        image.ensure_image("../etc", lambda _phase: None)
