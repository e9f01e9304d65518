# SPDX-License-Identifier: GPL-2.0-or-later
"""The user's settings: config.yaml in the lab's configuration directory.

suites:
  fstests:
    tree: ~/src/xfstests      # a built tree
  blktests:
    tree: ~/src/blktests
  cryptsetup:
    tree: ~/src/cryptsetup
debian:
  accept_expired: true        # packages of a mirror whose Release file is out of date
"""

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from lab.errors import ProfileError
from lab.host import dirs

FILE = "config.yaml"

_STRICT = ConfigDict(extra="forbid", frozen=True)


def _absolute(path: Path) -> Path:
    path = path.expanduser()
    if not path.is_absolute():
        raise ValueError(f"{path} is relative; expected an absolute path, or one from ~")
    return path


Tree = Annotated[Path, AfterValidator(_absolute)]


class SuiteSettings(BaseModel):
    """What the user set for a suite that comes from elsewhere."""

    model_config = _STRICT

    tree: Tree | None = None
    """A built tree of it."""


class Suites(BaseModel):
    """Settings by suite."""

    model_config = _STRICT

    fstests: SuiteSettings = SuiteSettings()
    blktests: SuiteSettings = SuiteSettings()
    cryptsetup: SuiteSettings = SuiteSettings()


class DebianSettings(BaseModel):
    """How packages of Debian are fetched, for images, kernels and tools alike."""

    model_config = _STRICT

    accept_expired: bool = False
    """Take a Release file whose Valid-Until has passed; its signature is checked all the same."""


class Settings(BaseModel):
    """The whole file."""

    model_config = _STRICT

    suites: Suites = Suites()
    debian: DebianSettings = DebianSettings()


def load() -> Settings:
    """The settings, or the defaults where there is no file.

    Raises ProfileError that names the file and the key that is wrong.
    """
    path = dirs.config(FILE)
    try:
        return Settings.model_validate(yaml.safe_load(path.read_text()) or {})
    except FileNotFoundError:
        return Settings()
    except yaml.YAMLError as error:
        raise ProfileError(f"{path}: no valid YAML", detail=str(error)) from error
    except ValidationError as error:
        wrong = [
            f"{'.'.join(map(str, item['loc'])) or 'top level'}: {item['msg']}"
            for item in error.errors()
        ]
        raise ProfileError(f"{path}: {wrong[0]}", detail="\n".join(wrong[1:])) from error
    except OSError as error:
        raise ProfileError(f"{path}: {error.strerror}") from error
