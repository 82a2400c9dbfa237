from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from orchestrator.api.handlers import stream
from tests.api.house import House, check_problem, webhook
from tests.api.house import house as open_house


@contextmanager
def listening(house: House, **options: Any) -> Iterator[Iterator[dict[str, str]]]:
    """The events of a stream, once it is open: each the fields of one block, comments under an empty name."""
    with house.client.stream("GET", "/api/stream", **options) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-accel-buffering"] == "no"
        blocks = read(answer.iter_lines())
        opening = next(blocks)
        assert opening["retry"]
        yield blocks


def read(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    block: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            block[name] = value.removeprefix(" ")
        elif block:
            yield block
            block = {}


def take(blocks: Iterator[dict[str, str]], count: int) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for block in blocks:
        if "id" in block:
            found.append((int(block["id"]), block["event"]))
        if len(found) == count:
            return found
    raise AssertionError("the stream has ended")


def test_a_stream_begins_at_the_head_and_follows(house: House) -> None:
    house.tell(webhook("bundle.created", 1))
    with listening(house) as blocks:
        house.tell(webhook("bundle.ready", 2))
        assert take(blocks, 1) == [(3, "BundleReady")]
        house.tell(webhook("bundle.warming_started", 3), webhook("bundle.warming_completed", 4))
        assert take(blocks, 2) == [(4, "WarmingStarted"), (5, "WarmingCompleted")]


def test_the_data_of_a_stream_are_the_items_of_the_log(house: House) -> None:
    house.tell(webhook("bundle.created", 1, data={"username": "line\nbreak"}))
    with listening(house, params={"after": 0}) as blocks:
        data = [json.loads(next(blocks)["data"]) for _ in range(2)]
    assert data == house.get("/api/events")["items"]


def test_a_stream_is_resumed_where_it_was_lost(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BATCH", 3)
    house.tell(*(webhook("bundle.created", minute, bundle=f"bdl_{minute}") for minute in range(5)))
    with listening(house, params={"after": 0}) as blocks:
        seen = take(blocks, 4)
    with listening(house, params={"after": 0}, headers={"Last-Event-ID": str(seen[-1][0])}) as blocks:
        seen += take(blocks, 6)
    assert [position for position, _ in seen] == list(range(1, 11))


def test_a_stream_cannot_begin_just_anywhere(house: House) -> None:
    for options in (
        {"headers": {"Last-Event-ID": "x"}},
        {"headers": {"Last-Event-ID": "-1"}},
        {"headers": {"Last-Event-ID": "9" * 30}},
        {"headers": {"Last-Event-ID": "7"}},
        {"params": {"after": "x"}},
        {"params": {"after": "1"}},
        {"params": {"since": "1"}},
    ):
        house.get("/api/stream", 400, **options)


def test_there_is_an_end_to_streams(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MOST_STREAMS", 1)
    with listening(house):
        answer = house.client.get("/api/stream")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        check_problem(answer)
    # The place is free again once the server has noticed.
    while house.client.head("/api/stream").status_code != 200:
        pass
    with listening(house):
        pass


def test_a_silent_stream_shows_signs_of_life(migrated_url: str) -> None:
    with open_house(migrated_url, heartbeat=0.05) as house, listening(house) as blocks:
        assert next(blocks)[""].startswith("ping")


def test_streams_end_when_the_service_stops(house: House) -> None:
    with listening(house) as blocks:
        house.app.state.runtime.head.stopped = True
        house.tell(webhook("bundle.created"))
        assert [block for block in blocks if "id" in block] == []
