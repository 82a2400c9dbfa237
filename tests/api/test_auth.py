from __future__ import annotations

from typing import Any

import pytest

from orchestrator.api.app import OPERATIONS
from orchestrator.api.auth import why_not_local
from orchestrator.api.services import Token
from tests.api.house import TOKENS, House, bearer, check_problem

OPEN = "open"
MATRIX = {
    "GET /api/bundles": "viewer",
    "GET /api/bundles/{id}": "viewer",
    "GET /api/bundles/{id}/history": "viewer",
    "GET /api/videos": "viewer",
    "GET /api/videos/{id}": "viewer",
    "GET /api/videos/{id}/history": "viewer",
    "GET /api/countries": "viewer",
    "GET /api/campaigns": "viewer",
    "POST /api/campaigns": "operator",
    "GET /api/campaigns/{id}": "viewer",
    "GET /api/campaigns/{id}/history": "viewer",
    "POST /api/campaigns/{id}/start": "operator",
    "POST /api/campaigns/{id}/pause": "operator",
    "POST /api/campaigns/{id}/resume": "operator",
    "POST /api/campaigns/{id}/cancel": "operator",
    "POST /api/videos/{id}/reroute": "operator",
    "POST /api/videos/{id}/retry": "operator",
    "POST /api/videos/{id}/cancel": "operator",
    "POST /api/videos/{id}/release": "operator",
    "POST /api/videos/{id}/finalize": "operator",
    "POST /api/videos/{id}/corrections": "operator",
    "POST /api/videos/{id}/refresh": "operator",
    "POST /api/bundles/{id}/pause": "operator",
    "POST /api/bundles/{id}/resume": "operator",
    "POST /api/bundles/{id}/review": "operator",
    "POST /api/bundles/{id}/reviewed": "operator",
    "POST /api/bundles/{id}/warm": "operator",
    "POST /api/bundles/{id}/reinstate": "admin",
    "POST /api/countries/{country}/pause": "operator",
    "POST /api/countries/{country}/resume": "operator",
    "POST /api/pause": "admin",
    "POST /api/resume": "admin",
    "POST /api/videos/bulk": "operator",
    "POST /api/messages/bulk": "operator",
    "POST /api/commands/bulk": "operator",
    "GET /api/decisions": "viewer",
    "GET /api/commands": "viewer",
    "GET /api/commands/{id}": "viewer",
    "POST /api/commands/{id}/retry": "operator",
    "POST /api/commands/{id}/discard": "operator",
    "POST /api/commands/{id}/approve": "admin",
    "GET /api/policies": "viewer",
    "POST /api/policies/check": "viewer",
    "GET /api/messages": "viewer",
    "GET /api/messages/{id}": "viewer",
    "POST /api/messages/{id}/retry": "operator",
    "GET /api/events": "viewer",
    "GET /api/stream": "viewer",
    "GET /api/projections": "viewer",
    "POST /api/projections/{name}/rebuild": "admin",
    "GET /health/live": OPEN,
    "GET /health/ready": OPEN,
    "GET /health/work": OPEN,
    "GET /metrics": "viewer",
    "GET /openapi.json": "viewer",
    "GET /docs": "viewer",
    "GET /docs/docs.css": "viewer",
}
"""Who may call what. A new operation needs a row."""

RANKS = ["viewer", "operator", "admin"]


def test_every_operation_has_a_row() -> None:
    described = {f"{operation.method} {operation.path}": operation.role or OPEN for operation in OPERATIONS}
    assert described == MATRIX


def test_every_operation_asks_who_calls(guarded: House) -> None:
    wrong = {"Authorization": "Bearer viewer-secret-7f3"}
    for row, role in MATRIX.items():
        method, path = row.split()
        # Streams do not end by themselves: one that must not begin is told from one that may by its bad start.
        address = path.replace("{id}", "none").replace("{name}", "none").replace("{country}", "US")
        if path == "/api/stream":
            address += "?after=99"
        for headers in ({}, wrong):
            answer = guarded.client.request(method, address, headers=headers)
            if role == OPEN:
                assert answer.status_code in (200, 503)
                continue
            assert answer.status_code == 401, row
            assert answer.headers["www-authenticate"].startswith("Bearer")
            check_problem(answer)
        for rank in RANKS:
            answer = guarded.client.request(method, address, headers=bearer(rank))
            if role != OPEN and RANKS.index(rank) < RANKS.index(role):
                assert answer.status_code == 403, row
                check_problem(answer)
            else:
                assert answer.status_code in (200, 202, 400, 404, 422, 503), row


def test_strangers_learn_no_addresses(guarded: House) -> None:
    for path in ("/nothing", "/api/campaign", "/healthy", "/webhooksx", "/health/../api/bundles"):
        assert guarded.client.get(path).status_code == 401
    assert guarded.client.get("/nothing", headers=bearer("viewer")).status_code == 404
    assert guarded.client.delete("/api/bundles").status_code == 401
    for path in ("/health/nothing", "/webhooks/nothing"):
        assert guarded.client.get(path).status_code == 404


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer",
        "Bearer ",
        "Basic dmVyYTp2aWV3ZXItc2VjcmV0LTdmM2E=",
        "viewer-secret-7f3a",
        "Bearer viewer-secret-7f3a,",
        "Bearer VIEWER-SECRET-7F3A",
        "Token viewer-secret-7f3a",
        b"Bearer \xff\xfe",
    ],
)
def test_a_malformed_authorization_is_none(authorization: str | bytes) -> None:
    from orchestrator.api.auth import Auth
    from orchestrator.api.problems import Problem

    value = authorization if isinstance(authorization, bytes) else authorization.encode()
    auth = Auth(None, TOKENS)  # type: ignore[arg-type]
    with pytest.raises(Problem) as raised:
        auth._identify({"headers": [(b"authorization", value)]})
    assert raised.value.status == 401
    with pytest.raises(Problem):
        auth._identify({"headers": [(b"authorization", b"Bearer viewer-secret-7f3a")] * 2})
    assert auth._identify({"headers": [(b"authorization", b"bearer  viewer-secret-7f3a ")]}).name == "vera"


def test_a_token_is_never_shown() -> None:
    assert "secret" not in repr(TOKENS)
    with pytest.raises(ValueError, match="role"):
        Token("x", "root", "y")
    with pytest.raises(ValueError, match="empty"):
        Token("x", "admin", "")


def scope(peer: str | None = "127.0.0.1", method: str = "GET", **headers: str) -> dict[str, Any]:
    named = {"host": "127.0.0.1:8080"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return {
        "method": method,
        "client": None if peer is None else (peer, 5000),
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
    }


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]", "[::1]:8080", "127.1.2.3:80"]
)
def test_without_tokens_this_machine_is_answered(peer: str, host: str) -> None:
    assert why_not_local(scope(peer, host=host)) is None


@pytest.mark.parametrize("peer", [None, "192.0.2.1", "10.0.0.1", "::", "fe80::1", "0.0.0.0", "testclient", ""])
def test_without_tokens_nobody_else_is_answered(peer: str | None) -> None:
    assert why_not_local(scope(peer)) is not None


@pytest.mark.parametrize(
    "host",
    [
        "",
        "example.com",
        "localhost.example.com",
        "127.0.0.1.nip.io",
        "0.0.0.0",
        "192.0.2.1:8080",
        "localhost:x",
        "localhost:80:80",
        "[::1",
        "::1:8080",
        "[localhost]",
        "user@localhost",
    ],
)
def test_without_tokens_no_other_name_is_answered(host: str) -> None:
    assert why_not_local(scope(host=host)) is not None


@pytest.mark.parametrize(
    "header",
    [
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-anything",
        "x-real-ip",
        "via",
        "cf-connecting-ip",
        "true-client-ip",
        "x-client-ip",
        "x-original-forwarded-for",
    ],
)
def test_without_tokens_nothing_forwarded_is_answered(header: str) -> None:
    assert why_not_local(scope(**{header: "127.0.0.1"})) is not None


def test_without_tokens_no_page_from_elsewhere_gives_commands() -> None:
    for origin in ("https://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:8080"):
        assert why_not_local(scope(method="POST", origin=origin)) is not None
        assert why_not_local(scope(method="GET", origin=origin)) is None
    assert why_not_local(scope(method="POST", origin="http://127.0.0.1:8080")) is None
    assert why_not_local(scope(method="POST")) is None


def test_two_hosts_are_none() -> None:
    doubled = scope()
    doubled["headers"].append((b"host", b"127.0.0.1"))
    assert why_not_local(doubled) is not None


def test_the_house_stays_shut_to_proxies(house: House) -> None:
    for row, role in MATRIX.items():
        method, path = row.split()
        for headers in ({"X-Forwarded-For": "127.0.0.1"}, {"Host": "orchestrator.example.com"}, {"Via": "1.1 tunnel"}):
            answer = house.client.request(method, path, headers=headers)
            if role == OPEN:
                assert answer.status_code in (200, 503)
            else:
                assert answer.status_code == 403, row
                check_problem(answer)
