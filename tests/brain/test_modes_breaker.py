"""The breaker: so many bans in so short a time, by TokPortal's clock."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestrator.domain.decisions import BreakerOpened
from tests.brain.stage import Make, Stage


def banned(stage: Stage, *hours_ago: float) -> list[BreakerOpened]:
    """One account after the other, in this order of arrival."""
    stage.warm(*(f"b{number}" for number in range(len(hours_ago))))
    for number, hours in enumerate(hours_ago):
        stage.article("bundle.banned", f"b{number}", at=stage.now - timedelta(hours=hours))
    return stage.events(BreakerOpened)


@pytest.mark.parametrize("hours_ago", [(2, 1, 0), (0, 24, 12), (24, 0, 12)])
def test_three_within_a_day_open_it_in_whatever_order_they_are_told(make: Make, hours_ago: tuple[float, ...]) -> None:
    (opened,) = banned(make(), *hours_ago)

    assert sorted(opened.data["accounts"]) == ["b0", "b1", "b2"]


def test_it_opens_when_all_of_them_are_told_days_later(make: Make) -> None:
    """Nobody was there. That three accounts were banned at once is no less true for it."""
    assert len(banned(make(), 80, 79, 78)) == 1


def test_what_was_long_ago_is_history(make: Make) -> None:
    assert banned(make(), 200, 199, 198) == []


@pytest.mark.parametrize("hours_ago", [(25, 1, 0), (25, 24, 0), (0, 100, 200)])
def test_those_that_are_further_apart_do_not(make: Make, hours_ago: tuple[float, ...]) -> None:
    assert banned(make(), *hours_ago) == []


def test_the_same_account_banned_again_is_no_other_account(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2")
    for bundle in ("b1", "b2", "b1", "b2"):
        stage.article("bundle.banned", bundle)
        stage.order({"command": "bundle.reinstate", "bundle_id": bundle})
        stage.now += timedelta(minutes=1)

    assert stage.events(BreakerOpened) == []


def test_what_was_seen_when_a_person_resumed_counts_no_more(make: Make) -> None:
    stage = make()
    assert len(banned(stage, 2, 1, 0)) == 1
    order = {"command": "market.resume", "country": "US", "platform": "tiktok"}
    assert stage.order(order) == ("applied", None)
    stage.warm("c1", "c2")
    stage.article("bundle.banned", "c1")
    stage.article("bundle.banned", "c2")

    assert len(stage.events(BreakerOpened)) == 1
