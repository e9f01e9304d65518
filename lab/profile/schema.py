# SPDX-License-Identifier: GPL-2.0-or-later
"""The JSON schema of the YAML file, for editors."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from lab.profile.explain import EXTENDS
from lab.profile.models import Profile

_EXTENDED = {
    "description": "The profile that this one is laid over: its name, or a path, relative to this "
    "file. Mappings are merged key by key; a list or a value takes the place of the other's",
    "type": "string",
    "minLength": 1,
}


class _WithoutTitles(GenerateJsonSchema):
    """Leaves out the titles that only repeat the keys: editors would show them as help."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def json_schema() -> dict[str, Any]:
    """The schema of a profile's file.

    It knows keys, types, units and ranges; what only holds between keys, `lab profile check` knows.
    """
    schema = Profile.model_json_schema(schema_generator=_WithoutTitles)
    # The name comes from the file's name.
    del schema["properties"]["name"]
    required = [key for key in schema.pop("required") if key != "name"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "properties": {**schema["properties"], EXTENDS: _EXTENDED},
        # What must be there, the extended profile may have.
        "if": {"not": {"required": [EXTENDS]}},
        "then": {"required": required},
    }
