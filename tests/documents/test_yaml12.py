"""YAML as version 1.2 means it, JSON included; with places, and without surprises."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.documents import Refused, load
from orchestrator.documents.yaml12 import DEEPEST, Node


def plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {name: plain(member) for name, member in node.value.items()}
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    return node.value


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("NO", "NO"),
        ("on", "on"),
        ("yes", "yes"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2026-12-24", "2026-12-24"),
        ("1e3", 1000.0),
        ("~", None),
        ("", None),
        ("true", True),
        ("'true'", "true"),
        ("=", "="),
        ("<<: {a: 1}", {"<<": {"a": 1}}),
        ("99999999999999999999", 99999999999999999999),
        ('"\\ud83d\\ude00"', "😀"),
    ],
)
def test_what_words_mean(text: str, means: object) -> None:
    assert plain(load(text)) == means


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(values, st.booleans())
def test_json_is_yaml(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    if ascii_only or all(char.isprintable() for char in text):
        assert plain(load(text)) == value


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\nb: *x", 2, "aliases"),
        ("a: &x 1", 1, "anchors"),
        ("a: !!python/object:os.system x", 1, "tags"),
        ("a: 1\nb: 2\na: 3", 3, "is given twice, first in line 1"),
        ("a: 1\n---\nb: 2", 2, "second document"),
        ("a: [1, 2", 1, "this is no YAML"),
        ("a:\n\t- 1", 2, "this is no YAML"),
        ("ok: 1\nx: \x07", 2, "a character that YAML does not allow"),
        ("? [a]\n: 1", 1, "a key must be a word"),
        ('a: "\\ud83d"', 1, "half of a surrogate pair"),
        ('"\\udc00": 1', 1, "half of a surrogate pair"),
        ("[" * (DEEPEST + 2), 1, "nested more than"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(text: str, line: int, says: str) -> None:
    with pytest.raises(Refused) as caught:
        load(text)
    (problem,) = caught.value.problems
    assert problem.line == line
    assert says in problem.message


def test_places_are_those_of_the_names() -> None:
    root = load("a: 1\nb:\n  c: [x, y]\n")
    assert (root.value["b"].line, root.value["b"].column) == (2, 1)
    c = root.value["b"].value["c"]
    assert (c.line, c.column) == (3, 3)
    assert [item.line for item in c.value] == [3, 3]


@settings(derandomize=True, deadline=None, max_examples=500)
@given(st.text(st.sampled_from("ab:-[]{}?!&*|>'\"#,% \n\t\\0"), max_size=60))
def test_anything_is_read_or_refused(text: str) -> None:
    try:
        load(text)
    except Refused as refused:
        assert refused.problems
