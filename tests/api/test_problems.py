from __future__ import annotations

import threading
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.api.handlers import bundles
from tests.api.house import House, check_problem
from tests.api.house import house as open_house

SECURE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
}


def test_what_nobody_foresaw_tells_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise KeyError("canary-4711 in /etc/passwd")

    monkeypatch.setattr(bundles, "list_bundles", fail)
    answer = house.client.get("/api/bundles")
    assert answer.status_code == 500
    check_problem(answer)
    assert "canary" not in answer.text
    assert "KeyError" not in answer.text
    assert SECURE.items() <= dict(answer.headers).items()
    request_id = answer.json()["request_id"]
    logged = [record for record in caplog.records if request_id in record.getMessage()]
    assert len(logged) == 1
    assert "canary-4711" in caplog.text


def test_a_database_that_fails_is_not_our_error(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(connection: sa.Connection, **_: Any) -> Any:
        raise sa.exc.OperationalError("SELECT", {}, Exception("could not connect to db.internal"))

    monkeypatch.setattr(bundles, "list_bundles", fail)
    answer = house.client.get("/api/bundles")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "db.internal" not in answer.text
    check_problem(answer)


def test_a_database_that_hangs_holds_up_nobody(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def hang(connection: sa.Connection, **_: Any) -> Any:
        go_on.wait(30)

    monkeypatch.setattr(bundles, "list_bundles", hang)
    with open_house(migrated_url, read_timeout=0.1, threads=2) as house:
        try:
            for _ in range(4):
                answer = house.client.get("/api/bundles")
                assert answer.status_code == 503
                check_problem(answer)
            house.get("/health/live")
            figures = house.client.get("/metrics")
            assert figures.status_code == 200
            assert "orchestrator_database_readable 0.0" in figures.text
        finally:
            go_on.set()


def test_every_answer_is_secure(house: House) -> None:
    for path, status in {
        "/api/bundles": 200,
        "/api/nothing": 404,
        "/health/live": 200,
        "/metrics": 200,
        "/docs": 200,
        "/openapi.json": 200,
        "/docs/docs.css": 200,
        "/webhooks/nothing": 404,
    }.items():
        answer = house.client.get(path)
        assert answer.status_code == status
        assert SECURE.items() <= dict(answer.headers).items()
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["cache-control"] == ("private, max-age=300" if path.endswith(".css") else "no-store")
    refused = house.client.get("/api/bundles", headers={"Via": "x"})
    assert SECURE.items() <= dict(refused.headers).items()
