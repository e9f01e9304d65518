# SPDX-License-Identifier: GPL-2.0-or-later
"""Settings of the kernel's command line, read back in the guest: what became of each.

The kernel takes much in silence, so guest-scripts/layers/readback.py looks, once all layers are up
and the modules that they need loaded.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from lab.artifacts.cmdline import parameters, words
from lab.errors import GuestError
from lab.profile.models import Profile
from lab.vm.argv import kernel_args

FILE = "settings.json"
"""In the guest's directory: what was found."""

TIMEOUT = "nvme_core.io_timeout"
"""What the lab itself sets, and relies on."""


class Setting(BaseModel):
    """A parameter of a module, a sysctl or another word, and what the guest has of it.

    `asked` is None for a word without a value.  `later`: the module is not loaded yet, and gets it
    when it is; `hidden`: it exists, and the kernel lets nobody read it.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    event: Literal["setting"] = "setting"
    name: str
    asked: str | None
    status: Literal["holds", "later", "hidden", "other value", "not there"]
    said: str = ""
    """The value that is there, or what the system said."""

    @property
    def failed(self) -> bool:
        """Whether it did not take effect."""
        return self.status in ("other value", "not there")

    def why(self) -> str:
        """What was asked for and what is there instead, in a line."""
        word = self.name if self.asked is None else f"{self.name}={self.asked}"
        what = f"the guest has {self.said}" if self.status == "other value" else self.said
        return f"{word} did not take effect: {what}"


_SETTINGS = TypeAdapter(tuple[Setting, ...])


def asked(profile: Profile) -> dict[str, Any]:
    """What guest-scripts/layers is to look at."""
    given = kernel_args(profile)
    return {
        "parameters": [
            {"module": one.module, "name": one.name, "value": one.value}
            for one in parameters(given)
        ],
        "words": [word for word in words(given) if not parameters([word])],
    }


def write(directory: Path, found: Sequence[Setting]) -> None:
    """Write down what was found in a guest's directory, where it was looked for."""
    if found:
        (directory / FILE).write_bytes(_SETTINGS.dump_json(tuple(found)))


def found(directory: Path) -> tuple[Setting, ...]:
    """What was found in the guest in that directory; () if nobody looked."""
    try:
        return _SETTINGS.validate_json((directory / FILE).read_bytes())
    except (FileNotFoundError, ValidationError):
        return ()


def require(settings: Iterable[Setting]) -> None:
    """Raise GuestError when what the lab itself relies on did not take effect.

    What a profile adds is told, by `lab up`, and does not end anything: what a kernel makes of a
    value is for whoever asked to judge.
    """
    for setting in settings:
        if setting.name == TIMEOUT and setting.status == "other value":
            raise GuestError(
                f"guest.nvme_io_timeout: {setting.why()}",
                hint="a held copy would be aborted after that time",
            )
