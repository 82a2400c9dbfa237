"""The world of the demo: its first days, about a minute at its speed, show all that a newcomer should see."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import msgspec

from orchestrator.sandbox.demo_world import DEMO, SPEED
from orchestrator.sandbox.model import Bundle, SavedAccount, WarmingSession, WarmingTerm
from orchestrator.sandbox.worldfile import read
from tests.sandbox.town import ARTICLE, DAY, Town


def demo() -> Town:
    town = Town(dialect=ARTICLE, seed=DEMO.seed or 0, **msgspec.structs.asdict(DEMO.managers))
    for founding in DEMO.accounts:
        town.life.founder.found(founding)
    town.world.run_due()
    return town


def test_five_countries_with_accounts_that_can_post_and_new_ones_that_must_warm() -> None:
    town = demo()
    warm, ready = Counter[str](), Counter[str]()
    for bundle in town.world.bundles():
        sessions = town.world.sessions_of(bundle.saved_account_id or "")
        is_warm = any(session.status == "completed" for session in sessions)
        (warm if is_warm else ready)[bundle.country] += 1
    assert set(warm) == set(ready) == {"USA", "FR", "DE", "UK", "BR"}
    assert min(warm.values()) >= 2 and 20 <= sum(warm.values()) + sum(ready.values()) <= 30
    platforms = Counter((bundle.country, bundle.platform) for bundle in town.world.bundles())
    assert sum(platform == "instagram" for _, platform in platforms) == 2
    assert not any(account.banned for account in town.world.all(SavedAccount))
    assert {"bundle.created", "bundle.ready", "bundle.warming_completed"} <= set(town.heard(ARTICLE))


def test_a_minute_at_its_speed_shows_warming_posts_a_retry_and_a_ban() -> None:
    town = demo()
    for bundle in list(town.world.bundles()):
        sessions = town.world.sessions_of(bundle.saved_account_id or "")
        if any(session.status == "pending" for session in sessions):
            _word(town, bundle, sessions[0])
        if any(session.status == "completed" for session in sessions):
            for position in range(1, 7):
                town.hand_over(bundle, position, f"2026-12-0{2 + position // 3}")
    minute = timedelta(seconds=60 * SPEED)
    assert 3 * DAY < minute < 6 * DAY
    town.passes(minute)
    heard = Counter(town.heard(ARTICLE))
    assert heard["video.posted"] > 30
    assert heard["bundle.warming_completed"] > len([b for b in town.world.bundles() if b.status == "accepted"]) / 2
    assert heard["bundle.banned"] >= 2
    retries = [data["retry"]["will_retry"] for data in town.data(ARTICLE, "video.post_failed")]
    assert True in retries and False in retries
    first_ban = next(body for body in town.bodies(ARTICLE) if body["event"] == "bundle.banned")
    banned = town.world.get(Bundle, first_ban["bundle_id"])
    assert any(slot.status == "cancelled" and slot.external_ref for slot in town.world.slots_of(banned))


def _word(town: Town, bundle: Bundle, session: WarmingSession) -> None:
    bundle.warming_terms = ["one", "two", "three"]
    session.terms = [WarmingTerm(term=term) for term in bundle.warming_terms]
    town.world.put(bundle)
    town.world.start_session(session, bundle.saved_account_id or "")
    town.world.changed("bundle.warming_terms_set", bundle)


def test_the_demo_could_stand_in_a_file() -> None:
    assert read(msgspec.json.decode(msgspec.json.encode(DEMO))) == DEMO
