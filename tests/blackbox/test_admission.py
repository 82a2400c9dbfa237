"""Who may knock at the door, how fast, and with how much."""

from __future__ import annotations

import gzip
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.blackbox.server import ARTICLE, PUBLIC, Server, encode, signature, wait_for
from tests.blackbox.story import article, fresh, public
from tests.blackbox.wire import chunk, head_of, receive

on_sqlite = pytest.mark.parametrize("server", ["sqlite"], indirect=True)
MEBIBYTE = 1024 * 1024


def signed(size: int = 0) -> tuple[bytes, dict[str, str]]:
    """A good body, of `size` bytes if that is more than it needs, and its signature."""
    body = encode(article("bundle.created", fresh("bdl")))
    body += b" " * (size - len(body))
    return body, signature(ARTICLE, body)


# Encodings: 415


@on_sqlite
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, identity", "x", "GZIP"])
def test_bodies_are_taken_only_as_they_are(server: Server, encoding: str) -> None:
    body, headers = signed()
    answer = server.send(gzip.compress(body), signature(ARTICLE, gzip.compress(body)) | {"Content-Encoding": encoding})
    assert answer.status_code == 415
    assert server.send(body, headers | {"Content-Encoding": encoding}).status_code == 415


@on_sqlite
@pytest.mark.parametrize("encoding", ["identity", "Identity", " identity ", ""])
def test_no_encoding_by_name_is_none(server: Server, encoding: str) -> None:
    body, headers = signed()
    with server.connection() as connection:
        connection.sendall(head_of(len(body), headers | {"Content-Encoding": encoding}) + body)
        assert receive(connection).status == 200


# Size: 413


@on_sqlite
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_the_largest_body_and_one_byte_more(server: Server, framing: str) -> None:
    for size, status in ((MEBIBYTE, 200), (MEBIBYTE + 1, 413), (8 * MEBIBYTE, 413)):
        body, headers = signed(size)
        content = body if framing == "length" else iter([body[i : i + 50_000] for i in range(0, len(body), 50_000)])
        answer = server.send(content, headers)
        assert answer.status_code == status
        if status == 413:
            assert answer.headers["content-type"] == "application/problem+json"
            assert server.journalled(json.loads(body)["id"]) == []


@on_sqlite
def test_what_is_announced_too_large_is_refused_before_it_comes(server: Server) -> None:
    for length in (MEBIBYTE + 1, 10**15):
        with server.connection() as connection:
            connection.sendall(head_of(length, {"X-TokPortal-Signature": "x"}))
            assert receive(connection).status == 413


@on_sqlite
def test_chunks_are_counted_while_they_come(server: Server) -> None:
    with server.connection() as connection:
        connection.sendall(head_of(headers={"Transfer-Encoding": "chunked"}) + chunk(b"x" * (MEBIBYTE + 1)))
        assert receive(connection).status == 413


@on_sqlite
def test_a_connection_serves_on_after_a_refusal(server: Server) -> None:
    body, headers = signed()
    with server.connection() as connection:
        for wrong in (b"x" * len(body), body + b"x"):
            connection.sendall(head_of(len(wrong), headers) + wrong)
            assert receive(connection).status == 401
        connection.sendall(head_of(len(body), headers | {"Content-Encoding": "gzip"}) + body)
        assert receive(connection).status == 415
        connection.sendall(head_of(len(body), headers) + body)
        assert receive(connection).status == 200


@on_sqlite
def test_a_client_that_asks_first_is_told_to_go_on(server: Server) -> None:
    body, headers = signed()
    with server.connection() as connection:
        connection.sendall(head_of(len(body), headers | {"Expect": "100-continue"}))
        assert receive(connection).status == 100
        connection.sendall(body)
        assert receive(connection).status == 200


@on_sqlite
def test_a_body_in_many_pieces_is_one_body(server: Server) -> None:
    body, headers = signed()
    with server.connection() as connection:
        connection.sendall(head_of(headers=headers | {"Transfer-Encoding": "chunked"}))
        for byte in body:
            connection.sendall(chunk(bytes([byte])))
        connection.sendall(chunk(b""))
        assert receive(connection).status == 200


@on_sqlite
@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200,
        b"GET\r\n\r\n",
        b"POST /webhooks/tokportal HTTP/9.9\r\n\r\n",
        b"POST /webhooks/tokportal HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /webhooks/tokportal HTTP/1.1\r\nHost: x\r\nContent-Length: 1_0\r\n\r\n",
        b"POST /webhooks/tokportal HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST /webhooks/tokportal HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /webhooks/tokportal HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /webhooks/tokportal HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /webhooks/tokportal?challenge=\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /webhooks/tokportal/%ff%00?challenge=x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://elsewhere.example/webhooks/tokportal HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=lambda request: repr(request[-40:]),
)
def test_what_is_hardly_http_is_the_senders_fault(server: Server, request_: bytes) -> None:
    with server.connection() as connection:
        connection.sendall(request_)
        assert receive(connection).status in (0, 400, 404, 413, 414, 431)
    assert server.answers("/health/live")


# Slowness: 408


@on_sqlite
def test_slow_senders_are_cut_off_and_hold_up_nobody(server: Server) -> None:
    """All at once: the head that never ends, the body that drips, the one that stalls; and many that say nothing."""
    body, headers = signed()
    head = head_of(len(body), headers)
    beginnings = {
        "a head that stalls": head[:30],
        "a head that drips": head[:-2] + b"X-Drip: ",
        "no body at all": head,
        "a body that stalls": head + body[:20],
        "a body that drips": head + body[:20],
        "chunks that drip": head_of(headers=headers | {"Transfer-Encoding": "chunked"}) + chunk(body[:20]),
    }
    with ExitStack() as open_:
        for _ in range(100):
            open_.enter_context(server.connection())
        slow = {name: open_.enter_context(server.connection()) for name in beginnings}
        began = time.monotonic()
        for name, connection in slow.items():
            connection.sendall(beginnings[name])

        stopped = threading.Event()

        def drip() -> None:
            while not stopped.wait(0.2):
                for name, connection in slow.items():
                    try:
                        if name == "chunks that drip":
                            connection.sendall(chunk(b"x"))
                        elif name.endswith("drips"):
                            connection.sendall(b"x")
                    except OSError:
                        return

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            # Meanwhile everybody else is served at once.
            slowest = 0.0
            while time.monotonic() - began < 1.5:
                asked = time.monotonic()
                assert server.client().get("/health/live").status_code == 200
                server.deliver(article("bundle.created", fresh("bdl")))
                slowest = max(slowest, time.monotonic() - asked)
            assert slowest < 2
            for name, connection in slow.items():
                answer = receive(connection, began)
                assert answer.status == 408, name
                assert 2 < answer.seconds < 4, name
                assert "application/problem+json" in answer.head
                assert "connection: close" in answer.head
        finally:
            stopped.set()
            dripping.join()
    event_id = json.loads(body)["id"]
    assert server.journalled(event_id) == []


@on_sqlite
def test_a_sender_that_hangs_up_in_the_middle_leaves_nothing(server: Server) -> None:
    body, headers = signed()
    for cut in (0, 10, len(body) - 1):
        with server.connection() as connection:
            connection.sendall(head_of(len(body), headers) + body[:cut])
    assert server.answers("/health/live")
    assert server.journalled(json.loads(body)["id"]) == []
    server.deliver(body)


# Floods: 429


@on_sqlite
def test_a_flood_of_bad_signatures_is_slowed_down_and_nobody_else(server: Server) -> None:
    flooder = "127.0.0.77"
    statuses = []
    while 429 not in statuses:
        refused = server.post_webhook(b"{}", secret="wrong", source=flooder)
        statuses.append(refused.status_code)
        assert len(statuses) < 2000
    assert len(statuses) > 50
    assert set(statuses) == {401, 429}
    assert refused.headers["content-type"] == "application/problem+json"
    assert int(refused.headers["retry-after"]) >= 1

    # What verifies is never limited, not even from there; and others have their own measure.
    for _ in range(60):
        server.deliver(article("bundle.created", fresh("bdl")), source=flooder)
    assert server.post_webhook(b"{}", secret="wrong", source=flooder).status_code in (401, 429)
    assert server.post_webhook(b"{}", secret="wrong", source="127.0.0.78").status_code == 401


@on_sqlite
def test_verified_webhooks_are_never_limited(server: Server) -> None:
    bodies = [encode(article("bundle.created", fresh("bdl"))) for _ in range(400)]
    with ThreadPoolExecutor(8) as pool:
        assert {answer.status_code for answer in pool.map(server.post_webhook, bodies)} == {200}


# Networks and plain HTTP: 403

TOKENS = {role: f"token-of-the-{role}-0123456789" for role in ("viewer", "operator", "admin")}
PROXY = "127.0.0.9"
OFFICE = "203.0.113.7"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service behind a proxy, which takes webhooks over HTTPS from the networks in a file, and asks for tokens."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "senders.txt").write_text("203.0.113.0/24  # the office\n2001:db8::/32\n127.0.0.5\n")
    server = Server(
        folder,
        f"sqlite:///{folder / 'orchestrator.db'}",
        tokens=TOKENS,
        ORCHESTRATOR_ALLOWED_NETWORKS="@senders.txt",
        ORCHESTRATOR_TRUSTED_PROXIES=f"{PROXY},127.0.0.10",
        ORCHESTRATOR_MAX_BODY="64KiB",
        ORCHESTRATOR_RATE_LIMIT="5/m",
    )
    try:
        yield server.start()
        assert {line["message"].partition(":")[0] for line in server.errors()} <= {UNREADABLE_LIST}
    finally:
        server.close()


UNREADABLE_LIST = "a network list could not be read again; the old one stays"


def knock(server: Server, source: str = PROXY, **headers: str) -> int:
    """The status of a good webhook through `source`, whose forwarding headers are given."""
    forwarded = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.post_webhook(article("bundle.created", fresh("bdl")), headers=forwarded, source=source).status_code


HTTPS = {"X_Forwarded_Proto": "https"}


@pytest.mark.parametrize(
    ("chain", "status"),
    [
        (OFFICE, 200),
        (f"198.51.100.1 ,\t{OFFICE}", 200),
        (f"{OFFICE}:4711", 200),
        (f"198.51.100.1, {OFFICE}", 200),
        (f"{OFFICE}, 127.0.0.10", 200),
        (f"198.51.100.1, {OFFICE}, 127.0.0.10, {PROXY}", 200),
        ("2001:db8::1", 200),
        ("[2001:db8::1]:443", 200),
        (f"::ffff:{OFFICE}", 200),
        ("198.51.100.1", 403),
        (f"{OFFICE}, 198.51.100.1", 403),
        (f"{OFFICE}, 198.51.100.1, 127.0.0.10", 403),
        (f"{OFFICE}, unknown", 403),
        ("unknown", 403),
        ("", 403),
        (",,,", 403),
        (f"{OFFICE}, {'9' * 3000}", 403),
        ("203.0.113.7.evil.example", 403),
        ("0xcb.0.0x71.7", 403),
    ],
)
def test_the_sender_behind_a_proxy(guarded: Server, chain: str, status: int) -> None:
    assert knock(guarded, X_Forwarded_For=chain, **HTTPS) == status


def test_a_stranger_cannot_pretend_to_be_a_proxy(guarded: Server) -> None:
    assert knock(guarded, "127.0.0.1", X_Forwarded_For=OFFICE, **HTTPS) == 403
    # This one may send, but not say that it came over HTTPS.
    assert knock(guarded, "127.0.0.5", **HTTPS) == 403
    assert knock(guarded, "127.0.0.5") == 403


@pytest.mark.parametrize(
    ("scheme", "status"), [("https", 200), ("HTTPS", 200), ("http, https", 200), ("http", 403), ("https, http", 403)]
)
def test_plain_http_is_refused_whatever_is_signed(guarded: Server, scheme: str, status: int) -> None:
    assert knock(guarded, X_Forwarded_For=OFFICE, X_Forwarded_Proto=scheme) == status


def test_without_a_word_of_the_proxy_it_is_plain_http(guarded: Server) -> None:
    assert knock(guarded, X_Forwarded_For=OFFICE) == 403
    assert knock(guarded, X_Forwarded_For=OFFICE, X_Forwarded_Proto="") == 403
    assert knock(guarded, X_Forwarded_For=OFFICE, Forwarded="for=203.0.113.7;proto=https") == 403


def test_challenges_are_guarded_too(guarded: Server) -> None:
    ask = guarded.client(PROXY)
    good = {"X-Forwarded-For": OFFICE, "X-Forwarded-Proto": "https"}
    assert ask.get("/webhooks/tokportal?challenge=x", headers=good).text == "x"
    for lack in (good | {"X-Forwarded-For": "198.51.100.1"}, good | {"X-Forwarded-Proto": "http"}, {}):
        assert ask.get("/webhooks/tokportal?challenge=x", headers=lack).status_code == 403


def test_a_stranger_is_refused_before_anything_is_read(guarded: Server) -> None:
    for length in (5, 10**9):
        with guarded.connection() as connection:
            connection.sendall(head_of(length))
            assert receive(connection).status == 403


def test_the_list_of_networks_is_read_again_on_sighup(guarded: Server) -> None:
    """A list that cannot be read leaves the old one in force."""
    senders = guarded.folder / "senders.txt"
    before = senders.read_text()

    def reload(text: str) -> None:
        senders.write_text(text)
        os.kill(guarded.pid, signal.SIGHUP)

    try:
        reload("198.51.100.0/24\n")
        wait_for(lambda: knock(guarded, X_Forwarded_For="198.51.100.1", **HTTPS) == 200, what="the new list")
        assert knock(guarded, X_Forwarded_For=OFFICE, **HTTPS) == 403
        reload("not a network\n")
        wait_for(guarded.errors, what="a complaint in the log")
        assert knock(guarded, X_Forwarded_For="198.51.100.1", **HTTPS) == 200
    finally:
        reload(before)
        wait_for(lambda: knock(guarded, X_Forwarded_For=OFFICE, **HTTPS) == 200, what="the old list")
    assert [line["message"].partition(":")[0] for line in guarded.errors()] == [UNREADABLE_LIST]


def test_a_measure_for_each_sender_behind_the_proxy(guarded: Server) -> None:
    def forge(sender: str) -> int:
        headers = {"X-Forwarded-For": sender, "X-Forwarded-Proto": "https"}
        return guarded.post_webhook(b"{}", secret="wrong", headers=headers, source=PROXY).status_code

    assert [forge("203.0.113.50") for _ in range(6)] == [401] * 5 + [429]
    assert forge("203.0.113.51") == 401
    # Whoever has a whole IPv6 network is one sender.
    assert [forge(f"2001:db8::{number}") for number in range(6)] == [401] * 5 + [429]
    assert forge("2001:db8:1::1") == 401
    assert knock(guarded, X_Forwarded_For="203.0.113.50", **HTTPS) == 200


def test_the_largest_body_is_a_setting(guarded: Server) -> None:
    for size, status in ((64 * 1024, 200), (64 * 1024 + 1, 413)):
        body, headers = signed(size)
        answer = guarded.send(body, headers | {"X-Forwarded-For": OFFICE, "X-Forwarded-Proto": "https"}, source=PROXY)
        assert answer.status_code == status


# Who may use the API


ROUTES = {
    "/api/bundles": "viewer",
    "/api/videos": "viewer",
    "/api/countries": "viewer",
    "/api/messages": "viewer",
    "/api/events": "viewer",
    "/api/projections": "viewer",
    "/metrics": "viewer",
    "/openapi.json": "viewer",
    "/docs": "viewer",
}


def status(server: Server, path: str, authorization: str | None, method: str = "GET") -> int:
    headers = {} if authorization is None else {"Authorization": authorization}
    return server.client().request(method, path, headers=headers).status_code


@pytest.mark.parametrize("path", ROUTES)
def test_nothing_is_shown_without_a_token(guarded: Server, path: str) -> None:
    assert status(guarded, path, None) == 401
    assert status(guarded, path, f"Bearer {TOKENS['viewer'][:-1]}") == 401
    assert status(guarded, path, f"Basic {TOKENS['admin']}") == 401
    assert status(guarded, path, TOKENS["admin"]) == 401
    assert status(guarded, path, "Bearer") == 401
    for token in TOKENS.values():
        assert status(guarded, path, f"Bearer {token}") == 200
        assert status(guarded, path, f"bearer {token}") == 200
        assert status(guarded, f"{path}?token={token}&access_token={token}", None) == 401


def test_a_refusal_says_what_is_needed(guarded: Server) -> None:
    answer = guarded.client().get("/api/bundles")
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    # Strangers learn not even which addresses there are.
    assert guarded.client().get("/api/nowhere").status_code == 401


def test_health_is_open(guarded: Server) -> None:
    for path in ("/health/live", "/health/ready"):
        assert guarded.client("127.0.0.66").get(path, headers={"Host": "elsewhere.example"}).status_code == 200


def test_commands_need_an_operator(guarded: Server) -> None:
    message = article("bundle.sold", fresh("bdl"))
    headers = {"X-Forwarded-For": OFFICE, "X-Forwarded-Proto": "https"}
    message_id = guarded.deliver(message, headers=headers, source=PROXY)
    guarded.judged(message_id)
    path = f"/api/messages/{message_id}/retry"
    assert status(guarded, path, None, "POST") == 401
    refused = guarded.command(path, role="viewer")
    assert (refused.status_code, refused.headers["content-type"]) == (403, "application/problem+json")
    for role in ("operator", "admin"):
        answer = guarded.command(path, {"reason": "to see"}, role)
        assert answer.status_code == 202
        assert answer.headers["location"] == f"/api/messages/{answer.json()['message_id']}"
        command = guarded.judged(answer.json()["message_id"])
        assert (command["kind"], command["status"]) == ("command", "applied")
        assert command["actor"] == {"kind": "person", "name": role}
    assert guarded.command(f"/api/messages/{fresh('msg')}/retry", role="viewer").status_code == 403


def test_tokens_and_secrets_are_in_no_log(guarded: Server) -> None:
    text = guarded.log.read_text()
    for secret in (*TOKENS.values(), guarded.settings["TOKPORTAL_WEBHOOK_SECRET"].split(",")[0]):
        assert secret not in text


# Without tokens: this machine only


@on_sqlite
def test_without_tokens_only_this_machine_is_answered(server: Server) -> None:
    def get(path: str = "/api/bundles", **headers: str) -> int:
        return server.client().get(path, headers={k.replace("_", "-"): v for k, v in headers.items()}).status_code

    for host in (f"127.0.0.1:{server.port}", "localhost", f"LOCALHOST:{server.port}", "[::1]:80", "127.0.0.2"):
        assert get(Host=host) == 200, host
    for host in (
        "elsewhere.example",
        f"elsewhere.example:{server.port}",
        "127.0.0.1.elsewhere.example",
        "localhost.elsewhere.example",
        "localhost:x",
        "10.0.0.1",
        "0.0.0.0",
        "[::1]x",
        "127.0.0.1@elsewhere.example",
    ):
        assert get(Host=host) == 403, host
    for name in ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Real-IP", "Via"):
        assert get(**{name: "127.0.0.1"}) == 403, name
    for path in ("/metrics", "/openapi.json", "/docs", "/api/nowhere", "/"):
        assert get(path, Host="elsewhere.example") == 403, path
    assert get("/health/ready", Host="elsewhere.example", X_Forwarded_For="1.2.3.4") == 200


@on_sqlite
def test_without_tokens_webhooks_come_from_anywhere(server: Server) -> None:
    headers = {"Host": "hooks.example", "X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https"}
    server.deliver(public("bundle.created", data={"bundle_id": fresh("bdl")}), PUBLIC, headers=headers)


@on_sqlite
def test_without_tokens_no_page_from_elsewhere_gives_commands(server: Server) -> None:
    path = f"/api/messages/{'msg_' + '0' * 32}/retry"
    assert server.command(path, Origin="https://evil.example").status_code == 403
    assert server.command(path, Origin="null").status_code == 403
    assert server.command(path, Origin=server.url).status_code == 404


@on_sqlite
def test_a_host_header_there_must_be(server: Server) -> None:
    for head in (
        b"GET /api/bundles HTTP/1.0\r\n\r\n",
        b"GET /api/bundles HTTP/1.1\r\nHost: a\r\nHost: localhost\r\n\r\n",
    ):
        with server.connection() as connection:
            connection.sendall(head)
            assert receive(connection).status in (400, 403)


def test_what_is_written_to_disk_is_for_its_owner(guarded: Server) -> None:
    for path in Path(guarded.folder).rglob("secrets/*"):
        assert path.stat().st_mode & 0o077 == 0
