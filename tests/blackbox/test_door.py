"""The webhook door: challenges, signatures, and what is answered to a message that verifies."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from tests.blackbox.conftest import ACCOUNTS_SECRET, TRY_SECRET
from tests.blackbox.server import (
    ARTICLE,
    OLD_SECRET,
    PUBLIC,
    SECRET,
    Server,
    digest,
    encode,
    signature,
    stranger,
    wait_for,
)
from tests.blackbox.story import article, at, fresh, public, without
from tests.conftest import vectors

on_sqlite = pytest.mark.parametrize("server", ["sqlite"], indirect=True)
"""For what is decided before any database is asked."""
PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))


BIRTHS: dict[str, Callable[[str], dict[str, Any]]] = {
    ARTICLE: lambda bundle: article("bundle.created", bundle),
    PUBLIC: lambda bundle: public("bundle.created", data={"bundle_id": bundle, "country": "US"}),
}
"""The birth of a bundle in each dialect."""


def check_refusal(answer: httpx2.Response, status: int) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert answer.json()["title"]


# The challenge


@on_sqlite
@pytest.mark.parametrize(
    "value",
    [
        "x",
        "a" * 512,
        PRINTABLE,
        "0",
        " ",
        "  two  ",
        "<script>alert(1)</script>",
        "{{7*7}}${7*7}%s%n",
        '{"json": true}',
        "a&b=c;d#e?f",
        "100%",
        "%41",
        "../../etc/passwd",
        "null",
        "a+b=/",
    ],
    ids=lambda value: value[:12],
)
def test_a_challenge_is_answered_with_exactly_its_value(server: Server, value: str) -> None:
    for endpoint in ("", "/accounts", "/try", "/blank"):
        answer = server.client().get(f"/webhooks/tokportal{endpoint}?challenge={quote(value, safe='')}")
        assert (answer.status_code, answer.content) == (200, value.encode())
        assert answer.headers["content-type"].partition(";")[0] == "text/plain"
        assert answer.headers["x-content-type-options"] == "nosniff"


@on_sqlite
@pytest.mark.parametrize(
    "query",
    [
        "",
        "?",
        "?challenge",
        "?challenge=",
        "?other=1",
        "?Challenge=1",
        "?challenge=" + "a" * 513,
        "?challenge=" + "a" * 20_000,
        "?challenge=a%0Ab",
        "?challenge=a%0D%0ASet-Cookie:%20x=1",
        "?challenge=a%09b",
        "?challenge=%00",
        "?challenge=%1B[31m",
        "?challenge=%7F",
        "?challenge=%C3%A9",
        "?challenge=%E2%82%AC",
        "?challenge=%FF",
        "?challenge=%EF%BB%BFa",
        "?challenge=a&challenge=b",
    ],
    ids=lambda query: query[:24] or "none",
)
def test_what_is_no_challenge_is_refused(server: Server, query: str) -> None:
    answer = server.client().get(f"/webhooks/tokportal{query}")
    check_refusal(answer, 400)
    assert "set-cookie" not in answer.headers


@on_sqlite
def test_a_challenge_may_stand_beside_other_parameters(server: Server) -> None:
    answer = server.client().get("/webhooks/tokportal?mode=subscribe&challenge=abc&x=<b>")
    assert (answer.status_code, answer.text) == (200, "abc")


@on_sqlite
def test_a_challenge_can_be_asked_for_without_its_body(server: Server) -> None:
    answer = server.client().head("/webhooks/tokportal?challenge=abc")
    assert (answer.status_code, answer.content) == (200, b"")


# Addresses and methods


@on_sqlite
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_there_are_two_methods(server: Server, method: str) -> None:
    for endpoint in ("", "/accounts"):
        answer = server.client().request(method, f"/webhooks/tokportal{endpoint}?challenge=x")
        check_refusal(answer, 405)
        assert {"GET", "POST"} <= set(answer.headers["allow"].split(", "))


@on_sqlite
@pytest.mark.parametrize(
    "path",
    [
        "/webhooks",
        "/webhooks/",
        "/webhooks/other",
        "/webhooks/tokportal/",
        "/webhooks/tokportal/nowhere",
        "/webhooks/tokportal/default",
        "/webhooks/tokportal/accounts/",
        "/webhooks/tokportal/accounts/more",
        "/webhooks/tokportal/ACCOUNTS",
        "/webhooks/tokportal//accounts",
        "/webhooks/tokportal-accounts",
        "/webhooks/tokportalXaccounts",
        "/webhooks/tokportals",
        "/Webhooks/tokportal",
    ],
)
def test_there_is_nothing_at_other_addresses(server: Server, path: str) -> None:
    body = encode(article("bundle.created", fresh("bdl")))
    for secret in (SECRET, ACCOUNTS_SECRET):
        assert server.client().post(path, content=body, headers=signature(ARTICLE, body, secret)).status_code == 404
    assert server.client().get(path, params={"challenge": "x"}).status_code == 404


# Signatures


VECTORS = vectors("signatures")
ENDPOINTS = {(SECRET, OLD_SECRET): "", (SECRET,): "first", ("",): "blank"}
"""Which endpoint of the shared service accepts just these secrets."""


def moved(headers: Mapping[str, str], vector: Mapping[str, Any], now: int) -> dict[str, bytes]:
    """The vector's headers as they would have been sent at `now`: their times moved, and good signatures made anew."""
    body = vector["body"].encode()

    def move(value: str) -> str:
        stamp = re.search(r"\bt=([0-9]+)(?=,|$)", value)
        if stamp is None:
            return value
        at = str(int(stamp[1]) - vector["now"] + now)
        for secret in vector["secrets"]:
            good = digest(secret, stamp[1].encode() + b"." + body)
            value = value.replace(good, digest(secret, at.encode() + b"." + body))
        return value.replace(f"t={stamp[1]}", f"t={at}")

    return {name: move(value).encode() for name, value in headers.items()}


@on_sqlite
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_vendors_signature_vectors(server: Server, vector: dict[str, Any]) -> None:
    if "age" in vector["name"]:
        # The door must look at its clock in the same second.
        wait_for(lambda: time.time() % 1 < 0.2)
    headers = moved(vector["headers"], vector, int(time.time()))
    answer = server.send(vector["body"].encode(), headers, ENDPOINTS[tuple(vector["secrets"])], stranger())
    if vector["accept"]:
        assert (answer.status_code, answer.json()["status"] in ("accepted", "duplicate")) == (200, True), answer.text
    else:
        check_refusal(answer, 401)


BODY = encode(article("bundle.created", "bdl_of_signatures", id="evt_of_signatures"))
GOOD = digest(SECRET, BODY)
ZEROS = "0" * 64


def filled(pattern: str) -> str:
    """`pattern` with NOW, its signature STAMPED, and GOOD, that of the article dialect."""
    now = str(int(time.time()))
    stamped = digest(SECRET, f"{now}.".encode() + BODY)
    return pattern.replace("NOW", now).replace("STAMPED", stamped).replace("GOOD", GOOD)


@on_sqlite
@pytest.mark.parametrize(
    "headers",
    [
        {"x-tokportal-signature": "GOOD"},
        {"X-TOKPORTAL-SIGNATURE": "sha256=GOOD"},
        {"X-TokPortal-Signature": "\t GOOD \t"},
        {"X-TokPortal-Signature": f"sha256={GOOD.upper()}"},
        {"TokPortal-Signature": "t=NOW,v1=STAMPED"},
        {"TokPortal-Signature": "v1=STAMPED,t=NOW"},
        {"TokPortal-Signature": "  t=NOW ,\t v1=STAMPED "},
        {"TokPortal-Signature": "t=NOW,v0=abc,v1=STAMPED,scheme=x"},
        {"TokPortal-Signature": f"t=NOW,v1={ZEROS},v1={ZEROS},v1=STAMPED,v1={ZEROS}"},
        {"TokPortal-Signature": "t=NOW,v1=,v1=zz,v1=\u00e9,v1=STAMPED"},
    ],
    ids=repr,
)
def test_ways_to_write_a_signature(server: Server, headers: dict[str, str]) -> None:
    """Sent by hand, since decent clients do not put spaces there."""
    lines = "".join(f"{name}: {filled(value)}\r\n" for name, value in headers.items())
    with server.connection() as connection:
        head = f"POST /webhooks/tokportal HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n{lines}\r\n"
        connection.sendall(head.encode() + BODY)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")


@on_sqlite
@pytest.mark.parametrize(
    "headers",
    [
        {"X-TokPortal-Signature": "sha512=GOOD"},
        {"X-TokPortal-Signature": "SHA1=GOOD"},
        {"X-TokPortal-Signature": "sha256=sha256=GOOD"},
        {"X-TokPortal-Signature": "v1=GOOD"},
        {"X-TokPortal-Signature": "GOOD,GOOD"},
        {"X-TokPortal-Signature": "0xGOOD"},
        {"X-TokPortal-Signature": "GOOD00"},
        {"X-TokPortal-Signature": " ".join(re.findall("..", GOOD))},
        {"X-TokPortal-Signature": "\u00ff" * 64},
        {"X-TokPortal-Signature": "\u0663" * 64},
        {"X-TokPortal-Signature": "a" * 60_000},
        {"X-TokPortal-Signature": "t=NOW,v1=STAMPED"},
        {"TokPortal-Signature": "GOOD"},
        {"TokPortal-Signature": "t=NOW,v1=GOOD"},
        {"TokPortal-Signature": "t=NOW,v0=STAMPED"},
        {"TokPortal-Signature": "t=NOW,V1=STAMPED"},
        {"TokPortal-Signature": "t=NOW"},
        {"TokPortal-Signature": "v1=STAMPED"},
        {"TokPortal-Signature": "t=,v1=STAMPED"},
        {"TokPortal-Signature": "t=NOW,t=NOW,v1=STAMPED"},
        {"TokPortal-Signature": "t=NOW000,v1=STAMPED"},
        {"TokPortal-Signature": f"t={'9' * 5000},v1=STAMPED"},
        {"TokPortal-Signature": "t=NOW,v1=sha256=STAMPED"},
        {"TokPortal-Signature": "t=NOW;v1=STAMPED"},
        {"TokPortal-Signature": ""},
        {"TokPortal-Signature": ",,,==,=,t"},
        {"TokPortal-Signature": f"t=NOW,{f'v1={ZEROS},' * 500}v1=STAMPED"},
        {"X-TokPortal-Signature": "GOOD", "TokPortal-Signature": "t=NOW,v1=STAMPED"},
        {"X-TokPortal-Signature": "GOOD", "TokPortal-Signature": ""},
        {"X-TokPortal-Signature": "", "TokPortal-Signature": "t=NOW,v1=STAMPED"},
        {"X-TokPortal-Signature": "bad", "TokPortal-Signature": "t=NOW,v1=STAMPED"},
        {"Authorization": f"Bearer {SECRET}"},
        {},
    ],
    ids=lambda headers: repr(headers)[:70],
)
def test_what_is_no_signature(server: Server, headers: dict[str, str]) -> None:
    given = {name: filled(value).encode() for name, value in headers.items()}
    check_refusal(server.send(BODY, given, source=stranger()), 401)


@on_sqlite
@pytest.mark.parametrize("header", ["X-TokPortal-Signature: GOOD", "TokPortal-Signature: t=NOW,v1=STAMPED"])
def test_a_signature_header_that_stands_twice_is_refused(server: Server, header: str) -> None:
    name, _, value = filled(header).partition(": ")
    answer = server.client(stranger()).post("/webhooks/tokportal", content=BODY, headers=[(name, value)] * 2)
    check_refusal(answer, 401)


@on_sqlite
def test_a_time_in_another_spelling_does_not_verify_even_when_it_is_signed(server: Server) -> None:
    now = str(int(time.time()))
    arabic = "".join(chr(0x660 + int(figure)) for figure in now)
    for stamp in (f"{now[:4]}_{now[4:]}", f"+{now}", f"-{now}", f"{now}.0", f"{now}e0", hex(int(now)), arabic):
        signed = digest(SECRET, f"{stamp}.".encode() + BODY)
        given = {"TokPortal-Signature": f"t={stamp},v1={signed}".encode()}
        check_refusal(server.send(BODY, given, source=stranger()), 401)


@on_sqlite
def test_all_refusals_of_a_signature_look_the_same(server: Server) -> None:
    source, now = stranger(), int(time.time())
    answers = [
        server.send(BODY, {}, source=source),
        server.send(BODY, {"X-TokPortal-Signature": "zz"}, source=source),
        server.send(BODY + b" ", {"X-TokPortal-Signature": GOOD}, source=source),
        server.post_webhook(BODY, secret="another secret", source=source),
        server.send(BODY, signature(PUBLIC, BODY, at=now - 10_000), source=source),
        server.send(BODY, signature(PUBLIC, BODY, at=now + 10_000), source=source),
        server.post_webhook(BODY, endpoint="accounts", source=source),
        server.post_webhook(BODY, secret="", endpoint="blank", source=source),
    ]
    assert {(answer.status_code, answer.text) for answer in answers} == {(401, answers[0].text)}


def test_what_is_refused_is_not_stored_only_counted(server: Server) -> None:
    message = article("bundle.created", fresh("bdl"))
    before = server.metric("orchestrator_webhooks_total", endpoint="default", outcome="401")
    assert server.post_webhook(message, secret="wrong", source=stranger()).status_code == 401
    assert server.journalled(message["id"]) == []
    assert server.metric("orchestrator_webhooks_total", endpoint="default", outcome="401") == before + 1


def test_both_secrets_count_while_one_is_rotated(server: Server) -> None:
    for dialect, make in BIRTHS.items():
        for secret in (SECRET, OLD_SECRET):
            message = make(fresh("bdl"))
            answer = server.post_webhook(message, dialect, secret)
            assert (answer.status_code, answer.json()["status"]) == (200, "accepted")


def test_the_public_dialect_under_every_endpoint(server: Server) -> None:
    message = public("bundle.created", data={"bundle_id": fresh("bdl"), "country": "USA"})
    message_id = server.deliver(message, PUBLIC, secret=ACCOUNTS_SECRET, endpoint="accounts")
    assert server.judged(message_id)["dialect"] == PUBLIC


# Accepted, duplicate, conflict


def test_a_message_is_journalled_as_it_came(server: Server) -> None:
    message = article("bundle.created", fresh("bdl"), data={"username": 'ünïcode 🎬 \\ " </script>'})
    body = json.dumps(message, indent=3, ensure_ascii=False).encode()
    item = server.judged(server.deliver(body))
    assert item["body"].encode() == body
    assert item | {"message_id": "", "received_at": "", "events": [], "position": 0, "body": ""} == {
        "message_id": "",
        "kind": "webhook",
        "event_id": message["id"],
        "dialect": "article",
        "received_at": "",
        "deliveries": 1,
        "status": "applied",
        "reason": None,
        "actor": {"kind": "vendor", "name": "tokportal"},
        "events": [],
        "body": "",
        "position": 0,
    }
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", item["received_at"])
    log = {event["position"]: event for event in server.items("/api/events", after=item["events"][0] - 1)}
    assert [log[position]["event"] for position in item["events"]] == ["BundleRegistered", "BundleCreated"]
    assert server.journalled(message["id"]) == [item | {"position": server.journalled(message["id"])[0]["position"]}]


def test_a_redelivery_is_a_duplicate_of_its_first(server: Server) -> None:
    message = article("bundle.created", fresh("bdl"))
    message_id = server.deliver(message)
    assert {server.deliver_again(message) for _ in range(3)} == {message_id}
    server.judged(message_id)
    assert server.deliver_again(message) == message_id
    (item,) = server.journalled(message["id"])
    assert (item["message_id"], item["deliveries"], item["status"]) == (message_id, 5, "applied")
    server.wait_until_applied()
    assert len(server.items(f"/api/bundles/{message['bundle_id']}/history")) == 1


def test_content_is_what_was_said_not_how_it_was_written(server: Server) -> None:
    message = article("bundle.created", fresh("bdl"), data={"username": "Zoë", "b": [1, {"y": 2, "x": None}], "a": 1})
    message_id = server.deliver(message)
    backwards = dict(reversed(message.items())) | {"data": dict(reversed(message["data"].items()))}
    for body in (
        encode(backwards),
        json.dumps(message, indent=8).encode(),
        json.dumps(message, ensure_ascii=False).encode(),
        b"\n\t " + encode(message) + b"\r\n",
        encode(message).replace(b"bundle.created", b"\\u0062undle.created"),
    ):
        assert server.deliver_again(body) == message_id
    # Nothing is cut off that was signed.
    assert server.judged(message_id)["body"] == encode(message).decode()


@pytest.mark.parametrize("dialect", [ARTICLE, PUBLIC])
def test_the_signature_member_is_no_content(server: Server, dialect: str) -> None:
    message = BIRTHS[dialect](fresh("bdl"))
    message_id = server.deliver(message | {"signature": "sha256=one"}, dialect)
    for other in ({"signature": "sha256=two"}, {"signature": None}, {"signature": {"v1": []}}, {}):
        assert server.deliver_again(message | other, dialect) == message_id
    assert server.judged(message_id)["status"] == "applied"


def test_one_event_through_several_endpoints_and_secrets_counts_once(server: Server) -> None:
    """As it does while a secret is rotated: TokPortal then sends everything to the old and the new endpoint."""
    message = article("bundle.created", fresh("bdl"))
    message_id = server.deliver(message, secret=OLD_SECRET)
    assert server.deliver_again(message) == message_id
    assert server.deliver_again(message, secret=ACCOUNTS_SECRET, endpoint="accounts") == message_id
    assert server.deliver_again(message, endpoint="first") == message_id
    server.wait_until_applied()
    (item,) = server.journalled(message["id"])
    assert (item["deliveries"], item["status"]) == (4, "applied")

    conflicting = message | {"country": "FR"}
    assert (
        server.judged(server.deliver(conflicting, secret=ACCOUNTS_SECRET, endpoint="accounts"))["status"] == "conflict"
    )


def test_the_same_id_with_other_content_is_a_conflict_and_changes_nothing(server: Server) -> None:
    bundle = fresh("bdl")
    first = article("bundle.created", bundle, data={"username": "first"})
    second = first | {"event": "bundle.banned", "data": {"reason": "x"}}
    first_id = server.deliver(first)
    second_id = server.deliver(second)
    assert first_id != second_id
    assert server.judged(first_id)["status"] == "applied"
    item = server.judged(second_id)
    assert (item["status"], item["events"]) == ("conflict", [])
    assert item["reason"]
    assert item["body"] == encode(second).decode()
    assert second_id in [other["message_id"] for other in server.items("/api/messages", status="conflict")]

    assert server.deliver_again(second) == second_id
    assert server.deliver_again(first) == first_id
    assert {m["message_id"]: m["deliveries"] for m in server.journalled(first["id"])} == {first_id: 2, second_id: 2}
    server.wait_until_applied()
    assert server.api(f"/api/bundles/{bundle}")["state"] == "created"

    refused = server.command(f"/api/messages/{second_id}/retry", Prefer="wait=20")
    assert refused.status_code == 409
    assert server.judged(second_id)["status"] == "conflict"


def test_dialects_have_namespaces_of_their_own(server: Server) -> None:
    event_id, bundle = fresh("evt"), fresh("bdl")
    one = server.deliver(article("bundle.created", bundle, 1, id=event_id))
    other = server.deliver(public("account.finalized", 2, data={"bundle_id": bundle}, id=event_id), PUBLIC)
    assert {server.judged(one)["status"], server.judged(other)["status"]} == {"applied"}
    server.wait_until_applied()
    assert server.api(f"/api/bundles/{bundle}")["state"] == "ready"


def test_many_deliveries_at_once_are_one_message(server: Server) -> None:
    message = article("bundle.created", fresh("bdl"))
    body = encode(message)
    headers = signature(ARTICLE, body)
    with ThreadPoolExecutor(16) as pool:
        answers = [answer.json() for answer in pool.map(lambda _: server.send(body, headers), range(64))]
    assert sorted(answer["status"] for answer in answers) == ["accepted"] + ["duplicate"] * 63
    assert len({answer["message_id"] for answer in answers}) == 1
    server.wait_until_applied()
    (item,) = server.journalled(message["id"])
    assert (item["deliveries"], item["status"]) == (64, "applied")
    assert len(server.items(f"/api/bundles/{message['bundle_id']}/history")) == 1


def test_of_many_contents_at_once_one_wins(server: Server) -> None:
    bundle = fresh("bdl")
    message = article("bundle.created", bundle)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: server.post_webhook(message | {"data": {"username": f"u{n}"}}), range(24)))
    assert {(answer.status_code, answer.json()["status"]) for answer in answers} == {(200, "accepted")}
    server.wait_until_applied()
    statuses = [item["status"] for item in server.journalled(message["id"])]
    assert sorted(statuses) == ["applied"] + ["conflict"] * 23
    assert len(server.items(f"/api/bundles/{bundle}/history")) == 1


# Ids


def test_where_the_article_dialect_may_have_its_id(server: Server) -> None:
    message = without(article("bundle.created", fresh("bdl")), "id")
    for number, members in enumerate(
        ({"event_id": fresh("evt")}, {"data": {"event_id": fresh("evt")}}, {"id": None, "event_id": fresh("evt")})
    ):
        expected = members.get("event_id") or members["data"]["event_id"]
        item = server.judged(server.deliver(message | {"timestamp": at(number)} | members))
        assert (item["event_id"], item["status"]) == (expected, "applied")
    preferred = message | {"id": fresh("evt"), "event_id": fresh("evt"), "data": {"event_id": fresh("evt")}}
    assert server.judged(server.deliver(preferred))["event_id"] == preferred["id"]


@pytest.mark.parametrize("dialect", [ARTICLE, PUBLIC])
def test_a_message_without_an_id_gets_one_from_its_content(server: Server, dialect: str) -> None:
    message = without(BIRTHS[dialect](fresh("bdl")), "id")
    # The header is not signed: whoever replays a message could write there what he likes.
    headers = {"TokPortal-Event-Id": fresh("evt")}
    message_id = server.deliver(message, dialect, headers=headers)
    item = server.judged(message_id)
    assert item["status"] == "applied"
    assert item["event_id"] not in (None, "", headers["TokPortal-Event-Id"])
    assert server.journalled(headers["TokPortal-Event-Id"]) == []
    assert server.deliver_again(message, dialect) == message_id
    assert server.deliver_again(dict(reversed(message.items())), dialect) == message_id
    assert server.deliver_again(message | {"signature": "x"}, dialect) == message_id

    time_member = "timestamp" if dialect == ARTICLE else "created_at"
    other = server.judged(server.deliver(message | {time_member: at(5)}, dialect))
    assert (other["status"], other["event_id"] != item["event_id"]) == ("applied", True)


def test_an_unsigned_header_names_nothing(server: Server) -> None:
    message = public("bundle.created", data={"bundle_id": fresh("bdl"), "country": "US"})
    lie = {"TokPortal-Event-Id": fresh("evt"), "TokPortal-Event-Type": "account.banned"}
    assert server.judged(server.deliver(message, PUBLIC, headers=lie))["event_id"] == message["id"]
    assert server.deliver_again(message, PUBLIC, headers={"TokPortal-Event-Id": fresh("evt")})
    server.wait_until_applied()
    assert server.api(f"/api/bundles/{message['data']['bundle_id']}")["state"] == "created"


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "nonsense",
        "",
    ],
)
def test_the_media_type_is_ignored(server: Server, media_type: str) -> None:
    message = article("bundle.created", fresh("bdl"))
    item = server.judged(server.deliver(message, headers={"Content-Type": media_type}))
    assert (item["status"], item["body"]) == ("applied", encode(message).decode())


# Endpoints for tests


def test_a_test_endpoint_judges_and_changes_nothing(server: Server) -> None:
    bundle = fresh("bdl")
    good = article("bundle.created", bundle)
    options = {"secret": TRY_SECRET, "endpoint": "try"}
    tried = server.deliver(good, **options)
    item = server.judged(tried)
    assert (item["status"], item["events"]) == ("test", [])
    assert "applied" in item["reason"]
    assert server.deliver_again(good, **options) == tried
    assert server.judged(tried)["deliveries"] == 2
    assert tried in [other["message_id"] for other in server.items("/api/messages", status="test")]

    for message, verdict in (
        (good | {"id": fresh("evt"), "country": "Atlantis"}, "quarantined"),
        (good | {"id": fresh("evt"), "event": "bundle.sold"}, "unrecognised"),
    ):
        judged = server.judged(server.deliver(message, **options))
        assert (judged["status"], verdict in judged["reason"]) == ("test", True)
    server.wait_until_applied()
    server.api(f"/api/bundles/{bundle}", 404)

    # What was only tried does not use up the event's id.
    live = server.deliver(good)
    assert live != tried
    assert server.judged(live)["status"] == "applied"
    assert server.deliver_again(good, **options) == tried
    # And the other way round: a known event can be tried again.
    other = article("bundle.ready", bundle)
    server.deliver(other)
    assert server.judged(server.deliver(other, **options))["status"] == "test"


def test_a_test_endpoint_takes_only_its_own_secret(server: Server) -> None:
    message, source = article("bundle.created", fresh("bdl")), stranger()
    assert server.post_webhook(message, endpoint="try", source=source).status_code == 401
    assert server.post_webhook(message, secret=TRY_SECRET, source=source).status_code == 401
    assert server.post_webhook(message, secret=TRY_SECRET, endpoint="accounts", source=source).status_code == 401
    assert server.post_webhook(message, secret=ACCOUNTS_SECRET, source=source).status_code == 401
