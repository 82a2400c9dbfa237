"""YAML 1.2 with the core schema, which JSON is a part of: `NO` is Norway, `on` is a word, 010 is ten.

PyYAML reads YAML 1.1; its parser is used, its idea of what a plain word means is not. Aliases and tags are refused:
nothing here needs them, and a few lines of aliases can stand for gigabytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import yaml

from orchestrator.documents.reader import Problem, Refused, join, named_key

DEEPEST: Final = 40
MOST_VALUES: Final = 250_000
"""Values in a document: more are no policies and no campaign, and would only take time and memory."""
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,100}")
_OCTAL: Final = re.compile(r"0o[0-7]{1,18}")
_HEXADECIMAL: Final = re.compile(r"0x[0-9a-fA-F]{1,15}")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]{1,30}|[0-9]{1,30}(\.[0-9]{0,30})?)([eE][-+]?[0-9]{1,3})?")
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE: Final = frozenset({"true", "True", "TRUE"})
_FALSE: Final = frozenset({"false", "False", "FALSE"})


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it stands; lines and columns begin at 1. A mapping is a dict of nodes, a sequence a list."""

    value: Any
    line: int
    column: int


class _Loader(yaml.SafeLoader):
    values = 0
    """How many were read."""


_Loader.yaml_implicit_resolvers = {}


def load(text: str) -> Node:
    """The document. Raises `Refused` where it cannot be read."""
    try:
        loader: Any = _Loader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        raise Refused([Problem("error", line, 1, "", "there is a character that YAML does not allow")]) from None
    try:
        loader.get_event()  # The stream begins.
        if loader.check_event(yaml.StreamEndEvent):
            return Node(None, 1, 1)
        loader.get_event()  # The document begins.
        root = _node(loader, "", 0)
        loader.get_event()  # The document ends.
        if not loader.check_event(yaml.StreamEndEvent):
            raise _refused(loader.peek_event().start_mark, "", "there is a second document; write one")
        return root
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(part for part in (error.context, error.problem) if part)
        raise _refused(mark, "", f"this is no YAML: {said}") from None
    except (ValueError, OverflowError):
        # The parser does not look whether an escape such as "\UFFFFFFFF" stands for a character.
        raise _refused(loader.get_mark(), "", "there is an escape that stands for no character") from None
    finally:
        loader.dispose()


def decode(data: bytes) -> str:
    """The text of a file. Raises `Refused` for what is not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Refused([Problem("error", line, 1, "", "this is not UTF-8: save the file as UTF-8")]) from None


def _node(loader: Any, path: str, depth: int) -> Node:
    """The next value; `path` is its key."""
    event = loader.get_event()
    mark = event.start_mark
    line, column = mark.line + 1, mark.column + 1
    if depth > DEEPEST:
        raise _refused(mark, path, f"this is nested more than {DEEPEST} levels deep")
    loader.values += 1
    if loader.values > MOST_VALUES:
        raise _refused(mark, path, f"this has more than {MOST_VALUES:,} values")
    _check_plain(event, path)
    if isinstance(event, yaml.ScalarEvent):
        plain = event.implicit[0] and event.style is None
        return Node(_plain(event.value) if plain else _text(event, path), line, column)
    if isinstance(event, yaml.SequenceStartEvent):
        items: list[Node] = []
        while not loader.check_event(yaml.SequenceEndEvent):
            items.append(_node(loader, f"{path}[{len(items)}]", depth + 1))
        loader.get_event()
        return Node(items, line, column)
    members: dict[str, Node] = {}
    while not loader.check_event(yaml.MappingEndEvent):
        start = loader.peek_event().start_mark
        key = _key(loader, path)
        below = join(path, named_key(key))
        if key in members:
            raise _refused(start, below, f"is given twice, first in line {members[key].line}")
        value = _node(loader, below, depth + 1)
        # What is wrong with a member is looked for where its name stands.
        members[key] = Node(value.value, start.line + 1, start.column + 1)
    loader.get_event()
    return Node(members, line, column)


def _check_plain(event: Any, path: str) -> None:
    if isinstance(event, yaml.AliasEvent):
        raise _refused(event.start_mark, path, "aliases (*name) are not allowed: write the value again")
    if event.anchor is not None:
        raise _refused(event.start_mark, path, "anchors (&name) are not allowed: write the value again")
    if event.tag is not None and event.tag != "!":
        raise _refused(event.start_mark, path, "tags (!name) are not allowed")


def _key(loader: Any, path: str) -> str:
    event = loader.get_event()
    _check_plain(event, path)
    if not isinstance(event, yaml.ScalarEvent):
        raise _refused(event.start_mark, path, "a key must be a word")
    return _text(event, path)


def _text(event: Any, path: str) -> str:
    """JSON writes characters beyond U+FFFF as two escapes, of which YAML knows nothing."""
    text: str = event.value
    if not _SURROGATES.search(text):
        return text
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise _refused(event.start_mark, path, "there is half of a surrogate pair, which is no character") from None


def _plain(text: str) -> Any:
    """What a plain word means by YAML 1.2's core schema."""
    if text in _NULLS:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _HEXADECIMAL.fullmatch(text):
        return int(text, 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _refused(mark: Any, path: str, message: str) -> Refused:
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    return Refused([Problem("error", line, column, path, message)])
