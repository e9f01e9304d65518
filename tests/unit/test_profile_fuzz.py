"""Whatever a file says, loading it gives a profile or problems with their place."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lab import ROOT
from lab.profile.load import load_file
from lab.profile.models import Profile
from lab.profile.problem import InvalidProfileError

TEXT = (ROOT / "profiles/nvme-copy.yaml").read_text()
DATA = yaml.safe_load(TEXT)
DATA["devices"][0]["namespaces"].append({"size": "64M", "zoned": {"zone_size": "16M"}})

JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.dates()
    | st.binary(max_size=8)
    | st.sampled_from(["nvme", "1G", "30s", "512", 512, 10**700, -1, 0, 257, 2**64]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=4,
)


def outcome(path: Path, text: str) -> Profile | None:
    """Load `text`; None if it was refused, after checking what is said about it."""
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        return load_file(path)
    except InvalidProfileError as error:
        assert error.problems
        lines = str(error).split("\n")
        assert len(lines) == len(error.problems)
        count = max(len(text.splitlines()), 1)
        for line, problem in zip(lines, error.problems, strict=True):
            assert line.startswith(f"{path}:{problem.line}: ")
            assert line.isprintable()
            assert problem.line is not None
            assert 1 <= problem.line <= count
            assert "expected" in problem.message or "not valid YAML" in problem.message
        return None


def containers(value: Any) -> list[Any]:
    """All mappings and lists in `value`."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    found = [value] if isinstance(value, dict | list) and value else []
    return found + [deeper for item in inner for deeper in containers(item)]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """The shipped profile as YAML, with a few values deleted, doubled, replaced or added."""
    data = copy.deepcopy(DATA)
    for _ in range(draw(st.integers(1, 3))):
        where = draw(st.sampled_from(containers(data) or [{"": ""}]))
        key = draw(st.sampled_from(list(where) if isinstance(where, dict) else range(len(where))))
        match draw(st.sampled_from(["delete", "replace", "add", "double"])):
            case "delete":
                del where[key]
            case "replace":
                where[key] = draw(JUNK)
            case "add" if isinstance(where, dict):
                where[draw(st.text(max_size=8))] = draw(JUNK)
            case "double" if isinstance(where, list):
                # The same object twice: YAML writes it as anchor and alias.
                where.append(where[key])
            case _:
                where[key] = copy.deepcopy(DATA)
    if draw(st.booleans()):
        # YAML writes this as an alias to what encloses it.
        data["machine"] = data
    text: str = yaml.safe_dump(data, allow_unicode=True, sort_keys=False)
    return text


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "p.yaml"


@given(text=mutated())
@settings(max_examples=150, deadline=None)
def test_mutated_profile(path: Path, text: str) -> None:
    profile = outcome(path, text)
    if profile is not None:
        assert Profile.model_validate_json(profile.model_dump_json()) == profile


@given(start=st.integers(0, len(TEXT)), length=st.integers(0, 40), new=st.text(max_size=10))
@settings(max_examples=150, deadline=None)
def test_overwritten_characters(path: Path, start: int, length: int, new: str) -> None:
    outcome(path, TEXT[:start] + new + TEXT[start + length :])


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_doubled_and_dropped_lines(path: Path, data: st.DataObject) -> None:
    lines = TEXT.splitlines(keepends=True)
    picked = data.draw(st.lists(st.sampled_from(lines), min_size=1, max_size=len(lines)))
    outcome(path, "".join(picked))


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@`,? \n\t\\0~.\ud800\x85\u2028é"))
@settings(max_examples=200, deadline=None)
def test_random_text_is_no_profile(path: Path, text: str) -> None:
    assert outcome(path, text) is None
