# SPDX-License-Identifier: GPL-2.0-or-later
"""pydantic's errors in the words of the file: the key's path, what is there, what was expected."""

import difflib
from collections.abc import Iterator, Sequence
from typing import get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from lab.problem import KeyPath, shown
from lab.profile.base import Conflict, ConflictError, ProfileModel
from lab.profile.fields import tag_of
from lab.profile.models import Profile

EXTENDS = "extends"
"""A key of the file that is none of the model: the profile that this one is laid over."""


def file_keys(model: type[ProfileModel]) -> list[str]:
    """The keys that the file may have where it means `model`."""
    return [*model.yaml_keys(), *([EXTENDS] if model is Profile else [])]


def explain(error: ValidationError) -> Iterator[Conflict]:
    """Path and message of each thing that is wrong with a profile's data."""
    for details in error.errors(include_url=False):
        yield from _explain(details)


def _explain(details: ErrorDetails) -> Iterator[Conflict]:
    path, models = _place(details["loc"])
    context, value = details.get("ctx", {}), details["input"]
    match details["type"]:
        case "value_error" if isinstance(context["error"], ConflictError):
            for relative, message in context["error"].conflicts:
                yield (*path, *relative), message
        case "value_error":
            yield path, str(context["error"])
        case "missing":
            parent = _place(details["loc"][:-1])[1][0]
            yield path, f"missing; expected: {_description(parent, str(path[-1]))}"
        case "extra_forbidden":
            parent = _place(details["loc"][:-1])[1][0]
            key = str(path[-1])
            yield path, _unknown("key", key, file_keys(parent), _inner_with(parent, key))
        case "model_type" | "model_attributes_type":
            yield path, f"{shown(value)} is not a mapping; {_mapping_of(models)}"
        case "union_tag_not_found":
            yield (*path, "type"), f"missing; expected {', '.join(map(tag_of, models))}"
        case "union_tag_invalid":
            tags = [tag_of(model) for model in models]
            message = f"{shown(value['type'])} is an {_unknown('type', context['tag'], tags)}"
            yield (*path, "type"), message
        case "tuple_type":
            yield path, f"{shown(value)} is not a list; expected a list"
        case "too_short":
            # pydantic counts only the valid items; the others have problems of their own.
            if len(value) < context["min_length"]:
                yield path, f"too few items; expected at least {context['min_length']}"
        case "too_long":
            yield path, f"too many items; expected at most {context['max_length']}"
        case "literal_error":
            yield path, f"{shown(value)} does not fit; expected {context['expected']}"
        case _:
            yield path, f"{shown(value)} does not fit; expected: {details['msg']}"


def _place(loc: KeyPath) -> tuple[KeyPath, list[type[ProfileModel]]]:
    """The path in the file that pydantic's `loc` means, and the models that may stand there.

    They differ by the tag that pydantic puts after the list index of a union's member.
    """
    path: list[str | int] = []
    models: list[type[ProfileModel]] = [Profile]
    before: str | int = ""
    for step in loc:
        if isinstance(before, int) and models and "type" in models[0].model_fields:
            models = [model for model in models if tag_of(model) == step]
        else:
            path.append(step)
            if isinstance(step, str):
                models = _models_under(models, step)
        before = step
    return tuple(path), models


def _models_under(models: list[type[ProfileModel]], key: str) -> list[type[ProfileModel]]:
    return [
        inner
        for model in models
        for name, field in model.model_fields.items()
        if key == (field.alias or name)
        for inner in _models_in(field.annotation)
    ]


def _models_in(annotation: object) -> Iterator[type[ProfileModel]]:
    if isinstance(annotation, type) and issubclass(annotation, ProfileModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _description(model: type[ProfileModel], key: str) -> str:
    for name, field in model.model_fields.items():
        if key == (field.alias or name):
            return field.description or key
    return key


def _inner_with(model: type[ProfileModel], key: str) -> list[str]:
    """Where else `key` would be known: its path by way of each field of `model`."""
    return [
        f"{field.alias or name}{'[0]' if get_origin(field.annotation) is tuple else ''}.{key}"
        for name, field in model.model_fields.items()
        if any(key in inner.yaml_keys() for inner in _models_in(field.annotation))
    ]


def _unknown(what: str, given: str, known: list[str], elsewhere: Sequence[str] = ()) -> str:
    close = difflib.get_close_matches(given, known, n=1) or elsewhere
    question = f"; did you mean {close[0]}?" if close else ";"
    return f"unknown {what}{question} expected {', '.join(known)}"


def _mapping_of(models: list[type[ProfileModel]]) -> str:
    keys = dict.fromkeys(key for model in models for key in file_keys(model))
    return f"expected a mapping with {', '.join(keys)}"
