from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator

import httpx2
import pytest

from orchestrator.commands.executor import TryAgain
from orchestrator.secrets import Secret
from orchestrator.tokportal.client import Client, KeyRefused, Refused, Unreachable
from orchestrator.tokportal.transport import AnswerLost, Call, Transport, calling
from tests.tokportal.fake import BASE, KEY, Fake, Ticking, no

ME = "GET /me"
RESET = "POST /bundles/b/videos/1/reset"
HEADERS = {
    "X-TokPortal-Request-ID": "req_" + "a" * 32,
    "X-RateLimit-Limit": "120",
    "X-RateLimit-Remaining": "7",
    "X-RateLimit-Reset": "1796083260",
}


def write(fake: Fake) -> object:
    return fake.client().call("resetBundleVideo", "ordinary", {"id": "b", "position": 1}, key="k")


def ours(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name.startswith("orchestrator")]


@pytest.mark.parametrize("error", [httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError])
def test_what_was_not_sent_did_not_happen(error: type[httpx2.HTTPError]) -> None:
    fake = Fake({RESET: error("refused")})
    with pytest.raises(Unreachable, match="cannot be reached") as raised:
        write(fake)
    assert raised.value.after is not None


@pytest.mark.parametrize(
    "error", [httpx2.ReadTimeout, httpx2.ReadError, httpx2.RemoteProtocolError, httpx2.WriteError, httpx2.WriteTimeout]
)
def test_what_was_sent_and_not_answered_is_unknown(error: type[httpx2.HTTPError]) -> None:
    with pytest.raises(AnswerLost):
        write(Fake({RESET: error("gone")}))
    with pytest.raises(TryAgain, match="did not answer") as raised:
        Fake({ME: error("gone")}).client().me("ordinary")
    assert raised.value.after is None, "an attempt, like any other"


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 302])
def test_answers_that_leave_a_write_unknown(status: int) -> None:
    with pytest.raises(AnswerLost, match=str(status)):
        write(Fake({RESET: (status, "<html>busy</html>")}))
    with pytest.raises(TryAgain):
        Fake({ME: (status, {"error": {"code": "BUSY"}})}).client().me("ordinary")


@pytest.mark.parametrize("body", ["<html>", "[1, 2]", '{"data": ', "null"])
def test_a_success_that_cannot_be_read(body: str) -> None:
    with pytest.raises(AnswerLost, match="no JSON object"):
        write(Fake({RESET: (200, body)}))


def test_an_empty_success() -> None:
    answer, call = (
        Fake({"DELETE /webhooks/w": (204, "")}).client().call("deleteWebhookEndpoint", "ordinary", {"id": "w"}, key="k")
    )
    assert (answer.data, call.status) == ({}, 204)


def test_a_key_that_is_being_used_is_looked_up_rather_than_refused() -> None:
    with pytest.raises(AnswerLost):
        write(Fake({RESET: no(409, "IDEMPOTENCY_KEY_IN_USE")}))


@pytest.mark.parametrize(
    ("body", "code", "message", "details"),
    [
        ({"error": {"code": "X", "message": "m", "details": {"a": 1}}}, "X", "m", {"a": 1}),
        ({"error": {"code": "X", "details": ["a"]}}, "X", None, {"said": ["a"]}),
        ({"error": {"code": 7, "message": {}}}, "HTTP_400", None, {}),
        ({"error": "broken"}, "HTTP_400", "broken", {}),
        ({"code": "X", "message": "m"}, "X", "m", {}),
        ("<html>", "HTTP_400", None, {"raw_body": "<html>"}),
        ("", "HTTP_400", None, {}),
        ([], "HTTP_400", None, {"raw_body": "[]"}),
    ],
)
def test_refusals_of_every_shape(body: object, code: str, message: str | None, details: dict[str, object]) -> None:
    with pytest.raises(Refused) as raised:
        write(Fake({RESET: (400, body)}))
    assert (raised.value.code, raised.value.details) == (code, details)
    assert message is None or raised.value.message == message


def test_headers_are_folded_into_the_details_of_errors() -> None:
    with pytest.raises(Refused) as raised:
        write(Fake({RESET: (404, {"error": {"code": "VIDEO_NOT_FOUND"}}, HEADERS)}))
    assert raised.value.details == {
        "request_id": "req_" + "a" * 32,
        "rate_limit_limit": 120,
        "rate_limit_remaining": 7,
        "rate_limit_reset": 1796083260,
    }


def test_headers_of_successes_are_seen() -> None:
    fake = Fake({ME: (200, {"data": {}}, {**HEADERS, "Idempotent-Replayed": "true", "Retry-After": "soon"})})
    _, call = fake.client().me("ordinary")
    assert (call.remaining, call.is_replay, call.answered_id) == (7, True, "req_" + "a" * 32)
    assert call.retry_after is None


def test_what_is_sent_along(caplog: pytest.LogCaptureFixture) -> None:
    fake = Fake({ME: (200, {"data": {}}, HEADERS), RESET: {"data": {}}})
    with caplog.at_level(logging.INFO):
        fake.client().me("ordinary")
        write(fake)
        write(fake)
    read, first, second = fake.asked
    assert read.headers["x-api-key"] == KEY
    assert read.headers["x-request-id"].startswith("req_") and len(read.headers["x-request-id"]) == 36
    assert "x-tokportal-dry-run" not in read.headers and read.key is None
    assert first.key == second.key and first.key is not None and first.key.startswith("k-")
    assert [record.__dict__["request_id"] for record in ours(caplog)] == [first.headers["x-request-id"]] * 2


def test_the_log_names_the_answers_id(caplog: pytest.LogCaptureFixture) -> None:
    fake = Fake({RESET: (409, {"error": {"code": "X", "message": f"key {KEY} is bad"}}, HEADERS)})
    with caplog.at_level(logging.DEBUG), pytest.raises(Refused) as raised:
        write(fake)
    assert ours(caplog)[0].__dict__["request_id"] == HEADERS["X-TokPortal-Request-ID"]
    assert KEY not in str(raised.value) and "***" in raised.value.message
    assert KEY not in "".join(str(record.__dict__) for record in caplog.records)


def test_no_error_shows_the_key() -> None:
    fake = Fake({RESET: httpx2.ReadError("gone")})
    with pytest.raises(AnswerLost) as raised:
        write(fake)
    assert raised.value.__cause__ is None and raised.value.__suppress_context__
    assert KEY not in str(raised.value)


def test_401_keeps_commands_alive() -> None:
    with pytest.raises(KeyRefused) as raised:
        write(Fake({RESET: no(401, "AUTH_REVOKED_KEY")}))
    assert (raised.value.code, raised.value.after) == ("AUTH_REVOKED_KEY", 60.0)


def test_outages_are_waited_out_longer_and_longer() -> None:
    fake = Fake({ME: [httpx2.ConnectError("x")] * 8})
    client, waits = fake.client(speed=10.0), []
    for _ in range(7):
        with pytest.raises(Unreachable) as raised:
            client.me("ordinary")
        waits.append(raised.value.after)
    assert waits == [20.0, 40.0, 80.0, 160.0, 320.0, 600.0, 600.0]
    fake.answers[ME] = {"data": {}}
    client.me("ordinary")
    fake.answers[ME] = httpx2.ConnectError("x")
    with pytest.raises(Unreachable) as raised:
        client.me("ordinary")
    assert raised.value.after == 20.0


def test_an_outage_is_nobodys_attempt() -> None:
    fake = Fake({ME: (503, ""), "GET /bundles/b": no(404, "BUNDLE_NOT_FOUND")})
    client = fake.client()

    def waits() -> list[float | None]:
        found = []
        for _ in range(5):
            with pytest.raises(TryAgain) as raised:
                client.me("ordinary")
            found.append(raised.value.after)
        return found

    assert waits() == [None, None, None, 16.0, 32.0]
    assert client.bundle("ordinary", "b") is None, "any answer ends it"
    assert waits()[:4] == [None, None, None, 16.0]


def test_what_no_database_takes_is_replaced() -> None:
    message, details = '"a\\u0000b"', '{"\\ud800": ["\\udfff", "\\\\u0000", "\\ud83d\\ude00"]}'
    body = f'{{"error": {{"code": "X", "message": {message}, "details": {details}}}}}'
    with pytest.raises(Refused) as raised:
        write(Fake({RESET: (400, body)}))
    assert raised.value.message == "a\ufffdb"
    assert raised.value.details == {"\ufffd": ["\ufffd", "\\u0000", "\U0001f600"]}


def test_endless_explanations_are_cut() -> None:
    error = {"code": "X", "message": "m" * 9000, "details": {"a": "b" * 9000}}
    with pytest.raises(Refused) as raised:
        write(Fake({RESET: (400, {"error": error}, HEADERS)}))
    assert len(raised.value.message) == 500
    assert raised.value.details == {"request_id": HEADERS["X-TokPortal-Request-ID"], "shortened": True}


@pytest.mark.parametrize(
    "url", ["http://tokportal.test/api", "ftp://tokportal.test", "https://", "https://u:p@tokportal.test"]
)
def test_addresses_that_a_key_is_not_sent_to(url: str) -> None:
    with pytest.raises(ValueError, match="no address for an API key"):
        Transport(url, Secret(KEY))


@pytest.mark.parametrize(
    "url", ["https://elsewhere.test/api/ext/me", f"{BASE}er/me", "http://tokportal.test/api/ext/me"]
)
def test_nothing_goes_elsewhere(url: str) -> None:
    transport = Transport(BASE, Secret(KEY), client=httpx2.Client(transport=httpx2.MockTransport(lambda _: 1 / 0)))
    with calling(Call("x", "req_1")), pytest.raises(RuntimeError, match="somewhere else"):
        transport(url, "GET", {}, None)


def test_redirects_are_not_followed() -> None:
    fake = Fake({ME: (302, "", {"Location": "https://elsewhere.test/"})})
    with pytest.raises(TryAgain, match="302"):
        fake.client().me("ordinary")
    assert len(fake.asked) == 1


def test_an_endless_answer_is_cut_off() -> None:
    times = iter(range(0, 1000, 10))

    def dripping() -> Iterator[bytes]:
        while True:
            yield b" "

    http = httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(200, content=dripping())))
    transport = Transport(BASE, Secret(KEY), client=http, monotonic=lambda: next(times))
    with calling(Call("x", "req_1")), pytest.raises(AnswerLost, match="not complete after 25 s"):
        transport(f"{BASE}/me", "GET", {}, None)


def test_an_answer_that_is_too_large_is_cut_off() -> None:
    def flood() -> Iterator[bytes]:
        while True:
            yield b" " * 1024 * 1024

    http = httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(200, content=flood())))
    with calling(Call("x", "req_1")), pytest.raises(AnswerLost, match="larger than"):
        Transport(BASE, Secret(KEY), client=http)(f"{BASE}/me", "GET", {}, None)


def test_on_real_sockets() -> None:
    """Nobody listening is not sent; somebody who hangs up after the request is an answer lost."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def hang_up() -> None:
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.close()
        listener.close()

    thread = threading.Thread(target=hang_up)
    thread.start()
    client = Client(f"http://127.0.0.1:{port}/api/ext", Secret(KEY), None, Ticking())
    with pytest.raises(AnswerLost):
        client.call("resetBundleVideo", "ordinary", {"id": "b", "position": 1}, key="k")
    thread.join()
    with pytest.raises(Unreachable):
        client.call("resetBundleVideo", "ordinary", {"id": "b", "position": 1}, key="k")
    client.close()


def test_calls_of_threads_are_kept_apart() -> None:
    fake = Fake(
        {f"GET /bundles/b{n}": (200, {"data": {"id": f"b{n}"}}, {"X-RateLimit-Remaining": str(n)}) for n in range(8)}
    )
    client = fake.client()
    seen: dict[int, int | None] = {}

    def ask(n: int) -> None:
        for _ in range(20):
            seen[n] = client.call("getBundle", "ordinary", {"id": f"b{n}"})[1].remaining
            assert seen[n] == n

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {n: n for n in range(8)}
