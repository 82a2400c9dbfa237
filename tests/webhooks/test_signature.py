from __future__ import annotations

import hmac
import itertools
import json
import math
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokportal import verify_webhook_signature

from orchestrator.webhooks.signature import (
    ARTICLE,
    MAX_HEADER,
    MAX_SIGNATURES,
    PUBLIC,
    TOLERANCE,
    Signed,
    Verifier,
)

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "signatures.json").read_text("utf-8")
)

NOW = 1795196800
BODY = b'{"id":"evt_1","note":"caf\xc3\xa9"}'
NEW = "tp_test_secret_do_not_use"
OLD = "tp_test_secret_before_rotation"
STRANGER = "tp_test_secret_of_somebody_else"

X = b"x-tokportal-signature"
T = b"tokportal-signature"

Headers = list[tuple[bytes, bytes]]


def sign(message: bytes, secret: str = NEW) -> bytes:
    return hmac.new(secret.encode(), message, sha256).hexdigest().encode()


def v1(secret: str = NEW, t: bytes = b"%d" % NOW, body: bytes = BODY) -> bytes:
    return b"v1=" + sign(t + b"." + body, secret)


def article(secret: str = NEW, body: bytes = BODY) -> Headers:
    return [(X, sign(body, secret))]


def public(secret: str = NEW, t: bytes = b"%d" % NOW, body: bytes = BODY) -> Headers:
    return [(T, b"t=" + t + b"," + v1(secret, t, body))]


def key(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()[:8]


def accepts(headers: Headers, body: bytes = BODY, now: float = NOW) -> bool:
    return Verifier([NEW]).verify(headers, body, now) is not None


# Vectors


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vector(vector: dict[str, Any]) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in vector["headers"].items()]
    signed = Verifier(vector["secrets"]).verify(headers, vector["body"].encode(), vector["now"])
    assert (signed is not None) == vector["accept"], vector["why"]


def test_vectors_hold_both_verdicts_for_both_dialects() -> None:
    seen = {(vector["name"].split()[0], vector["accept"]) for vector in VECTORS}
    assert seen >= set(itertools.product(("article", "public"), (True, False)))


# What a good signature says


def test_article_signature_names_dialect_and_key() -> None:
    assert Verifier([NEW]).verify(article(), BODY, NOW) == Signed(ARTICLE, key(NEW))


def test_public_signature_names_dialect_and_key() -> None:
    assert Verifier([NEW]).verify(public(), BODY, NOW) == Signed(PUBLIC, key(NEW))


def test_dialects_are_called_as_in_the_interface() -> None:
    assert (ARTICLE, PUBLIC) == ("article", "2026-05-25")


def test_key_is_a_fingerprint_and_not_the_secret() -> None:
    signed = Verifier(["known answer"]).verify(article("known answer"), BODY, NOW)
    assert signed is not None
    assert signed.key == "20e18dd9"


def test_signature_is_found_among_other_headers() -> None:
    others = [(b"host", b"example.com"), (b"tokportal-event-id", b"evt_1"), (b"x-signature", b"0" * 64)]
    assert accepts([*others, *public(), *others])


def test_one_verifier_serves_many_messages() -> None:
    verifier = Verifier([NEW])
    for number in range(3):
        body = b"%d" % number
        assert verifier.verify(article(body=body), body, NOW)
        assert verifier.verify(public(body=body), body, NOW)


def test_bytes_of_the_body_are_signed_whatever_they_are() -> None:
    for body in (b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf{}", b"x" * 1_048_576):
        assert accepts(article(body=body), body)
        assert accepts(public(body=body), body)
        assert not accepts(article(body=body), body + b"\n")
        assert not accepts(public(body=body), body + b"\n")


def test_secret_from_the_environment_may_hold_bytes_that_are_not_utf8() -> None:
    raw = b"secret \xff"
    signature = hmac.new(raw, BODY, sha256).hexdigest().encode()
    assert Verifier([os.fsdecode(raw)]).verify([(X, signature)], BODY, NOW)


# Which header


def test_no_signature_header_is_refused() -> None:
    assert not accepts([])
    assert not accepts([(b"content-type", b"application/json")])


def test_both_headers_are_refused_even_if_both_are_right() -> None:
    assert not accepts(article() + public())
    assert not accepts(public() + article())


@pytest.mark.parametrize("headers", [article(), public()], ids=["article", "public"])
def test_repeated_header_is_refused_even_if_both_are_right(headers: Headers) -> None:
    assert accepts(headers)
    assert not accepts(headers + headers)


@pytest.mark.parametrize("name", [X, T])
def test_empty_header_does_not_hide_a_second_one(name: bytes) -> None:
    assert not accepts([(name, b""), *article()])
    assert not accepts([(name, b""), *public()])


def test_header_of_one_dialect_does_not_carry_the_other() -> None:
    assert not accepts([(X, public()[0][1])])
    assert not accepts([(T, article()[0][1])])
    assert not accepts([(T, b"v1=" + sign(BODY))])
    assert not accepts([(X, sign(b"%d." % NOW + BODY))])


# Article: the value


@pytest.mark.parametrize("change", [bytes.upper, bytes.title, lambda value: b"sha256=" + value])
def test_article_hex_may_be_upper_case_or_prefixed(change: Any) -> None:
    assert accepts([(X, change(sign(BODY)))])


def test_white_space_around_the_value_is_not_part_of_it() -> None:
    assert accepts([(X, b" " + sign(BODY) + b"\t ")])


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value[:-1],
        lambda value: value[:-2],
        lambda value: value + b"0",
        lambda value: value + b"00",
        lambda value: value[:32] + b" " + value[32:],
        lambda value: b" ".join((value[:32], value[32:63])),
        lambda value: b"0x" + value[2:],
        lambda value: b"sha256=sha256=" + value,
        lambda value: b"sha512=" + value,
        lambda value: b"sha256=",
        lambda value: b"sha256= " + value,
        lambda value: value + b"," + value,
        lambda value: b"v1=" + value,
        lambda value: bytes.fromhex(value.decode()),
        lambda value: value[:-1] + b"\xe9",
        lambda value: value[:-2] + "é".encode(),
        lambda value: value[:-2] + "\u0663".encode(),
        lambda value: value.translate(bytes.maketrans(b"0123456789abcdef", bytes(range(0xF0, 0x100)))),
        lambda value: b"\x00" * 64,
        lambda value: b"",
    ],
)
def test_article_value_is_exactly_64_hex_digits(change: Any) -> None:
    assert not accepts([(X, change(sign(BODY)))])


# Public: the parts


@pytest.mark.parametrize(
    "value",
    [
        b"t=%d , %s" % (NOW, v1()),
        b"  t=%d,\t%s  " % (NOW, v1()),
        b"%s,t=%d" % (v1(), NOW),
        b"t=%d,v0=abc,%s,v2=,foo,=,,scheme=t=1" % (NOW, v1()),
        b"t=%d,v1=%s" % (NOW, sign(b"%d." % NOW + BODY).upper()),
        b"t=%d,v1=,v1=zz,%s,v1" % (NOW, v1()),
    ],
    ids=["spaces", "tabs", "any order", "unknown parts", "upper case", "malformed v1 beside a good one"],
)
def test_public_header_is_read_generously(value: bytes) -> None:
    assert accepts([(T, value)])


@pytest.mark.parametrize(
    "value",
    [
        v1(),
        b"t=%d" % NOW,
        b"t=%d,v1=" % NOW,
        b"t=%d,v1" % NOW,
        b"t=%d,t=%d,%s" % (NOW, NOW, v1()),
        b"t=,t=%d,%s" % (NOW, v1()),
        b"t,t=%d,%s" % (NOW, v1()),
        b"t =%d,%s" % (NOW, v1()),
        b"T=%d,%s" % (NOW, v1()),
        b"t=%d,V1=%s" % (NOW, v1()[3:]),
        b"t=%d,v0=%s" % (NOW, v1()[3:]),
        b"t=%d;%s" % (NOW, v1()),
        b"t=%d,v1=%s" % (NOW, v1()[3:-2]),
        b"t=%d,v1= %s" % (NOW, v1()[3:]),
        b"t=%d,v1=sha256=%s" % (NOW, v1()[3:]),
        b"t=%d,v1=%s" % (NOW, "é".encode() * 32),
        b",",
        b"",
    ],
)
def test_public_header_needs_one_t_and_a_v1(value: bytes) -> None:
    assert not accepts([(T, value)])


@pytest.mark.parametrize(
    "t",
    [
        b"1_0",
        b"1_795_196_800",
        b"+1795196800",
        b"-1795196800",
        b" 1795196800",
        b"1795196800.0",
        b"1795196800e0",
        b"0x6b008840",
        "\u0661\u0667\u0669\u0665\u0661\u0669\u0666\u0668\u0660\u0660".encode(),
        "\uff11\uff17\uff19\uff15\uff11\uff19\uff16\uff18\uff10\uff10".encode(),
        b"1795196800\x00",
        b"0001795196800",
        b"",
    ],
)
def test_t_is_1_to_12_ascii_digits(t: bytes) -> None:
    assert not accepts(public(t=t))


def test_t_is_signed_as_written() -> None:
    assert accepts(public(t=b"001795196800"))
    assert not accepts([(T, b"t=001795196800," + v1(t=b"1795196800"))])


def test_t_is_signed() -> None:
    assert not accepts([(T, b"t=%d," % (NOW + 1) + v1())])


@pytest.mark.parametrize("age", [-299, 0, 299])
def test_message_younger_than_the_tolerance_is_taken(age: int) -> None:
    assert accepts(public(t=b"%d" % (NOW - age)))


@pytest.mark.parametrize("age", [-300, 300])
def test_message_of_exactly_the_tolerance_is_taken(age: int) -> None:
    assert abs(age) == TOLERANCE
    assert accepts(public(t=b"%d" % (NOW - age)))


@pytest.mark.parametrize("age", [-301, 301, -NOW, NOW, NOW - 10**12 + 1])
def test_message_beyond_the_tolerance_is_refused(age: int) -> None:
    assert not accepts(public(t=b"%d" % (NOW - age)))


def test_fraction_of_a_second_does_not_count() -> None:
    assert accepts(public(t=b"%d" % (NOW - 300)), now=NOW + 0.999)
    assert not accepts(public(t=b"%d" % (NOW - 300)), now=NOW + 1.0)
    assert not accepts(public(t=b"%d" % (NOW + 301)), now=NOW + 0.999)


@pytest.mark.parametrize("now", [math.nan, math.inf, -math.inf, -1.0, 1e300])
def test_broken_clock_refuses_public_messages_without_raising(now: float) -> None:
    assert not accepts(public(), now=now)


def test_article_signature_has_no_age() -> None:
    assert accepts(article(), now=0)
    assert accepts(article(), now=math.nan)


# Size


def test_16_signatures_are_compared_and_17_are_refused() -> None:
    wrong = b"v1=" + b"0" * 64
    for count, verdict in ((MAX_SIGNATURES, True), (MAX_SIGNATURES + 1, False)):
        first = [b"t=%d" % NOW, v1(), *[wrong] * (count - 1)]
        last = [b"t=%d" % NOW, *[wrong] * (count - 1), v1()]
        assert accepts([(T, b",".join(first))]) == verdict
        assert accepts([(T, b",".join(last))]) == verdict
    assert MAX_SIGNATURES == 16


def test_malformed_signatures_count_towards_the_16() -> None:
    assert accepts([(T, b"t=%d," % NOW + b"v1=," * 15 + v1())])
    assert not accepts([(T, b"t=%d," % NOW + b"v1=," * 16 + v1())])


def test_header_of_4096_bytes_is_read_and_a_longer_one_refused() -> None:
    value = b"t=%d,%s,pad=" % (NOW, v1())
    assert MAX_HEADER == 4096
    assert accepts([(T, value.ljust(4096, b"x"))])
    assert not accepts([(T, value.ljust(4097, b"x"))])
    assert not accepts([(T, value.ljust(5 * 1024, b"x"))])
    assert not accepts([(X, sign(BODY).ljust(5 * 1024))])


# Secrets


@pytest.mark.parametrize("headers", [article, public])
@pytest.mark.parametrize(
    ("accepted", "signer", "verdict"),
    [
        ([OLD], OLD, True),
        ([OLD], NEW, False),
        ([OLD, NEW], OLD, True),
        ([OLD, NEW], NEW, True),
        ([NEW], OLD, False),
        ([NEW], NEW, True),
        ([NEW, OLD], STRANGER, False),
    ],
    ids=["before, old", "before, new", "overlap, old", "overlap, new", "after, old", "after, new", "stranger"],
)
def test_rotation(accepted: list[str], signer: str, verdict: bool, headers: Any) -> None:
    signed = Verifier(accepted).verify(headers(signer), BODY, NOW)
    assert (signed.key if signed else None) == (key(signer) if verdict else None)


@pytest.mark.parametrize("signers", [[OLD, NEW], [NEW, OLD], [STRANGER, NEW], [NEW, STRANGER]])
def test_sender_that_rotates_may_sign_with_two_secrets(signers: list[str]) -> None:
    value = b",".join([b"t=%d" % NOW, *map(v1, signers)])
    assert accepts([(T, value)])


@pytest.mark.parametrize("secrets", [[], [""], ["", ""], [" ", "\t\n"]])
def test_without_secrets_nothing_verifies(secrets: list[str]) -> None:
    verifier = Verifier(secrets)
    for secret in ["", " ", *secrets]:
        assert verifier.verify(article(secret), BODY, NOW) is None
        assert verifier.verify(public(secret), BODY, NOW) is None


def test_empty_secret_among_others_is_dropped() -> None:
    verifier = Verifier(["", NEW, ""])
    assert verifier.verify(article(""), BODY, NOW) is None
    assert verifier.verify(article(NEW), BODY, NOW) == Signed(ARTICLE, key(NEW))


@pytest.fixture
def comparisons(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, bytes]]:
    made: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def record(left: bytes, right: bytes) -> bool:
        made.append((left, right))
        return compare(left, right)

    monkeypatch.setattr(hmac, "compare_digest", record)
    return made


@pytest.mark.parametrize("position", [0, 1, 2])
def test_every_pair_is_compared_wherever_the_match_is(position: int, comparisons: list[tuple[bytes, bytes]]) -> None:
    secrets = [OLD, STRANGER]
    secrets.insert(position, NEW)
    value = b",".join([b"t=%d" % NOW, v1(), b"v1=" + b"0" * 64, v1()])
    assert Verifier(secrets).verify([(T, value)], BODY, NOW) == Signed(PUBLIC, key(NEW))
    assert len(comparisons) == 9


def test_digests_are_compared_as_bytes(comparisons: list[tuple[bytes, bytes]]) -> None:
    accepts(article())
    assert comparisons == [(bytes.fromhex(sign(BODY).decode()),) * 2]


def test_malformed_signatures_are_not_compared(comparisons: list[tuple[bytes, bytes]]) -> None:
    assert accepts([(T, b"t=%d,v1=,v1=00,v1=zz,%s0,%s" % (NOW, v1(), v1()))])
    assert len(comparisons) == 1


def test_without_secrets_as_much_is_computed_as_with_one(comparisons: list[tuple[bytes, bytes]]) -> None:
    assert Verifier([]).verify(article(), BODY, NOW) is None
    assert [(len(left), len(right)) for left, right in comparisons] == [(32, 32)]


# Anything else

NAMES = st.sampled_from([X, T]) | st.binary(max_size=20)
PIECES = st.sampled_from(
    [b"t", b"v1", b"=", b",", b" ", b"\t", b"%d" % NOW, b"1_0", b"0" * 64, b"sha256=", b"\xd9\xa3", b"\xe9", b"\x00"]
)
VALUES = st.binary(max_size=200) | st.lists(PIECES, max_size=30).map(b"".join)
CLOCKS = st.floats() | st.integers(NOW - 400, NOW + 400)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=4), st.binary(max_size=300), CLOCKS, st.lists(st.just(NEW)))
@example([(T, b"t=" + b"9" * 5000 + b",v1=" + b"0" * 64)], b"", NOW, [NEW])
@example([(T, b"," * 4096)], b"", NOW, [NEW])
def test_arbitrary_input_neither_raises_nor_verifies(
    headers: Headers, body: bytes, now: float, secrets: list[str]
) -> None:
    assert Verifier(secrets).verify(headers, body, now) is None


@given(VALUES, st.binary(max_size=300), CLOCKS)
def test_arbitrary_public_value_neither_raises_nor_verifies(value: bytes, body: bytes, now: float) -> None:
    assert Verifier([NEW]).verify([(T, value)], body, now) is None


@given(VALUES, st.binary(max_size=300), CLOCKS)
def test_arbitrary_article_value_neither_raises_nor_verifies(value: bytes, body: bytes, now: float) -> None:
    assert Verifier([NEW]).verify([(X, value)], body, now) is None


@given(st.binary(min_size=1, max_size=300), st.data())
def test_one_bit_of_the_body_decides(body: bytes, data: st.DataObject) -> None:
    bit = data.draw(st.integers(0, len(body) * 8 - 1))
    other = bytearray(body)
    other[bit // 8] ^= 1 << bit % 8
    for headers in (article(body=body), public(body=body)):
        assert accepts(headers, body)
        assert not accepts(headers, bytes(other))


@given(st.integers(0, 63), st.sampled_from(b"0123456789abcdef"))
def test_one_digit_of_the_signature_decides(position: int, digit: int) -> None:
    for good in (article(), public()):
        [(name, value)] = good
        start = len(value) - 64 + position
        other = value[:start] + bytes([digit]) + value[start + 1 :]
        assert accepts([(name, other)]) == (other == value)


# TokPortal's own check

SECRETS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(str.strip)
EXTRAS = st.lists(st.sampled_from([b"v0=00", b"v2=abc", b"scheme=hmac", b"foo", b""]), max_size=3)


@given(
    secret=SECRETS,
    signer=st.none() | SECRETS,
    body=st.binary(max_size=300),
    age=st.integers(-302, 302) | st.sampled_from([-301, -300, -299, 299, 300, 301]),
    extras=EXTRAS,
    gap=st.sampled_from([b"", b" ", b"  ", b"\t"]),
    signed_late=st.sampled_from([0, 0, 0, 1]),
    data=st.data(),
)
def test_agrees_with_the_vendors_check_on_well_formed_headers(
    secret: str,
    signer: str | None,
    body: bytes,
    age: int,
    extras: list[bytes],
    gap: bytes,
    signed_late: int,
    data: st.DataObject,
) -> None:
    t = b"%d" % (NOW - age)
    signature = v1(signer or secret, b"%d" % (NOW - age + signed_late), body)
    parts = data.draw(st.permutations([b"t=" + t, signature, *extras]))
    value = (gap + b"," + gap).join(parts)

    ours = Verifier([secret]).verify([(T, value)], body, NOW)
    theirs = verify_webhook_signature(body, value.decode(), secret, TOLERANCE, NOW)

    assert (ours is not None) == theirs


def test_vendors_check_accepts_what_it_signed_here() -> None:
    value = public()[0][1]
    assert verify_webhook_signature(BODY, value.decode(), NEW, TOLERANCE, NOW)
    assert not verify_webhook_signature(BODY, value.decode(), OLD, TOLERANCE, NOW)
