from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.dialects import ARTICLE, PUBLIC, Identity, Unreadable, identify
from orchestrator.dialects.body import parse

DIALECTS = [ARTICLE, PUBLIC]


def nested(depth: int, leaf: str = "") -> bytes:
    """An object that is `depth` levels of brackets deep."""
    return b'{"a":' + b"[" * (depth - 1) + leaf.encode() + b"]" * (depth - 1) + b"}"


# Strict JSON


def test_object_is_read_as_it_is() -> None:
    body = b'{"a": [1, -2.5, true, null, "\\u00e9\\ud83d\\ude00"], "": {}}'
    assert parse(body) == {"a": [1, -2.5, True, None, "é😀"], "": {}}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{} {}", "not JSON"),
        (b'{"a":1,}', "not JSON"),
        (b"{'a':1}", "not JSON"),
        (b'{"a":01}', "not JSON"),
        (b'{"a":"\n"}', "not JSON"),
        (b"a=1&b=2", "not JSON"),
        (b'\xef\xbb\xbf{"a":1}', "not JSON"),
        (b'{"a":"\xff"}', "not UTF-8: byte 6"),
        ('{"a":1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8"),
    ],
)
def test_body_that_is_not_json_is_unreadable(body: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        parse(body)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"[]", "an array"),
        (b'"text"', "a string"),
        (b"1", "a number"),
        (b"1.5", "a number"),
        (b"true", "a boolean"),
        (b"null", "null"),
    ],
)
def test_body_that_is_no_object_is_unreadable(body: bytes, what: str) -> None:
    with pytest.raises(Unreadable, match=f"not a JSON object but {what}$"):
        parse(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"b":2,"a":3}',
        b'{"data":{"a":1,"a":2}}',
        b'{"data":[{"a":1,"\\u0061":2}]}',
    ],
)
def test_duplicate_keys_are_unreadable_at_any_depth(body: bytes) -> None:
    with pytest.raises(Unreadable, match="the key 'a' stands twice"):
        parse(body)


def test_same_key_in_two_objects_is_no_duplicate() -> None:
    assert parse(b'{"a":{"a":1},"b":{"a":2}}') == {"a": {"a": 1}, "b": {"a": 2}}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_numbers_that_are_none_are_unreadable(number: str) -> None:
    for body in (f'{{"a":{number}}}', f'{{"data":{{"views":[{number}]}}}}'):
        with pytest.raises(Unreadable):
            parse(body.encode())


@pytest.mark.parametrize("digits", [str(2**53 + 1), str(-(2**53) - 1), "1" + "0" * 30, "9" * 5_000], ids=len)
def test_integers_beyond_what_programs_agree_on_are_unreadable(digits: str) -> None:
    with pytest.raises(Unreadable):
        parse(f'{{"a":{digits}}}'.encode())


@pytest.mark.parametrize("before", ["", " ", "\n", "\t\r", "1,", "1, -", "[[1,", "[ "])
def test_they_are_found_wherever_a_number_may_begin(before: str) -> None:
    closing = "]" * (before.count("[") + 1)
    with pytest.raises(Unreadable, match="beyond 2\\^53"):
        parse(f'{{"a":[{before}{2**53 + 1}{closing}}}'.encode())


@pytest.mark.parametrize("number", [2**53, -(2**53), 0])
def test_integers_up_to_that_are_read(number: int) -> None:
    assert parse(f'{{"a":{number}}}'.encode()) == {"a": number}


@pytest.mark.parametrize("depth", [33, 40, 1_000, 100_000])
def test_body_nested_too_deep_is_unreadable(depth: int) -> None:
    with pytest.raises(Unreadable, match="nested deeper than 32 levels"):
        parse(nested(depth))


@pytest.mark.parametrize("depth", [1, 31])
def test_body_nested_less_deep_is_read(depth: int) -> None:
    assert parse(nested(depth, "1")) == json.loads(nested(depth, "1"))


def test_body_with_too_many_values_is_unreadable() -> None:
    assert len(parse(json.dumps({"a": [0] * 9_000}).encode())["a"]) == 9_000
    with pytest.raises(Unreadable, match="more than 10000 values"):
        parse(json.dumps({"a": [0] * 10_001}).encode())


@pytest.mark.parametrize("body", [{"a": "x" * 8_193}, {"x" * 8_193: 1}, {"a": [{"b": "x" * 8_193}]}])
def test_text_that_is_too_long_is_unreadable(body: dict[str, Any]) -> None:
    with pytest.raises(Unreadable, match="longer than 8192 characters"):
        parse(json.dumps(body).encode())


def test_long_text_is_read() -> None:
    assert parse(json.dumps({"a": "é" * 8_192}).encode()) == {"a": "é" * 8_192}


@pytest.mark.parametrize("escape", ["\\ud800", "\\udfff", "a\\udc00\\ud800"])
def test_half_of_a_surrogate_pair_is_unreadable(escape: str) -> None:
    for body in (f'{{"a":"{escape}"}}', f'{{"{escape}":1}}'):
        with pytest.raises(Unreadable, match="surrogate"):
            parse(body.encode())


def test_nul_is_unreadable() -> None:
    for body in (b'{"a":"x\\u0000y"}', b'{"\\u0000":1}'):
        with pytest.raises(Unreadable, match="NUL"):
            parse(body)


@pytest.mark.parametrize(
    "body",
    [
        *[nested(depth, leaf) for depth in (30, 31, 32, 33) for leaf in ("", "1")],
        b'{"a":9007199254740992}',
        b'{"a":9007199254740993}',
        b'{"a":"' + b"x" * 8_100 + b'"}',
        b'{"a":"' + b"9" * 20 + b'"}',
    ],
)
def test_limits_do_not_depend_on_spacing(body: bytes) -> None:
    def readable(body: bytes) -> bool:
        try:
            parse(body)
        except Unreadable:
            return False
        return True

    assert readable(body) == readable(body + b" " * 9_000) == readable(b"\n\t" + body)


def test_reasons_are_short_and_printable_whatever_the_sender_wrote() -> None:
    key = "k\\n\\u202e\\ud800" * 1_000
    with pytest.raises(Unreadable) as caught:
        parse(f'{{"{key}":1,"{key}":2}}'.encode())
    assert len(str(caught.value)) < 1_000
    assert str(caught.value).isprintable()


# Identity


def test_event_id_is_the_vendors_where_it_gave_one() -> None:
    for dialect in DIALECTS:
        identity = identify(dialect, b'{"id":"evt_1"}')
        assert (identity.event_id, identity.id_source) == ("evt_1", "given")


@pytest.mark.parametrize(
    ("message", "event_id"),
    [
        ({"event_id": "evt_2"}, "evt_2"),
        ({"data": {"event_id": "evt_3"}}, "evt_3"),
        ({"id": "evt_1", "event_id": "evt_2", "data": {"event_id": "evt_3"}}, "evt_1"),
        ({"event_id": "evt_2", "data": {"event_id": "evt_3"}}, "evt_2"),
        ({"id": None, "event_id": None, "data": {"event_id": "evt_3"}}, "evt_3"),
    ],
)
def test_article_may_name_its_event_in_three_places(message: dict[str, Any], event_id: str) -> None:
    identity = identify(ARTICLE, json.dumps(message).encode())
    assert (identity.event_id, identity.id_source) == (event_id, "given")
    if "id" not in message:
        assert identify(PUBLIC, json.dumps(message).encode()).id_source == "derived"


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"id":null}',
        b'{"id":7}',
        b'{"id":""}',
        b'{"id":"  "}',
        b'{"id":"a\\nb"}',
        b'{"id":["evt_1"]}',
        b'{"id":"' + b"x" * 201 + b'"}',
        b'{"data":7}',
        b"[]",
        b'"evt_1"',
        b"not JSON",
        b'{"id":"evt_1","id":"evt_1"}',
        b'{"id":"evt_1","n":NaN}',
        b"\xff",
        b"",
        b'{"id":"evt_1","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"id":"evt_1","a":"\\ud800"}',
    ],
    ids=lambda body: body[:20],
)
def test_message_without_a_usable_id_gets_one_derived_from_its_digest(body: bytes) -> None:
    for dialect in DIALECTS:
        identity = identify(dialect, body)
        assert identity.id_source == "derived"
        assert identity.event_id == "derived_" + identity.digest[:32]
        assert identity == identify(dialect, body)


def test_longest_id_is_taken() -> None:
    assert identify(ARTICLE, b'{"id":"' + b"x" * 200 + b'"}').id_source == "given"


def digest(body: bytes | str) -> str:
    return identify(ARTICLE, body.encode() if isinstance(body, str) else body).digest


def test_digest_does_not_see_spacing_key_order_or_escapes() -> None:
    plain = digest('{"id":"e","data":{"a":"é","b":[1,2]}}')
    assert digest(' {\n "data" : {"b":[1 , 2],"a":"\\u00e9"}, "id":"\\u0065" }\r\n') == plain


def test_digest_does_not_see_the_signature_of_the_envelope() -> None:
    plain = digest('{"id":"e","data":{}}')
    assert digest('{"id":"e","data":{},"signature":"abc"}') == plain
    assert digest('{"signature":{"deep":[1]},"id":"e","data":{}}') == plain


@pytest.mark.parametrize(
    "other",
    [
        '{"id":"e","data":{"a":[2,1]}}',
        '{"id":"e","data":{"a":[1,2],"signature":"x"}}',
        '{"id":"e","data":{"a":[1,"2"]}}',
        '{"id":"e","data":{"a":[1,2]},"b":null}',
        '{"id":"f","data":{"a":[1,2]}}',
        '{"id":"e","data":{"a":[true,2]}}',
    ],
)
def test_digest_sees_every_other_difference(other: str) -> None:
    assert digest(other) != digest('{"id":"e","data":{"a":[1,2]}}')


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"id":"e","a":1,"a":2}', b'{"id":"e","a":1, "a":2}'),
        (b'{"id":"e","a":1,"a":2}', b'{"id":"e","a":2,"a":2}'),
        (b'{"a":NaN}', b'{"a": NaN}'),
        (b"\xff", b"\xfe"),
        (b"not JSON", b"not  JSON"),
    ],
)
def test_digest_of_what_cannot_be_parsed_is_that_of_its_bytes(one: bytes, other: bytes) -> None:
    assert digest(one) != digest(other)
    assert digest(one) == digest(bytes(one))


def test_duplicate_keys_are_known_by_their_bytes_even_when_a_signature_differs() -> None:
    assert digest(b'{"a":1,"a":1,"signature":"x"}') != digest(b'{"a":1,"a":1,"signature":"y"}')


# Whatever comes

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
unlimited = settings(derandomize=True, deadline=None, max_examples=300)


@unlimited
@given(
    st.binary(max_size=200) | st.text(alphabet='{}[]",:0123456789.eE+-\\untrfalsIiyNd ', max_size=40).map(str.encode)
)
def test_any_bytes_have_an_identity_and_are_read_or_unreadable(body: bytes) -> None:
    for dialect in DIALECTS:
        identity = identify(dialect, body)
        assert isinstance(identity, Identity)
        assert len(identity.digest) == 64
    try:
        assert type(parse(body)) is dict
    except Unreadable as reason:
        assert str(reason)


@unlimited
@given(anything, st.booleans())
def test_any_json_has_one_identity_however_it_is_written(value: Any, ascii_only: bool) -> None:
    compact = json.dumps(value, separators=(",", ":")).encode()
    spaced = json.dumps(value, indent=1, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    identities = [(identify(dialect, compact), identify(dialect, spaced)) for dialect in DIALECTS]
    try:
        parse(compact)
    except Unreadable:
        return
    assert all(one == other for one, other in identities)
