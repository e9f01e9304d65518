# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of a test script: what it would do one after the other, so that each is a case.

cryptsetup's scripts are bash: functions first, then checks of the surroundings, then tests, in
lines that call these functions or stand there themselves, each under a heading (an `echo` at the
beginning of a line of output).  A part is a call of a function that says something, or a heading
with what stands under it; it runs as a copy of the script in which the other parts are blank, so
that line numbers in its backtrace are those of the script.
"""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import takewhile

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

SEPARATOR = ":"
"""Between the names of a script and of its part."""

SKIPPED = 77
"""How a test ends that was not run (automake's manual, Scripts-based Testsuites)."""

_LANGUAGE = Language(tree_sitter_bash.language())
_SUBSTITUTION = "substitution"
"""In the type of a node that runs a command where a value stands."""
_VALUES = ("variable_assignment", "variable_assignments", "declaration_command")
_SAYING = ("echo", "printf")
_WORDS = re.compile(r"[a-z0-9]+")


class _Kind(Enum):
    VALUE = "the definition of a function or a value"
    SETUP = "a call of a function that says nothing"
    TEST = "a call of a function that says something"
    HEADING = "what is said at the beginning of a line"
    OTHER = "anything else"


@dataclass(frozen=True)
class _Statement:
    """A statement outside functions and loops: where it stands, in bytes, and in which branches of
    `if`, as their offsets.  `name` is that of the function, or what a heading says."""

    kind: _Kind
    start: int
    end: int
    within: tuple[int, ...]
    name: str = ""

    def reached_with(self, other: "_Statement") -> bool:
        """Whether it is carried out wherever the other is."""
        return other.within[: len(self.within)] == self.within


@dataclass(frozen=True)
class ScriptPart:
    """A part: its name, and a script that does nothing else."""

    name: str
    text: str


def parts(script: str) -> list[ScriptPart]:
    """The parts of a script, in its order; none of one that has no tests of either form."""
    reading = _ScriptReading(script.encode())
    found = reading.statements
    first = next((n for n, one in enumerate(found) if one.kind in _BEGINNINGS), len(found))
    last = len(found)
    while last > first and reading.ends(found[last - 1]):
        last -= 1
    before, body, after = found[:first], found[first:last], found[last:]
    end = after[0].start if after else len(reading.source)
    return [
        ScriptPart(
            name, reading.script([*before, *_needed(body, part[0]), *part, *after], part, end)
        )
        for name, part in _members(body)
    ]


_BEGINNINGS = (_Kind.TEST, _Kind.HEADING)
_DOING = (_Kind.TEST, _Kind.OTHER)
_PREPARING = (_Kind.HEADING, _Kind.VALUE, _Kind.SETUP)


def _members(body: list[_Statement]) -> Iterator[tuple[str, list[_Statement]]]:
    """The names of the parts, and the statements that only they have."""
    groups: list[list[_Statement]] = []
    for each in body:
        if each.kind in _BEGINNINGS:
            groups.append([])
        groups[-1].append(each)
    numbers: Counter[str] = Counter()
    for group in groups:
        if not any(each.kind in _DOING for each in group):
            continue
        name = group[0].name
        numbers[name] += 1
        plain = group[0].kind is _Kind.HEADING and numbers[name] == 1
        yield (name if plain else f"{name}.{numbers[name]}"), group


def _needed(body: list[_Statement], member: _Statement) -> Iterator[_Statement]:
    """What must be done before a part begins: values are set, it is said what it is about, and
    devices are made as under the nearest heading that makes any (each of them starts over)."""
    headed: list[list[_Statement]] = [[]]
    for each in body[: body.index(member)]:
        if each.kind is _Kind.HEADING:
            headed.append([])
        if each.reached_with(member):
            headed[-1].append(each)
            if each.kind is _Kind.VALUE:
                yield each
    if member.kind is not _Kind.HEADING:
        yield from (each for each in headed[-1] if each.kind is _Kind.HEADING)
    for group in reversed(headed):
        leading = takewhile(lambda each: each.kind in _PREPARING, group)
        if setup := [each for each in leading if each.kind is _Kind.SETUP]:
            yield from setup
            return


class _ScriptReading:
    """Reads a script, whose bytes are `source`, and writes it with statements left out."""

    def __init__(self, source: bytes) -> None:
        self.source = source
        self._open = False  # whether a line of output has begun that has not ended
        self._functions: dict[str, Node] = {}
        self._choices: list[Node] = []  # every `if` outside functions and loops
        self._conditions: dict[int, str] = {}  # of branches, by where they begin
        root = Parser(_LANGUAGE).parse(source).root_node
        self.statements = list(self._each(root.named_children, ()))

    def _each(self, nodes: Iterable[Node], within: tuple[int, ...]) -> Iterator[_Statement]:
        for node in nodes:
            if node.type == "if_statement" and not self._may_exit(node):
                yield from self._choice(node, within)
            elif node.type != "comment":
                kind, name = self._kind(node)
                yield _Statement(kind, node.start_byte, node.end_byte, within, name)

    def _may_exit(self, node: Node) -> bool:
        """Whether an `if` is a check of the surroundings that may end the script."""
        return any(self._text(_command(inner)) in ("exit", "skip") for inner in _all(node))

    def _choice(self, node: Node, within: tuple[int, ...]) -> Iterator[_Statement]:
        """The statements of the branches of an `if`, not those of its conditions."""
        self._choices.append(node)
        line = self._open
        for start, branch in _branches(node):
            words = branch[0].parent or node
            self._conditions[start] = self._text(words)[: start - words.start_byte]
            self._open = line
            yield from self._each(branch, (*within, start))

    def _kind(self, node: Node) -> tuple[_Kind, str]:
        if node.type == "function_definition":
            self._functions[self._text(node.child_by_field_name("name"))] = node
            return _Kind.VALUE, ""
        if node.type in _VALUES:
            runs = any(_SUBSTITUTION in inner.type for inner in _all(node))
            return (_Kind.OTHER if runs else _Kind.VALUE), ""
        called = self._text(_command(node))
        if called in self._functions:
            return self._call(called)
        if node.type == "command" and called in _SAYING:
            words = self._text(node).split()
            heading, self._open = not self._open, not self._ends_line(node)
            said = "-".join(_WORDS.findall(" ".join(words[1 + self._open :]).lower()))
            return (_Kind.HEADING, said) if heading else (_Kind.OTHER, "")
        return _Kind.OTHER, ""

    def _call(self, called: str) -> tuple[_Kind, str]:
        """What a call of a function of the script's own is."""
        function = self._functions[called]
        if not any(self._says(inner) for inner in _all(function)):
            return _Kind.SETUP, called
        if not self._open:
            return _Kind.TEST, called
        # A heading stands there that waits for the rest of its line.
        self._open = not self._ends_line(function)
        return _Kind.OTHER, ""

    def _says(self, node: Node) -> bool:
        """Whether it is a command that says something to whoever runs the script."""
        around = node.parent.type if node.parent else ""
        return (
            node.type == "command"
            and self._text(node.child_by_field_name("name")) in _SAYING
            and around not in ("pipeline", "redirected_statement")
        )

    def _ends_line(self, node: Node) -> bool:
        """Whether the last thing that is done is to end a line of output, in all branches."""
        if node.type == "command":
            return self._says(node) and self._text(node).split()[1:2] != ["-n"]
        if node.type == "if_statement":
            return all(self._ends_line(branch[-1]) for _, branch in _branches(node) if branch)
        inside = [n for n in node.named_children if n.type != "comment"]
        return bool(inside) and self._ends_line(inside[-1])

    def _text(self, node: Node | None) -> str:
        return self.source[node.start_byte : node.end_byte].decode() if node else ""

    def ends(self, statement: _Statement) -> bool:
        """Whether a statement may end a script that has done its work."""
        text = self.source[statement.start : statement.end]
        return not statement.within and (
            statement.kind is _Kind.SETUP or text.split()[:1] == [b"exit"]
        )

    def script(self, kept: Sequence[_Statement], part: Sequence[_Statement], end: int) -> str:
        """The script with the statements that are `kept` only, all of them in their lines.

        At `end` it ends with status 77 where nothing of the `part` was reached.
        """
        text = bytearray(self.source)
        for choice in self._choices:
            if not any(choice.start_byte <= each.start < choice.end_byte for each in kept):
                _blank(text, choice.start_byte, choice.end_byte)
        for each in self.statements:
            if each not in kept:
                _blank(text, each.start, each.end)
        begin = next(each for each in part if each.kind in _DOING)
        condition = self._conditions[begin.within[-1]] if begin.within else ""
        why = shlex.quote(f"behind {' '.join(condition.split())}")
        text[end:end] = f'[ "$LAB_PART" ] || {{ echo {why}; exit {SKIPPED}; }}; '.encode()
        text[begin.start : begin.start] = b"LAB_PART=reached; "
        return text.decode()


def _blank(text: bytearray, start: int, end: int) -> None:
    """Have nothing done in a place, where something must stand; lines stay lines."""
    text[start:end] = b":" + re.sub(rb"[^\n]", b" ", text[start + 1 : end])


def _all(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _all(child)


def _branches(node: Node) -> Iterator[tuple[int, list[Node]]]:
    """The branches of an `if`: where each begins, and what stands there."""
    for branch in (node, *(n for n in node.named_children if n.type.endswith("_clause"))):
        start = next(n.end_byte for n in branch.children if n.type in ("then", "else"))
        inside = (n for n in branch.named_children if n.start_byte >= start)
        yield start, [n for n in inside if not n.type.endswith("_clause")]


def _command(node: Node | None) -> Node | None:
    """The name of the first command of a statement."""
    while node and node.type in ("list", "redirected_statement", "negated_command"):
        node = node.named_children[0]
    return node.child_by_field_name("name") if node and node.type == "command" else None
