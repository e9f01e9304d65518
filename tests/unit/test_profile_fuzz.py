# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever a file or --set says, loading gives a profile or problems with their place.

10,000 examples in all; LAB_FUZZ=N makes that N.
"""

import copy
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.document import MAX_DEPTH, parse
from lab.errors import UsageError
from lab.problem import InvalidProfileError, KeyPath, Problem, dotted
from lab.profile.change import ItemName, ProfileChange
from lab.profile.find import display, shipped
from lab.profile.load import load, load_file
from lab.profile.models import Profile

EXAMPLES = int(os.environ.get("LAB_FUZZ", "10000"))

FILES = {display(path) for path in shipped()}
TEXTS = {path.stem: path.read_text() for path in shipped()}
DATA = {name: yaml.safe_load(text) for name, text in TEXTS.items()}
DATA["two namespaces"] = copy.deepcopy(DATA["nvme-copy"])
DATA["two namespaces"]["devices"][0]["namespaces"].append(
    {"size": "64M", "zoned": {"zone_size": "16M"}}
)

WORDS = st.sampled_from(
    ["nvme", "loop", "xfs", "LABNVME0", "1G", "30s", "512", 512, 10**700, -1, 0, 257, 2**64, True]
)
PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | st.floats() | st.text() | WORDS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=4,
)
"""What YAML can say without a tag."""

JUNK: st.SearchStrategy[Any] = st.recursive(
    PLAIN | st.text(max_size=30) | st.dates() | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=4,
)

STEPS = [
    "devices", "[0]", "[1]", "[99]", "[LABNVME0]", ".namespaces", ".size", ".layers", "machine",
    ".x", "peer", "guest", ".kernel_args", "..", "[", "extends", "'a b'",
]  # fmt: skip
"""What paths of --set are made of, and what they are not."""

WHOLE = (
    "not valid YAML: ", "character ", "byte ", "empty; ", "another document ", "nested too deep",
    "anchor ", "alias ", "tag ",
)  # fmt: skip
"""What can be wrong with a file as a whole; all else has a key."""


def part(share: float) -> settings:
    """Settings for that share of all examples."""
    # Large examples are slow to draw on a busy host, and none is filtered.
    return settings(
        max_examples=max(int(EXAMPLES * share), 1),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def outcome(path: Path, text: str, *changes: str) -> Profile | tuple[Problem, ...]:
    """What comes of `text` in a file, after checking what is said about it."""
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        return load(str(path), changes)
    except InvalidProfileError as error:
        assert error.problems
        assert str(error).split("\n") == [str(problem) for problem in error.problems]
        for problem in error.problems:
            check(problem, text, str(path))
        return error.problems


def check(problem: Problem, text: str, file: str) -> None:
    """A problem names its place, and says what was expected there."""
    assert str(problem).isprintable()
    assert "expected" in problem.message or "not valid YAML" in problem.message
    if problem.file.startswith("--set "):
        assert problem.line is None
        assert problem.key
        return
    assert problem.line is not None
    if problem.file != file:
        assert problem.file in FILES  # which `text` extends
        return
    assert 1 <= problem.line <= max(len(text.splitlines()), 1)
    if not problem.key:
        assert problem.message.startswith(WHOLE) or (
            "instead of a mapping" in problem.message or "as a key" in problem.message
        )


def containers(value: Any) -> list[Any]:
    """All mappings and lists in `value`."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    found = [value] if isinstance(value, dict | list) and value else []
    return found + [deeper for item in inner for deeper in containers(item)]


def paths(value: Any, path: KeyPath = ()) -> list[KeyPath]:
    """The paths of all values in `value`."""
    keys = list(value) if isinstance(value, dict) else []
    keys = list(range(len(value))) if isinstance(value, list) else keys
    found = [path] if path else []
    return found + [deeper for key in keys for deeper in paths(value[key], (*path, key))]


@st.composite
def mutated(draw: st.DrawFn, values: st.SearchStrategy[Any] = JUNK) -> Any:
    """A profile's data with a few values deleted, doubled, replaced or added."""
    data = copy.deepcopy(DATA[draw(st.sampled_from(sorted(DATA)))])
    for _ in range(draw(st.integers(1, 3))):
        where = draw(st.sampled_from(containers(data) or [{"": ""}]))
        key = draw(st.sampled_from(list(where) if isinstance(where, dict) else range(len(where))))
        match draw(st.sampled_from(["delete", "replace", "add", "double", "move", "nest"])):
            case "delete":
                del where[key]
            case "replace":
                where[key] = draw(values)
            case "add" if isinstance(where, dict):
                where[draw(st.text(max_size=8))] = draw(values)
            case "double" if isinstance(where, list):
                # The same object twice: YAML writes it as anchor and alias.
                where.append(where[key])
            case "move":
                # A value of the right kind for some other place.
                where[key] = copy.deepcopy(draw(st.sampled_from(containers(data) or [{}])))
            case _:
                where[key] = copy.deepcopy(DATA["nvme-copy"])
    # What it extends is not what the tests compare it with.
    data.pop("extends", None)
    return data


Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class Plain(Dumper):  # type: ignore[misc]
    """Writes YAML without anchors and aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def written(data: Any, dumper: Any = Plain) -> str:
    """`data` as a YAML file."""
    text: str = yaml.dump(data, Dumper=dumper, sort_keys=False, allow_unicode=True)
    return text


def put(data: Any, way: KeyPath, value: Any) -> Any:
    """`data` with `value` instead of what is at `way`."""
    if not way:
        return value
    items: Any = dict(data) if isinstance(data, dict) else list(data)
    items[way[0]] = put(data[way[0]], way[1:], value)
    return items


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "p.yaml"


@given(data=mutated(), cyclic=st.booleans())
@part(0.3)
def test_mutated_profile(path: Path, data: Any, cyclic: bool) -> None:
    if cyclic and isinstance(data, dict):
        # YAML writes this as an alias to what encloses it.
        data["machine"] = data
    found = outcome(path, written(data, Dumper))
    if isinstance(found, Profile):
        assert Profile.model_validate_json(found.model_dump_json()) == found


@given(data=mutated(PLAIN))
@part(0.2)
def test_keys_of_problems_lead_to_the_value_and_its_line(path: Path, data: Any) -> None:
    text = written(data)
    found = outcome(path, text)
    if isinstance(found, Profile):
        return
    lines = text.splitlines()
    for problem in found:
        assert problem.line is not None
        try:
            steps = ProfileChange.parse(f"{problem.key}=").steps
        except UsageError:
            continue  # an odd key, which is quoted
        here: Any = data
        for step in steps[:-1]:
            assert not isinstance(step, ItemName)
            here = here[step]
        last = steps[-1]
        # A key that is no text has the line of its own, and the path of the mapping around it.
        if isinstance(last, str) and last in here and "as a key" not in problem.message:
            assert last in lines[problem.line - 1]


@given(st.data())
@part(0.15)
def test_overwritten_characters(path: Path, data: st.DataObject) -> None:
    text = TEXTS[data.draw(st.sampled_from(sorted(TEXTS)))]
    start = data.draw(st.integers(0, len(text)))
    end = start + data.draw(st.integers(0, 40))
    outcome(path, text[:start] + data.draw(st.text(max_size=10)) + text[end:])


@given(st.data())
@part(0.1)
def test_doubled_and_dropped_lines(path: Path, data: st.DataObject) -> None:
    text = TEXTS[data.draw(st.sampled_from(sorted(TEXTS)))]
    lines = text.splitlines(keepends=True)
    picked = data.draw(st.lists(st.sampled_from(lines), min_size=1, max_size=len(lines)))
    outcome(path, "".join(picked))


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@`,? \n\t\\0~.\ud800\x85\u2028é"))
@part(0.05)
def test_random_text_is_no_profile(path: Path, text: str) -> None:
    assert not isinstance(outcome(path, text), Profile)


def said(found: Profile | tuple[Problem, ...]) -> Any:
    """What can be compared between two ways to the same profile: all but the places."""
    if isinstance(found, Profile):
        return found
    return sorted((problem.key, problem.message) for problem in found)


def laid_over(base: Any, over: Any) -> Any:
    """What `extends` means, said in another way than lab.profile.extend does."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    result = dict(base)
    for key, value in over.items():
        result[key] = laid_over(base[key], value) if key in base else value
    return result


@given(base=mutated(PLAIN), over=mutated(PLAIN), data=st.data())
@part(0.1)
def test_extending_is_like_writing_it_all_in_one_file(
    path: Path, base: Any, over: Any, data: st.DataObject
) -> None:
    kept = data.draw(st.sets(st.sampled_from(sorted(over)))) if over else set()
    over = {key: over[key] for key in over if key in kept}
    # A base that is no proper YAML, as with 0E0 for a key, stays that whatever is laid over it.
    if parse(written(base), "p").faults:
        return
    file = path.parent / "base.yaml"
    file.write_text(written(base))
    path.write_text(written({**over, "extends": "base.yaml"}))
    try:
        extended: Profile | tuple[Problem, ...] = load_file(path)
    except InvalidProfileError as error:
        extended = error.problems
        assert {problem.file for problem in extended} <= {str(path), str(file)}
    expected = outcome(path, written(laid_over(base, over)))
    assert said(extended) == said(expected)


@given(data=mutated(PLAIN), change=st.data(), value=PLAIN)
@part(0.07)
def test_setting_is_like_writing_it_in_the_file(
    path: Path, data: Any, change: st.DataObject, value: Any
) -> None:
    def plain(way: KeyPath) -> bool:
        # An odd key is shown in quotes of either kind, and shortened: that is for people to read.
        return not {"'", '"'} & {*dotted(way)} and way[0] not in ("extends", "name")

    ways = [way for way in paths(data) if plain(way)]
    # A file that is no proper YAML, as with 0E0 for a key, stays that whatever is set.
    if not ways or parse(written(data), "p").faults:
        return
    way = change.draw(st.sampled_from(ways))
    text = yaml.dump(value, Dumper=Plain, default_flow_style=True)
    found = outcome(path, written(data), f"{dotted(way)}={text}")
    assert said(found) == said(outcome(path, written(put(data, way, value))))


@given(
    way=st.lists(
        st.sampled_from(STEPS) | st.text(max_size=3),
        max_size=5,
    ),
    value=st.text(max_size=10) | PLAIN.map(str),
)
@part(0.03)
def test_any_change_is_made_or_refused(path: Path, way: list[str], value: str) -> None:
    try:
        outcome(path, TEXTS["nvme-copy"], f"{''.join(way)}={value}")
    except UsageError as error:
        assert str(error).startswith("--set ")
        assert "expected PATH=VALUE" in error.message


@given(
    way=st.lists(
        st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]*", fullmatch=True) | st.integers(0, 99),
        max_size=MAX_DEPTH - 1,
    )
)
def test_paths_are_read_as_they_are_written(way: list[str | int]) -> None:
    way = ["a", *way]
    text = dotted(tuple(way))
    assert ProfileChange.parse(f"{text}=1").steps == tuple(way)
    assert parse("x", "f", tuple(way)).places.keys() == {tuple(way)}
