from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.api.queries.messages import list_messages
from orchestrator.database.tables import journal
from orchestrator.engine import Engine
from orchestrator.journal import Journal
from tests.api.house import House, bearer, check_problem, webhook


@contextmanager
def engine_running(house: House) -> Iterator[None]:
    stop = threading.Event()
    engine = Engine(house.database)

    def run() -> None:
        while not stop.wait(0.01):
            engine.step()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def rows(house: House) -> list[Any]:
    with house.database.read() as connection:
        return list(connection.execute(journal.select().order_by(journal.c.seq)))


def test_a_message_and_what_became_of_it(house: House) -> None:
    message = webhook("bundle.created", id="evt_1")
    house.tell(message, message)
    item = house.get(f"/api/messages/{message.message_id}")
    assert item == {
        "message_id": message.message_id,
        "kind": "webhook",
        "event_id": "evt_1",
        "dialect": "article",
        "received_at": "2026-11-20T12:30:00.250Z",
        "deliveries": 2,
        "status": "applied",
        "reason": None,
        "actor": {"kind": "vendor", "name": "tokportal"},
        "events": [1, 2],
        "body": message.body.decode(),
        "position": 2,
    }
    assert house.get("/api/messages")["items"] == [item]


def test_messages_by_filter_newest_first(house: House) -> None:
    good = webhook("bundle.created", id="evt_1")
    bad = webhook("bundle.created", id="evt_2", platform="myspace")
    other = webhook("bundle.created", id="evt_1", data={"username": "else"})
    strange = webhook("bundle.teleported", id="evt_3")
    house.tell(good, bad, other, strange)
    waiting = webhook("bundle.ready", id="evt_1")
    pending = Journal(house.database)
    pending.append([waiting])
    pending.close()

    def ids(**query: str) -> list[str]:
        items = house.walk("/api/messages", 1, **query)
        assert items == house.get("/api/messages", params=query)["items"]
        return [item["message_id"] for item in items]

    everything = [waiting, strange, other, bad, good]
    assert ids() == [message.message_id for message in everything]
    assert ids(status="pending") == [waiting.message_id]
    assert ids(status="quarantined") == [bad.message_id]
    assert ids(status="conflict") == [other.message_id]
    assert ids(status="unrecognised") == [strange.message_id]
    assert ids(status="refused") == []
    assert ids(event_id="evt_1") == [waiting.message_id, other.message_id, good.message_id]
    assert ids(event_id="evt_1", status="applied") == [good.message_id]
    assert ids(event_id="evt_1", status="pending") == [waiting.message_id]
    assert "quarantined" in house.get("/api/messages?status=quarantine", 400)["detail"]


def test_a_filter_does_not_read_the_journal_from_end_to_end(house: House) -> None:
    if not house.database.is_sqlite:
        return
    filters: list[dict[str, Any]] = [{"status": "refused"}, {"status": "pending"}, {"event_id": "evt_1"}]
    plans: list[str] = []

    def explain(_: Any, cursor: Any, statement: str, parameters: Any, *__: Any) -> None:
        if statement.startswith("SELECT"):
            plan = cursor.connection.execute("EXPLAIN QUERY PLAN " + statement, parameters)
            plans.extend(row[3] for row in plan)

    sa.event.listen(house.database.engine, "before_cursor_execute", explain)
    with house.database.read() as connection:
        for query in filters:
            list_messages(connection, **query)
    assert plans
    assert [step for step in plans if "SCAN journal" in step] == []


def test_bodies_are_cut_in_lists_and_whole_in_items(house: House) -> None:
    text = ("é😀" * 4000).encode()
    house.tell(
        webhook("", raw=text),
        webhook("", raw=b"\xff\xfe" * 3000),
        webhook("", raw=b"\xff"),
        webhook("", raw=b"x" * 2000),
    )
    short, tiny, binary, long = house.get("/api/messages")["items"]
    assert (short["body"], "body_truncated" in short) == ("x" * 2000, False)
    assert (tiny["body"], tiny["body_base64"], "body_truncated" in tiny) == (None, "/w==", False)
    assert (long["body"], long["body_truncated"]) == ("é😀" * 1000, True)
    assert (binary["body"], len(binary["body_base64"]), binary["body_truncated"]) == (None, 2000, True)
    assert house.get(f"/api/messages/{long['message_id']}")["body"] == text.decode()
    whole = house.get(f"/api/messages/{binary['message_id']}")
    assert base64.b64decode(whole["body_base64"]) == b"\xff\xfe" * 3000
    assert "body_truncated" not in whole


def quarantined(house: House) -> str:
    message = webhook("bundle.teleported")
    house.tell(message)
    return message.message_id


def test_a_retry_is_journalled_and_answered(guarded: House) -> None:
    target = quarantined(guarded)
    answer = guarded.client.post(f"/api/messages/{target}/retry", json={"reason": "fixed"}, headers=bearer("operator"))
    assert answer.status_code == 202
    message_id = answer.json()["message_id"]
    assert answer.json() == {"message_id": message_id}
    assert answer.headers["location"] == f"/api/messages/{message_id}"
    row = rows(guarded)[-1]
    assert (row.message_id, row.kind, row.endpoint, row.mode) == (message_id, "command", "api", "live")
    assert json.loads(row.body) == {"command": "retry", "message_id": target, "reason": "fixed"}
    assert json.loads(row.actor) == {"kind": "person", "name": "otto"}
    item = guarded.get(answer.headers["location"], headers=bearer("viewer"))
    assert (item["kind"], item["status"], item["received_at"]) == ("command", "pending", "2026-11-20T12:00:00Z")


@pytest.mark.parametrize("prefer", ["wait=20", "respond-async, wait=20", 'handling=lenient; x=1,  Wait = "20"'])
def test_an_answer_can_wait_for_its_command(house: House, prefer: str) -> None:
    target = quarantined(house)
    with engine_running(house):
        answer = house.client.post(f"/api/messages/{target}/retry", headers={"Prefer": prefer})
    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "wait=20"
    item = answer.json()
    assert (item["status"], item["kind"]) == ("applied", "command")
    assert answer.headers["location"] == f"/api/messages/{item['message_id']}"


def test_a_refused_command_says_why(house: House) -> None:
    message = webhook("bundle.created")
    house.tell(message)
    with engine_running(house):
        answer = house.client.post(f"/api/messages/{message.message_id}/retry", headers={"Prefer": "wait=20"})
    assert answer.status_code == 409
    check_problem(answer)
    item = house.get(answer.headers["location"])
    assert (item["status"], item["reason"]) == ("refused", answer.json()["detail"])
    assert answer.json()["message_id"] == item["message_id"]


def test_the_wait_for_a_command_ends(house: House) -> None:
    target = quarantined(house)
    for prefer, applied in (("wait=1", "wait=1"), ("wait=0", None), ("wait=soon", None), ("waiting=5", None)):
        answer = house.client.post(f"/api/messages/{target}/retry", headers={"Prefer": prefer})
        assert (answer.status_code, answer.headers.get("preference-applied")) == (202, applied)


def test_a_malformed_command_is_not_journalled(house: House) -> None:
    target = quarantined(house)
    before = len(rows(house))
    bodies = (
        b"{",
        b"[]",
        b'"x"',
        b"null",
        b'{"reason": 5}',
        b'{"reason": "\\u0000"}',
        b'{"reason": "\\ud800"}',
        b'{"reasons": "x"}',
        b'{"reason": "x", "reason": "y"}',
        b'{"reason": NaN}',
        json.dumps({"reason": "x" * 2_001}).encode(),
        b'{"reason": "\xff"}',
        b"[" * 60_000,
    )
    for body in bodies:
        answer = house.client.post(f"/api/messages/{target}/retry", content=body)
        assert answer.status_code == 422, body[:40]
        check_problem(answer)
    assert len(rows(house)) == before


def test_a_command_for_no_message_is_not_journalled(house: House) -> None:
    answer = house.client.post("/api/messages/msg_none/retry")
    assert answer.status_code == 404
    check_problem(answer)
    assert rows(house) == []


def test_a_large_body_is_not_read(house: House) -> None:
    target = quarantined(house)
    large = json.dumps({"reason": "x" * 65_536}).encode()
    announced = house.client.post(f"/api/messages/{target}/retry", content=large)
    streamed = house.client.post(f"/api/messages/{target}/retry", content=iter([large[:40_000], large[40_000:]]))
    for answer in (announced, streamed):
        assert answer.status_code == 413
        check_problem(answer)
    fitting = json.dumps({"reason": "x" * 2_000}).encode().ljust(65_536)
    assert house.client.post(f"/api/messages/{target}/retry", content=fitting).status_code == 202


def test_a_journal_that_fails_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    target = quarantined(house)

    def fail(*_: Any) -> Any:
        raise OSError("disk full at /dev/sda1")

    monkeypatch.setattr(Journal, "append", fail)
    answer = house.client.post(f"/api/messages/{target}/retry")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "sda1" not in answer.text
    check_problem(answer)
