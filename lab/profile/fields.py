# SPDX-License-Identifier: GPL-2.0-or-later
"""Annotations that check a value of a profile and say in one line what was expected."""

import re
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from lab.problem import shown


@dataclass(frozen=True)
class Span:
    """A whole number from `low` to `high` (inclusive) of `unit`."""

    low: int
    high: int
    unit: str

    def check(self, value: object) -> object:
        """Return `value`; raise ValueError if it is no whole number or out of range."""
        expected = f"expected {self.low} to {self.high} {self.unit}"
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"{shown(value)} is not a whole number; {expected}")
        if value < self.low:
            raise ValueError(f"{shown(value)} is less than {self.low}; {expected}")
        if value > self.high:
            raise ValueError(f"{shown(value)} is more than {self.high}; {expected}")
        return value

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        # The inner schema repeats the range for the JSON schema; check() has the better words.
        inner = core_schema.int_schema(ge=self.low, le=self.high, strict=True)
        return core_schema.no_info_before_validator_function(self.check, inner)


@dataclass(frozen=True)
class Text:
    """Text that matches `pattern` as a whole, which `expected` puts in words."""

    pattern: str
    expected: str

    def check(self, value: object) -> object:
        """Return `value`; raise ValueError if it is not such text."""
        if not isinstance(value, str):
            cure = " (quotes make it text)" if isinstance(value, int | float) else ""
            raise ValueError(f"{shown(value)} is not text{cure}; expected {self.expected}")
        if not re.fullmatch(self.pattern, value):
            raise ValueError(f"{shown(value)} does not fit; expected {self.expected}")
        return value

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        inner = core_schema.str_schema(pattern=f"^{self.pattern}$", strict=True)
        return core_schema.no_info_before_validator_function(self.check, inner)


class ByType:
    """Choose among the models of a union by their `type` key.

    pydantic's own discriminator refuses a union of one, which is what a kind of things starts as.
    """

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        members = get_args(source) or (source,)
        choices = {tag_of(member): handler.generate_schema(member) for member in members}
        return core_schema.tagged_union_schema(choices, discriminator="type")


def tag_of(model: type[BaseModel]) -> str:
    """What `type` says in the YAML of `model`, a member of a union that ByType chooses from."""
    tag: str = get_args(model.model_fields["type"].annotation)[0]
    return tag
