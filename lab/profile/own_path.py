# SPDX-License-Identifier: GPL-2.0-or-later
"""The offload path that a profile is about, where its layers alone would not tell.

Which paths there are, and where a profile has one, lab/copy/paths knows; load() asks it.
"""

from typing import Annotated

from pydantic import BeforeValidator, Field

from lab.problem import shown
from lab.profile.base import ProfileModel
from lab.profile.fields import Text

_REF = Text(r"[!-~]+", "a disk or layer of the profile, such as LABNVME0:1")
_NAME = Text(r"[a-z0-9]+(-[a-z0-9]+)*", "an offload path, such as nvme-copy")


class OwnPath(ProfileModel):
    """What `--path` and `--layer` of copy-faults say, as a profile says it."""

    name: Annotated[str, _NAME] = Field(description="Offload path, see docs/paths.md")
    layer: Annotated[str, _REF] | None = Field(
        None, description="Disk or layer that the copies are made on; default: the first that suits"
    )

    def __str__(self) -> str:
        return f"{self.name} on {self.layer}" if self.layer else self.name


def _spelt_out(value: object) -> object:
    """The mapping that a name alone stands for; anything else as it is."""
    if isinstance(value, str):
        return {"name": value}
    if not isinstance(value, dict | OwnPath | None):
        keys = ", ".join(OwnPath.model_fields)
        raise ValueError(
            f"{shown(value)} does not fit; expected {_NAME.expected}, or a mapping with {keys}"
        )
    return value


OptionalPath = Annotated[
    OwnPath | None,
    BeforeValidator(_spelt_out, json_schema_input_type=OwnPath | Annotated[str, _NAME] | None),
]
"""A path, by its name alone or with the place."""
