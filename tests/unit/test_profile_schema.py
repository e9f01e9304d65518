# SPDX-License-Identifier: GPL-2.0-or-later
"""The JSON schema that editors use, and the profiles that ship."""

import copy
import json
from typing import Any

import jsonschema
import pytest
import yaml

from lab.profile.find import shipped
from lab.profile.load import load
from lab.profile.models import NvmeController
from lab.profile.schema import json_schema
from tests import ROOT

FILE = ROOT / "profiles/profile.schema.json"
DATA = yaml.safe_load((ROOT / "profiles/nvme-copy.yaml").read_text())


def valid(data: object) -> bool:
    return jsonschema.Draft202012Validator(json_schema()).is_valid(data)


def objects(schema: Any) -> list[dict[str, Any]]:
    """All parts of the schema that describe a mapping."""
    parts = [schema, *schema["$defs"].values()]
    return [part for part in parts if part.get("type") == "object"]


def test_committed_schema_is_current() -> None:
    # To renew it: lab profile schema > profiles/profile.schema.json
    assert FILE.read_text() == json.dumps(json_schema(), indent=2) + "\n"


def test_schema_is_valid_and_each_key_has_help() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert "name" not in schema["properties"]
    assert len(objects(schema)) > 1
    for part in objects(schema):
        assert part["additionalProperties"] is False
        for name, field in part["properties"].items():
            assert field.get("description"), name
            if "default" in field:
                # A default that the schema itself refuses would mislead.
                whole = {**field, "$defs": schema["$defs"]}
                jsonschema.Draft202012Validator(whole).validate(field["default"])


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
def test_shipped_profile_loads_and_fits_the_schema(path: Any) -> None:
    text = path.read_text()
    assert f"\n# yaml-language-server: $schema={FILE.name}\n" in text
    assert valid(yaml.safe_load(text))
    assert load(str(path)).name == path.stem


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (["machine", "memory"], "512MB"),
        (["machine", "memory"], 1.5),
        (["machine", "cpus"], 65),
        (["machine", "cpu"], 2),
        (["guest", "nvme_io_timeout"], 30),
        (["guest", "nvme_io_timeout"], "30"),
        (["devices", 0, "type"], "nvm"),
        (["devices", 0, "serial"], "a b"),
        (["devices", 0, "namespaces", 0, "copy", "msrc"], 257),
        (["devices", 0, "namespaces", 0, "block_size"], 1000),
        (["devices", 0, "namespaces", 0, "zoned"], {}),
        (["name"], "x"),
        (["path"], "NVMe Copy"),
        (["path"], {"layer": "LABNVME0"}),
        (["path"], {"name": "nvme-copy", "on": "LABNVME0"}),
    ],
)
def test_schema_refuses(keys: list[str | int], value: object) -> None:
    data = copy.deepcopy(DATA)
    assert valid(data)
    inner = data
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    assert not valid(data)


@pytest.mark.parametrize(
    "path", [None, "dm-kcopyd", {"name": "dm-kcopyd"}, {"name": "dm-kcopyd", "layer": "LABNVME0:1"}]
)
def test_schema_takes_a_path_by_name_or_with_its_place(path: object) -> None:
    assert valid({**DATA, "path": path})


def test_schema_knows_that_an_extended_profile_has_what_is_missing() -> None:
    assert not valid({"devices": []})
    assert valid({"devices": [], "extends": "nvme-copy"})
    assert not valid({"devices": [], "extends": 5})


def test_first_profile_is_the_one_that_the_guide_describes() -> None:
    profile = load("nvme-copy")
    assert (profile.machine.cpus, profile.machine.memory) == (2, 2**30)
    (controller,) = profile.devices
    assert isinstance(controller, NvmeController)
    (namespace,) = controller.namespaces
    assert controller.serial == "LABNVME0"
    assert (namespace.size, namespace.block_size) == (256 * 2**20, 512)
    limits = namespace.copy_limits
    assert (limits.mssrl, limits.mcl, limits.msrc) == (256, 4096, 128)
