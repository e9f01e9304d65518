# SPDX-License-Identifier: GPL-2.0-or-later
"""What all models of a profile share: strict, frozen, and able to say which key is in conflict."""

from collections.abc import Iterator
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from lab.problem import KeyPath

Conflict = tuple[KeyPath, str]
"""The key at fault, relative to the model that found it, and what is wrong with it."""


class ConflictError(ValueError):
    """Values that are right each, and wrong together."""

    def __init__(self, conflicts: list[Conflict]) -> None:
        super().__init__("; ".join(message for _, message in conflicts))
        self.conflicts = conflicts


class ProfileModel(BaseModel):
    """Base of all models of a profile."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        # Some keys of the YAML cannot be names of attributes; dumps speak YAML's names.
        serialize_by_alias=True,
        # The most of them are never met in a profile.
        defer_build=True,
    )

    def conflicts(self) -> Iterator[Conflict]:
        """What is wrong between the fields, each of which is valid by itself."""
        return iter(())

    @classmethod
    def yaml_keys(cls) -> list[str]:
        """The keys that the YAML may have."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if found := list(self.conflicts()):
            raise ConflictError(found)
        return self
