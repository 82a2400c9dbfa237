"""Time that passes by itself."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest

from orchestrator.sandbox import app
from orchestrator.sandbox.app import Pulse, create_app
from tests.sandbox.town import DAY, Town


def test_a_beat_does_a_bounded_part_of_what_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    town = Town()
    monkeypatch.setattr(town.life.sender, "pump", lambda: 0)
    done: list[int] = []
    town.world.on("count", lambda number: done.append(number))
    for number in range(250):
        town.world.at(town.world.now() + 1, "count", number=number)
    town.clock.time += timedelta(seconds=1)
    pulse = Pulse(town.life)
    assert [pulse.beat() for _ in range(4)] == [100, 100, 50, 0]
    assert done == list(range(250))


def test_the_world_waits_for_webhooks_that_nobody_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    town = Town()
    monkeypatch.setattr(town.life.sender, "pump", lambda: 0)
    monkeypatch.setattr(app, "_BACKLOG", 10)
    for _ in range(6):
        town.found(state="bought", age_days=0)
    town.found(state="published", age_days=0)
    town.passes(timedelta(0))
    town.clock.time += DAY
    assert town.life.sender.due > 10
    before = town.world.next_due()
    assert Pulse(town.life).beat() == 0
    assert town.world.next_due() == before


def test_a_world_that_cannot_go_on_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    town = Town()
    failed: list[bool] = []

    async def story() -> None:
        ended = asyncio.Event()

        def fail() -> None:
            failed.append(True)
            ended.set()

        application = create_app(town.life, failed=fail)
        town.world.at(town.world.now(), "nobody knows")
        async with application.router.lifespan_context(application):
            await ended.wait()

    with caplog.at_level(logging.ERROR):
        asyncio.run(story())
    assert failed == [True]
    assert "nobody carries out 'nobody knows'" in caplog.text
