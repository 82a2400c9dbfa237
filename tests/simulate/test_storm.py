from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any

import pytest
from tokportal import verify_webhook_signature

from orchestrator.simulate.client import run
from orchestrator.simulate.dialect import Dialect
from orchestrator.simulate.error import SimulateError
from orchestrator.simulate.figures import Figures
from orchestrator.simulate.storm import storm
from tests.simulate.receiver import Receiver, Reply, Request, answer, receiving

SECRET = "tp_storm"
START = datetime(2026, 11, 20, tzinfo=UTC)


def verified(request: Request) -> bool:
    if "tokportal-signature" in request.headers:
        return verify_webhook_signature(request.body, request.headers["tokportal-signature"], SECRET)
    digest = hmac.new(SECRET.encode(), request.body, hashlib.sha256).hexdigest()
    return request.headers["x-tokportal-signature"] == f"sha256={digest}"


class Judge:
    """Answers as the orchestrator does: 401 for a bad signature, `duplicate` for a body known."""

    def __init__(self) -> None:
        self.known: set[bytes] = set()
        self.bodies: list[bytes] = []

    def __call__(self, request: Request) -> bytes:
        if not verified(request):
            return answer(401, {"status": 401, "title": "bad signature"})
        word = "duplicate" if request.body in self.known else "accepted"
        self.known.add(request.body)
        self.bodies.append(request.body)
        return answer(200, {"status": word, "message_id": "m"})


def stormed(reply: Reply, dialect: Dialect = Dialect.ARTICLE, **settings: Any) -> tuple[Figures, Receiver]:
    async def main() -> tuple[Figures, Receiver]:
        async with receiving(reply) as receiver:
            return await storm(receiver.url, SECRET, dialect, **settings), receiver

    return run(main())


@pytest.mark.parametrize("dialect", list(Dialect))
def test_every_answer_of_a_correct_server_is_as_expected(dialect: Dialect) -> None:
    judge = Judge()
    figures, _ = stormed(judge, dialect, count=3000, duplicates=0.1, reordering=0.05, bad_signatures=0.02, seed=5)
    assert (figures.answers, figures.unexpected, figures.lost) == (3000, 0, 0)
    assert figures.words["accepted"] == len(judge.known)
    assert figures.words["duplicate"] / 3000 == pytest.approx(0.1, abs=0.03)
    assert figures.refused[401] / 3000 == pytest.approx(0.02, abs=0.015)
    assert set(figures.refused) == {401}


def test_too_many_forgeries_may_be_limited() -> None:
    reply = Judge()

    def limiting(request: Request) -> bytes:
        return reply(request) if verified(request) else answer(429, None, "Retry-After: 1")

    figures, _ = stormed(limiting, count=100, bad_signatures=0.5)
    assert figures.unexpected == 0
    assert set(figures.refused) == {429}


def test_a_server_that_takes_forgeries_is_found_out() -> None:
    figures, _ = stormed(lambda request: answer(200, {"status": "accepted"}), count=200, bad_signatures=0.5)
    assert figures.unexpected == figures.refused[200] > 0


def test_a_server_that_refuses_good_ones_is_found_out() -> None:
    figures, _ = stormed(lambda request: answer(503), count=50)
    assert (figures.unexpected, figures.statuses) == (50, {503: 50})


def test_same_seed_and_start_same_bodies() -> None:
    first, again = Judge(), Judge()
    for judge in (first, again):
        stormed(judge, count=300, connections=1, duplicates=0.1, reordering=0.1, seed=3, start=START)
    assert first.bodies == again.bodies


def test_record_hears_of_every_good_answer() -> None:
    heard: list[tuple[str, int]] = []
    figures, _ = stormed(
        Judge(), count=200, bad_signatures=0.2, record=lambda event_id, status: heard.append((event_id, status))
    )
    assert len(heard) == figures.statuses[200]
    assert {status for _, status in heard} == {200}
    assert all(event_id.startswith("evt_") for event_id, _ in heard)


def test_live_sees_the_figures_to_the_end() -> None:
    seen: list[int] = []
    figures, _ = stormed(Judge(), count=50, live=lambda figures: seen.append(figures.answers))
    assert seen[-1] == figures.answers == 50


def test_a_storm_by_time_and_rate() -> None:
    figures, _ = stormed(Judge(), duration=0.05, rate=1000.0, reordering=0.1)
    assert 0 < figures.answers <= 51
    assert figures.unexpected == 0


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"count": 0},
        {"duration": -1.0},
        {"count": 1, "rate": 0.0},
        {"count": 1, "bundles": 0},
        {"count": 1, "connections": 0},
        {"count": 1, "failures": 2.0},
        {"count": 1, "duplicates": 2.0},
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any]) -> None:
    with pytest.raises(SimulateError):
        stormed(Judge(), **settings)
