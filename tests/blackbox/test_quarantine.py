"""What verifies and cannot be understood: taken, kept raw, listed, and applied once that is possible."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from tests.blackbox.server import ARTICLE, PUBLIC, Server, encode, wait_for
from tests.blackbox.story import article, fresh, from_now, public, stamp, without

BUNDLE = "bdl_never_seen"
ID = "evt_of_quarantine"
"""Stands for an id that is new in every test."""
CREATED = article("bundle.created", BUNDLE, id=ID)
POSTED = article("video.posted", BUNDLE, id=ID, data={"video_id": "vid_never_seen", "url": "https://x.example/1"})
FAILED = article("video.post_failed", BUNDLE, id=ID, data={"video_id": "vid_never_seen", "error_code": "x"})
METRICS = article("video.analytics_updated", BUNDLE, id=ID, data={"video_id": "vid_never_seen", "views": 1})
REMADE = public("account.remade", id=ID, data={"bundle_id": BUNDLE, "saved_account_id": "sav_never_seen"})
FINALIZED = public("video.finalized", id=ID, data={"video_id": "vid_never_seen", "bundle_id": BUNDLE})


def told(message: dict[str, Any], **data: Any) -> bytes:
    return encode(message | {"data": message["data"] | data})


def raw(old: str, new: str, message: dict[str, Any] = CREATED) -> bytes:
    """The message with a part of its text replaced."""
    text = json.dumps(message)
    assert old in text
    return text.replace(old, new).encode()


UNREADABLE = {
    "nothing": b"",
    "white space": b" \n",
    "a word": b"hello",
    "a form": b"id=evt_1&event=bundle.created",
    "cut off": encode(CREATED)[:-1],
    "two objects": encode(CREATED) + encode(CREATED),
    "a comma too many": raw("}}", "},}"),
    "single quotes": raw('"', "'"),
    "a comment": b"// x\n" + encode(CREATED),
    "a byte order mark": b"\xef\xbb\xbf" + encode(CREATED),
    "UTF-16": json.dumps(CREATED).encode("utf-16"),
    "no UTF-8": raw("US", "U\u00e9").decode().encode("latin-1"),
    "no UTF-8 at all": bytes(range(128, 256)),
    "an encoded surrogate": raw("US", "XX").replace(b"XX", b"\xed\xa0\x80"),
    "an array": encode([CREATED]),  # type: ignore[arg-type]
    "a text": b'"x"',
    "a number": b"7",
    "null": b"null",
    "true": b"true",
    "an empty object": b"{}",
    "an id twice": raw('{"id"', '{"id": "evt_other", "id"'),
    "a key twice": raw('"event":', '"event": "bundle.banned", "event":'),
    "a key twice, escaped": raw('"event":', '"\\u0065vent": "bundle.banned", "event":'),
    "a key twice, deep inside": raw("{}", '{"a": [{"b": 1, "b": 1}]}'),
    "NaN": raw("{}", '{"x": NaN}'),
    "Infinity": raw("{}", '{"x": Infinity}'),
    "-Infinity": raw("{}", '{"x": -Infinity}'),
    "a number beyond all": raw("{}", '{"x": 1e999}'),
    "an integer without end": raw("{}", '{"x": ' + "9" * 5000 + "}"),
    "an integer beyond 2^53": raw("{}", '{"x": 9007199254740993}'),
    "nested too deep": raw("{}", '{"x": ' + "[" * 40 + "]" * 40 + "}"),
    "nested without end": b"[" * 200_000,
    "nested without end, well formed": raw("{}", '{"x": ' + '{"a":' * 50_000 + "1" + "}" * 50_001),
    "a NUL": raw("{}", '{"username": "a\\u0000b"}'),
    "a NUL in a name": raw("{}", '{"a\\u0000b": 1}'),
    "a bare NUL": raw("US", "\0"),
    "half a surrogate pair": raw("{}", '{"username": "\\ud800"}'),
    "an endless text": told(CREATED, username="x" * 10_000),
    "a million values": raw("{}", '{"x": [' + "1," * 20_000 + "1]}"),
}
INCOMPLETE = {
    **{f"no {name}": encode(without(CREATED, name)) for name in CREATED if name != "id"},
    **{f"{name} null": encode(CREATED | {name: None}) for name in CREATED if name != "id"},
    "no video": told(POSTED, video_id=None),
    "no error code": told(FAILED, error_code=None),
    "no metrics": told(METRICS, views=None),
}
MALFORMED = {
    "an event that is a number": encode(CREATED | {"event": 7}),
    "an event that is a list": encode(CREATED | {"event": ["bundle.created"]}),
    "an id that is a number": encode(CREATED | {"id": 7}),
    "an id that is empty": encode(CREATED | {"id": ""}),
    "an id without end": encode(CREATED | {"id": "e" * 5000}),
    "an id with a line break": encode(CREATED | {"id": "evt\n1"}),
    "a bundle that is a number": encode(CREATED | {"bundle_id": 7}),
    "a bundle that is empty": encode(CREATED | {"bundle_id": ""}),
    "a bundle without end": encode(CREATED | {"bundle_id": "b" * 5000}),
    "a bundle that is an object": encode(CREATED | {"bundle_id": {"id": 1}}),
    "data that are a list": encode(CREATED | {"data": []}),
    "data that are a text": encode(CREATED | {"data": "{}"}),
    "a platform nobody knows": encode(CREATED | {"platform": "myspace"}),
    "a platform that is a number": encode(CREATED | {"platform": 1}),
    "a country nobody knows": encode(CREATED | {"country": "XX"}),
    "a country by its name": encode(CREATED | {"country": "France"}),
    "a country that is a number": encode(CREATED | {"country": 1}),
    "a country that is empty": encode(CREATED | {"country": ""}),
    "a video that is a number": told(POSTED, video_id=1),
    "a URL that is a number": told(POSTED, url=1),
    "a username that is a list": told(CREATED, username=["x"]),
    "an error code that is a number": told(FAILED, error_code=1),
    "a retry that is a text": told(FAILED, retry="yes"),
    "a retry that may be": told(FAILED, retry={"attempt": 1, "max_attempts": 3, "will_retry": "no"}),
    "fewer views than none": told(METRICS, views=-1),
    "half a view": told(METRICS, views=1.5),
    "views as a text": told(METRICS, views="12"),
    "views as a boolean": told(METRICS, views=True),
}
TIMES = {
    "no time": "yesterday",
    "a time without offset": "2026-11-20T12:00:00",
    "a date": "2026-11-20",
    "a thirteenth month": "2026-13-01T00:00:00Z",
    "a 25th hour": "2026-11-20T25:00:00Z",
    "an empty time": "",
    "Unix seconds": 1795196800,
    "before 2015": "2014-12-31T23:59:59.999Z",
    "before 2015 by its offset": "2015-01-01T00:30:00+01:00",
    "the year one": "0001-01-01T00:00:00+14:00",
    "the year 9999": "9999-12-31T23:59:59-14:00",
    "before all calendars": "-0001-01-01T00:00:00Z",
}
PUBLIC_ONES = {
    "a type that is a number": encode(REMADE | {"type": 1}),
    "no type": encode(without(REMADE, "type")),
    "no created_at": encode(without(REMADE, "created_at")),
    "no data": encode(without(REMADE, "data")),
    "names nobody": encode(REMADE | {"data": {}}),
    "an account that is a number": told(REMADE, saved_account_id=1),
    "an account that is empty": told(REMADE, saved_account_id=""),
    "a country nobody knows": told(REMADE, country="XX"),
    "a platform nobody knows": told(REMADE, platform="myspace"),
    "a video without bundle": told(FINALIZED, bundle_id=None),
    "a bundle without video": told(FINALIZED, video_id=None),
    "position none": told(FINALIZED, position=0),
    "a position that is a text": told(FINALIZED, position="1"),
    "a URL that is a list": told(FINALIZED, platform_url=[]),
    "a ban in the future": encode(
        public("account.banned", id=ID, data={"bundle_id": BUNDLE, "banned_at": "2099-01-01T00:00:00Z"})
    ),
    "a management that ended perhaps": encode(
        public("account.revealed", id=ID, data={"bundle_id": BUNDLE, "management_ended": "yes"})
    ),
}
CASES: dict[str, tuple[bytes, str]] = {
    **{f"article: {name}": (body, ARTICLE) for name, body in (UNREADABLE | INCOMPLETE | MALFORMED).items()},
    **{f"article: {name}": (encode(CREATED | {"timestamp": time}), ARTICLE) for name, time in TIMES.items()},
    **{f"public: {name}": (body, PUBLIC) for name, body in (UNREADABLE | PUBLIC_ONES).items()},
    **{f"public: {name}": (encode(REMADE | {"created_at": time}), PUBLIC) for name, time in TIMES.items()},
}


@dataclass
class Sent:
    """A body that cannot be understood, and a good message that came after it with the same id."""

    body: bytes
    dialect: str
    answer: httpx2.Response
    good: str


@pytest.fixture(scope="module")
def sent(server: Server) -> dict[str, Sent]:
    """Every case, sent one after the other and judged by the engine."""
    found = {}
    for name, (pattern, dialect) in CASES.items():
        event_id = fresh("evt")
        body = pattern.replace(ID.encode(), event_id.encode())
        # Some bodies are the same in every case or run: those may be known already.
        answer = server.post_webhook(body, dialect)
        mended = (CREATED if dialect == ARTICLE else REMADE) | {"id": event_id}
        mended = json.loads(json.dumps(mended).replace(BUNDLE, fresh("bdl")))
        found[name] = Sent(body, dialect, answer, server.deliver(mended, dialect))
    server.wait_until_applied()
    return found


@pytest.mark.parametrize("name", CASES)
def test_what_cannot_be_understood_is_quarantined_and_claims_nothing(
    server: Server, sent: dict[str, Sent], name: str
) -> None:
    case = sent[name]
    assert case.answer.status_code == 200, case.answer.text
    message_id = case.answer.json()["message_id"]
    item = server.api(f"/api/messages/{message_id}")
    assert (item["status"], item["events"], item["dialect"]) == ("quarantined", [], case.dialect)
    assert item["reason"]
    if item["body"] is not None:
        assert item["body"].encode() == case.body
    assert server.deliver_again(case.body, case.dialect) == message_id
    assert server.api(f"/api/messages/{case.good}")["status"] == "applied"


def test_what_is_quarantined_leaves_no_trace_in_bundles_and_videos(server: Server, sent: dict[str, Sent]) -> None:
    server.api(f"/api/bundles/{BUNDLE}", 404)
    server.api("/api/videos/vid_never_seen", 404)
    listed = {item["message_id"] for item in server.items("/api/messages", status="quarantined")}
    assert {case.answer.json()["message_id"] for case in sent.values()} <= listed


def test_a_body_that_is_no_text_is_shown_as_it_is(server: Server) -> None:
    item = server.judged(server.deliver(b"\xff\xfe" + fresh("x").encode()))
    assert (item["status"], item["body"]) == ("quarantined", None)
    assert item["body_base64"].startswith("//5")


def test_bytes_that_cannot_be_parsed_are_known_by_themselves(server: Server) -> None:
    body = fresh("{not json").encode()
    first = server.deliver(body)
    assert server.deliver_again(body) == first
    assert server.deliver(body + b" ") != first
    assert server.judged(first)["deliveries"] == 2


@pytest.mark.parametrize(
    ("distance", "status"), [(timedelta(minutes=61), "quarantined"), (timedelta(minutes=58), "applied")]
)
def test_clocks_may_differ_by_an_hour(server: Server, distance: timedelta, status: str) -> None:
    time = stamp(datetime.now(UTC) + distance)
    assert server.judged(server.deliver(article("bundle.created", fresh("bdl"), timestamp=time)))["status"] == status
    remade = public("account.remade", data={"bundle_id": fresh("bdl")}, created_at=time)
    assert server.judged(server.deliver(remade, PUBLIC))["status"] == status


@pytest.mark.parametrize("time", ["2015-01-01T00:00:00Z", "2015-01-01T01:00:00+01:00", "2014-12-31T23:30:00-01:00"])
def test_time_begins_in_2015(server: Server, time: str) -> None:
    bundle = fresh("bdl")
    assert server.judged(server.deliver(article("bundle.created", bundle, timestamp=time)))["status"] == "applied"
    server.wait_until_applied()
    (item,) = server.items(f"/api/bundles/{bundle}/history")
    assert item["occurred_at"] in ("2015-01-01T00:00:00Z", "2015-01-01T00:30:00Z")


@pytest.mark.parametrize("dialect", [ARTICLE, PUBLIC])
@pytest.mark.parametrize("name", ["bundle.sold", "video.went.viral", "x", "BUNDLE.CREATED", "\u202eevil", "e" * 3000])
def test_an_event_nobody_knows_is_unrecognised(server: Server, dialect: str, name: str) -> None:
    bundle = fresh("bdl")
    message = (
        article(name, bundle)
        if dialect == ARTICLE
        else public(name, data={"bundle_id": bundle, "saved_account_id": "s"})
    )
    message_id = server.deliver(message, dialect)
    item = server.judged(message_id)
    assert (item["status"], item["events"], item["event_id"]) == ("unrecognised", [], message["id"])
    assert item["reason"]
    assert server.deliver_again(message, dialect) == message_id
    server.wait_until_applied()
    server.api(f"/api/bundles/{bundle}", 404)
    # It can be applied again, as often as one likes; nobody knows it any better.
    assert server.retry(message_id)["status"] == "applied"
    assert server.api(f"/api/messages/{message_id}")["status"] == "unrecognised"


# Again, after a fix. What can mend itself in a test is time: a message from the near future becomes one of the past.


def ahead(seconds: float) -> str:
    return from_now(hours=1, seconds=seconds)


def test_a_retry_applies_what_has_become_plausible(server: Server) -> None:
    bundle = fresh("bdl")
    message = article("bundle.created", bundle, timestamp=ahead(2))
    message_id = server.deliver(message)
    assert server.judged(message_id)["status"] == "quarantined"
    assert server.retry(message_id)["status"] == "applied"

    def applied() -> Any:
        server.retry(message_id)
        item = server.api(f"/api/messages/{message_id}")
        return item if item["status"] == "applied" else None

    item = wait_for(applied, what="a retry that applies the message")
    assert item["reason"] is None
    assert len(item["events"]) == 2
    server.wait_until_applied()
    (fact,) = server.items(f"/api/bundles/{bundle}/history")
    assert fact["cause"] == {"message_id": message_id, "event_id": message["id"]}
    assert fact["recorded_at"] > item["received_at"]
    assert server.api(f"/api/bundles/{bundle}")["state"] == "created"

    # Now it owns its id, and what is applied is not applied again.
    assert server.deliver_again(message) == message_id
    assert server.judged(server.deliver(message | {"country": "FR"}))["status"] == "conflict"
    refused = server.command(f"/api/messages/{message_id}/retry", Prefer="wait=20")
    assert (refused.status_code, refused.headers["content-type"]) == (409, "application/problem+json")
    assert len(server.items(f"/api/bundles/{bundle}/history")) == 1


def test_a_retry_comes_too_late_for_an_id_that_is_taken(server: Server) -> None:
    bundle = fresh("bdl")
    early = article("bundle.banned", bundle, timestamp=ahead(2))
    early_id = server.deliver(early)
    assert server.judged(early_id)["status"] == "quarantined"
    assert server.judged(server.deliver(article("bundle.created", bundle, id=early["id"])))["status"] == "applied"

    def settled() -> Any:
        assert server.command(f"/api/messages/{early_id}/retry", Prefer="wait=20").status_code == 200
        item = server.api(f"/api/messages/{early_id}")
        return item if item["status"] != "quarantined" else None

    item = wait_for(settled, what="a retry that settles the message")
    assert (item["status"], item["events"]) == ("conflict", [])
    server.wait_until_applied()
    assert server.api(f"/api/bundles/{bundle}")["state"] == "created"


def test_a_retry_of_what_is_still_unreadable_changes_nothing(server: Server) -> None:
    message_id = server.deliver(fresh("not json").encode())
    before = server.judged(message_id)
    command = server.retry(message_id)
    assert (command["kind"], command["status"], command["events"]) == ("command", "applied", [])
    after = server.api(f"/api/messages/{message_id}")
    assert after | {"position": 0} == before | {"position": 0}


# Odd, and understood


def test_texts_of_all_kinds_are_kept_as_they_are(server: Server) -> None:
    """An image, invisible characters, those that turn the direction of writing, markup, formulas, commands."""
    texts = [
        "\U0001f469\u200d\U0001f680 caf\u00e9 cafe\u0301",
        "\u202egnp.exe \u200b\ufeff",
        "<script>alert(1)</script>",
        "=HYPERLINK(1)",
        "'; DROP TABLE journal; --",
        "<!channel> <@U1>",
        "\x1b[31mred",
        "a\nb\r\nc\t",
        "%s %n {0} ${x}",
        "\ud83d\ude00",
        "\uffff",
        "x" * 8000,
    ]
    bundles = {fresh("bdl"): text for text in texts}
    for bundle, text in bundles.items():
        server.deliver(article("bundle.created", bundle, data={"username": text}))
    server.wait_until_applied()
    for bundle, text in bundles.items():
        shown = server.api(f"/api/bundles/{bundle}")
        assert shown["username"] == text.encode("utf-16", "surrogatepass").decode("utf-16")
        (fact,) = server.items(f"/api/bundles/{bundle}/history")
        assert fact["data"]["username"] == shown["username"]


def test_names_that_mean_something_elsewhere(server: Server) -> None:
    """As part of an address they are written with percent signs; nothing is refused that can be printed."""
    names = [
        fresh("bdl") + part
        for part in ("/../x", "?a=b&c#d", "%2F", " with spaces", "é\u4e2d", "'\"`;--", ":", "{id}", "../history", "+")
    ]
    for name in names:
        server.deliver(article("bundle.created", name))
    server.wait_until_applied()
    for name in names:
        address = server.client().build_request("GET", "/").url.copy_with(raw_path=b"/api/bundles/" + quoted(name))
        answer = server.client().get(address)
        assert (answer.status_code, answer.json()["bundle_id"]) == (200, name)


def quoted(name: str) -> bytes:
    return b"".join(b"%%%02X" % byte for byte in name.encode())


def test_unknown_members_are_kept_and_harm_nobody(server: Server) -> None:
    bundle = fresh("bdl")
    extra = {"seen": [1.5, -0.0, 1e300, 2**53, None, True, {"a": {"b": {}}}], "__proto__": {}, "": "empty"}
    message = article("bundle.created", bundle, data=extra, more=extra, version="9")
    assert server.judged(server.deliver(message))["status"] == "applied"
    (fact,) = server.items(f"/api/bundles/{bundle}/history")
    assert fact["data"] == extra


def test_a_body_of_a_mebibyte_is_taken(server: Server) -> None:
    bundle = fresh("bdl")
    message = article("bundle.created", bundle, data={"notes": ["n" * 8000] * 130})
    body = encode(message)
    body = body + b" " * (1024 * 1024 - len(body))
    assert len(body) == 1024 * 1024
    message_id = server.deliver(body)
    assert server.deliver_again(body) == message_id
    item = server.judged(message_id)
    assert (item["status"], len(item["body"])) == ("applied", 1024 * 1024)
    (listed,) = server.journalled(message["id"])
    assert len(listed["body"]) <= 2000
    server.wait_until_applied()
    assert server.api(f"/api/bundles/{bundle}")["state"] == "created"
