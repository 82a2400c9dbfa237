from __future__ import annotations

import json

from orchestrator.simulate.figures import Figures

ACCEPTED = b'{"status":"accepted","message_id":"m"}'
DUPLICATE = b'{"message_id":"m","status":"duplicate"}'


def test_counts_by_status_and_word() -> None:
    figures = Figures()
    for status, body in [(200, ACCEPTED), (200, ACCEPTED), (200, DUPLICATE), (503, b'{"status":503}'), (500, b"<p>")]:
        figures.record(status, body, 0.001)
    assert figures.statuses == {200: 3, 503: 1, 500: 1}
    assert figures.words == {"accepted": 2, "duplicate": 1}
    assert figures.unexpected == 0
    assert figures.latencies.count == 5


def test_an_answer_outside_the_expected_is_kept_as_a_sample() -> None:
    figures = Figures()
    for _ in range(20):
        figures.record(503, b"\xffdatabase", 0.001, (200,))
    assert figures.unexpected == 20
    assert figures.samples == ["503 \ufffddatabase"] * 5


def test_forged_requests_count_apart() -> None:
    figures = Figures()
    figures.record(401, b"{}", 0.001, (401,), forged=True)
    figures.record(200, ACCEPTED, 0.001, (401,), forged=True)
    assert (figures.statuses, figures.refused, figures.words) == ({}, {401: 1, 200: 1}, {})
    assert (figures.unexpected, figures.answers, figures.latencies.count) == (1, 2, 0)


def test_as_dict_is_plain_json() -> None:
    figures = Figures()
    figures.begin()
    figures.record(200, ACCEPTED, 0.002, (200,))
    figures.end()
    shown = json.loads(json.dumps(figures.as_dict()))
    assert shown["statuses"] == {"200": 1}
    assert shown["words"] == {"accepted": 1}
    assert list(shown["latency_ms"]) == ["p50", "p90", "p99", "p99.9", "max"]
    assert shown["latency_ms"]["max"] == 2.0
    assert shown["stopped"] is None


def test_time_stands_still_after_the_end() -> None:
    figures = Figures()
    assert (figures.seconds, figures.per_second) == (0.0, 0.0)
    figures.begin()
    figures.record(200, ACCEPTED, 0.0)
    assert figures.seconds > 0
    figures.end()
    assert figures.seconds == figures.seconds
    assert figures.per_second == 1 / figures.seconds


def test_the_table_shows_what_happened() -> None:
    figures = Figures()
    figures.record(200, ACCEPTED, 0.001, (200,))
    figures.record(503, b"busy", 0.001, (200,))
    figures.record(401, b"", 0.001, (401,), forged=True)
    figures.reconnects = 2
    figures.stopped = "interrupted"
    lines = [line.split(None, 1) for line in figures.table().splitlines()]
    assert ["accepted", "1"] in lines
    assert ["stopped", "interrupted"] in lines
    text = figures.table()
    assert "forged, status 401" in text
    assert "503 busy" in text
    assert "p99.9" in text
