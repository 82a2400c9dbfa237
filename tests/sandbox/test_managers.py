"""What account managers do, as stories: given a bundle and a slot, when days pass, then these events in this order."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.clock import instant_of
from orchestrator.sandbox.diary import Work
from orchestrator.sandbox.model import Ban, Bundle, Coverage, Listing, WarmingSession, WarmingTerm
from tests.sandbox.town import ARTICLE, DAY, HOUR, PUBLIC, Town


def test_a_bought_account_is_reported_from_its_order_to_its_delivery() -> None:
    town = Town()
    bundle = town.found(state="published", age_days=0, warming_targets=0)
    town.passes(4 * DAY)
    assert town.heard(PUBLIC) == [
        "bundle.created",
        "bundle.published",
        "account.published",
        "account.in_review",
        "account.finalized",
    ]
    assert town.heard(ARTICLE) == ["bundle.created", "bundle.ready"]
    assert bundle.status == "accepted"
    (finalized,) = town.data(PUBLIC, "account.finalized")
    assert finalized["saved_account_id"] == bundle.saved_account_id is not None
    assert finalized["previous_status"] == "in_review"


def test_an_account_that_nobody_reviews_is_final_after_72_hours() -> None:
    town = Town(account_review="window")
    bundle = town.found(state="published", age_days=0)
    town.passes(6 * DAY)
    listing = town.world.get(Listing, bundle.account_id or "")
    assert listing.in_review_at is not None and listing.finalized_at is not None
    assert listing.finalized_at - listing.in_review_at == 72 * 3_600_000_000


def test_a_bundle_that_was_taken_back_in_time_is_accepted_by_nobody() -> None:
    town = Town()
    bundle = town.found(state="published", age_days=0)
    town.world.move_bundle(bundle, "pending_setup")
    bundle.published_at = None
    town.passes(3 * DAY)
    assert bundle.status == "pending_setup"


def test_a_slot_becomes_a_post_within_the_two_days_of_its_window() -> None:
    town = Town()
    bundle = town.found(state="warm")
    slots = [town.hand_over(bundle, position, f"2026-12-0{2 + position // 4}") for position in range(1, 10)]
    before = len(town.heard(PUBLIC))
    town.passes(10 * DAY)
    for slot in slots:
        assert slot.status == "finalized"
        post = next(post for post in town.life.posts if post.video_id == slot.id)
        day = int((slot.target_publish_date or "")[-2:])
        assert f"2026-12-0{day}" <= _day(post.at) <= f"2026-12-0{day + 1}"
        assert post.external_ref == slot.external_ref and post.saved_account_id == bundle.saved_account_id
    assert len(town.life.posts) == len(slots)
    first = slots[0].id
    public = [
        body["type"] for body in town.bodies(PUBLIC)[before - 2 * len(slots) :] if body["data"].get("video_id") == first
    ]
    assert public == ["video.configured", "video.published", "video.in_review", "video.finalized"]
    article = [body["event"] for body in town.bodies(ARTICLE) if body["data"].get("video_id") == first]
    assert article[:3] == ["video.upload_started", "video.upload_completed", "video.posted"]
    assert article[3:] == ["video.analytics_updated"] * 4


def _day(microseconds: int) -> str:
    return instant_of(microseconds).date().isoformat()


def test_a_post_is_reported_with_its_address_and_its_figures_grow() -> None:
    town = Town()
    bundle = town.found(state="warm")
    slot = town.hand_over(bundle, 1, "2026-12-02", "ours")
    town.passes(10 * DAY)
    (posted,) = town.data(ARTICLE, "video.posted")
    (in_review,) = town.data(PUBLIC, "video.in_review")
    assert posted["url"] == in_review["platform_url"] == slot.platform_url
    assert posted["position"] == in_review["position"] == 1
    views = [data["views"] for data in town.data(ARTICLE, "video.analytics_updated")]
    assert views == sorted(views) and views[-1] > 0


def test_without_automatic_review_a_video_is_final_after_72_hours() -> None:
    town = Town()
    bundle = town.found(state="warm", auto_finalize_videos=False)
    slot = town.hand_over(bundle, 1, "2026-12-02")
    town.passes(8 * DAY)
    assert slot.finalized_at is not None and slot.in_review_at is not None
    assert slot.finalized_at - slot.in_review_at == 72 * 3_600_000_000


@pytest.mark.parametrize("hours", [0, 6, 14])
def test_a_slot_that_was_taken_back_in_time_is_never_posted(hours: int) -> None:
    town = Town(accepts_video=(0.0, 0.0))
    bundle = town.found(state="warm")
    slot = town.hand_over(bundle, 1, "2026-12-03")
    town.passes(hours * HOUR)
    town.take_back(slot)
    town.passes(10 * DAY)
    assert town.life.posts == []
    assert town.heard(ARTICLE, "video.") == []


def test_a_slot_that_is_being_uploaded_cannot_be_taken_back() -> None:
    town = Town(upload_takes=(3_600.0, 3_600.0), accepts_video=(0.0, 0.0))
    bundle = town.found(state="warm")
    slot = town.hand_over(bundle, 1, "2026-12-02")
    assert not town.world.is_uploading(slot)
    while town.world.get(Work, slot.id).stage != "uploading":
        town.passes(timedelta(minutes=10), timedelta(minutes=10))
    assert town.world.is_uploading(slot)
    town.passes(2 * HOUR)
    assert not town.world.is_uploading(slot)
    assert slot.status == "finalized"


def test_a_slot_with_other_content_is_posted_once_with_the_last_of_it() -> None:
    town = Town(accepts_video=(0.0, 0.0))
    bundle = town.found(state="warm")
    slot = town.hand_over(bundle, 1, "2026-12-03", "first")
    town.passes(5 * HOUR)
    town.take_back(slot)
    town.hand_over(bundle, 1, "2026-12-04", "second")
    town.passes(10 * DAY)
    assert [post.external_ref for post in town.life.posts] == ["second"]


def test_a_failure_is_tried_again_and_told_with_its_count() -> None:
    town = Town(dialect=ARTICLE, fails=1.0, fails_for_good=0.0, failure_codes={"network_error": 1.0})
    bundle = town.found(state="warm")
    slot = town.hand_over(bundle, 1, "2026-12-02")
    town.passes(5 * DAY)
    failures = town.data(ARTICLE, "video.post_failed")
    assert [data["retry"]["will_retry"] for data in failures] == [True] * len(failures)
    assert [data["retry"]["attempt"] for data in failures] == list(range(1, len(failures) + 1))
    assert failures and failures[0]["error_code"] == "network_error"
    assert slot.status == "finalized" and slot.error is None
    assert len(town.life.posts) == 1


def test_a_video_given_up_asks_for_corrections_in_an_article_world() -> None:
    town = Town(dialect=ARTICLE, fails=1.0, fails_for_good=1.0, failure_codes={"network_error": 1.0})
    bundle = town.found(state="warm")
    slot = town.hand_over(bundle, 1, "2026-12-02")
    town.passes(5 * DAY)
    retries = [data["retry"]["will_retry"] for data in town.data(ARTICLE, "video.post_failed")]
    assert retries == [True, True, False]
    assert slot.status == "pending_corrections"
    assert town.life.posts == []
    # The client may give the slot another chance, and it has another fate.
    town.behave(fails=0.0)
    town.hand_over(bundle, 1, "2026-12-07")
    town.passes(4 * DAY)
    assert len(town.life.posts) == 1


def test_rejected_content_is_not_tried_again() -> None:
    town = Town(dialect=ARTICLE, fails=1.0, fails_for_good=0.0, failure_codes={"content_violation": 1.0})
    bundle = town.found(state="warm")
    town.hand_over(bundle, 1, "2026-12-02")
    town.passes(5 * DAY)
    (failure,) = town.data(ARTICLE, "video.post_failed")
    assert failure["error_code"] == "content_violation" and not failure["retry"]["will_retry"]
    assert "video.upload_completed" in town.heard(ARTICLE)


@pytest.mark.parametrize(
    ("code", "events", "status"),
    [("network_error", [], "accepted"), ("content_violation", ["video.pending_corrections"], "pending_corrections")],
)
def test_the_public_dialect_has_no_word_for_a_failure(code: str, events: list[str], status: str) -> None:
    town = Town(fails=1.0, fails_for_good=1.0, failure_codes={code: 1.0})
    bundle = town.found(state="warm")
    slot = town.hand_over(bundle, 1, "2026-12-02")
    town.passes(5 * DAY)
    assert town.heard(PUBLIC, "video.") == ["video.configured", "video.published", *events]
    assert slot.status == status


def test_a_missed_video_is_silence() -> None:
    town = Town(misses=1.0)
    bundle = town.found(state="warm")
    slot = town.hand_over(bundle, 1, "2026-12-02")
    town.passes(10 * DAY)
    assert town.heard(ARTICLE, "video.") == []
    assert slot.status == "accepted" and town.life.posts == []
    assert not town.world.is_uploading(slot)


def test_a_session_warms_over_three_days_once_its_terms_are_known() -> None:
    town = Town()
    bundle = town.found(state="ready")
    town.passes(2 * DAY)
    assert town.heard(PUBLIC, "warming.") == []
    (session,) = town.world.sessions_of(bundle.saved_account_id or "")
    _word(town, bundle, session)
    town.passes(2 * DAY)
    assert town.heard(PUBLIC, "warming.")[0] == "warming.session_started"
    assert session.status == "active"
    town.passes(2 * DAY)
    assert town.heard(PUBLIC, "warming.") == [
        "warming.session_started",
        *["warming.term_verified"] * 3,
        "warming.session_completed",
    ]
    assert town.heard(ARTICLE, "bundle.warming") == ["bundle.warming_started", "bundle.warming_completed"]
    counts = [data["terms_verified"] for data in town.data(PUBLIC, "warming.term_verified")]
    assert counts == [1, 2, 3]


def _word(town: Town, bundle: Bundle, session: WarmingSession) -> None:
    """Set the terms, as the REST side does."""
    bundle.warming_terms = ["one", "two", "three"]
    session.terms = [WarmingTerm(term=term) for term in bundle.warming_terms]
    town.world.put(bundle)
    town.world.put(session)
    town.world.start_session(session, bundle.saved_account_id or "")
    town.world.changed("bundle.warming_terms_set", bundle)


def test_a_session_that_fails_says_why_in_the_article_dialect() -> None:
    town = Town(dialect=ARTICLE, warming_fails=1.0)
    bundle = town.found(state="ready")
    (session,) = town.world.sessions_of(bundle.saved_account_id or "")
    _word(town, bundle, session)
    town.passes(4 * DAY)
    (failed,) = town.data(ARTICLE, "bundle.warming_failed")
    assert failed["code"] and failed["reason"]
    assert "bundle.warming_completed" not in town.heard(ARTICLE)
    assert session.status == "cancelled"


def test_targets_that_nobody_words_are_paid_back_after_14_days() -> None:
    town = Town()
    bundle = town.found(state="published", age_days=0)
    town.world.changed("bundle.created", bundle)
    before = town.world.credits
    town.passes(13 * DAY)
    assert town.world.credits == before
    town.passes(2 * DAY)
    assert town.world.credits == before + 3 * town.world.parameters.prices.advanced_warming
    assert all(session.status == "cancelled" for session in town.world.all(WarmingSession))


def test_a_ban_without_appeal_cancels_what_is_not_posted() -> None:
    town = Town(remakes=0.0, refunds=0.0)
    bundle = town.found(state="warm")
    done = town.hand_over(bundle, 1, "2026-12-02")
    town.passes(3 * DAY)
    open = town.hand_over(bundle, 2, "2026-12-08")
    ban = town.life.managers.bans.ban(town.account(bundle), appeal=False)
    town.passes(10 * DAY)
    assert ban is not None and ban.status == "no_appeal_banned" and ban.resolution == "no_remake"
    assert done.status == "finalized" and open.status == "cancelled" and bundle.status == "cancelled"
    assert town.heard(PUBLIC)[-3:] == ["account.banned", "bundle.cancelled", "account.ban_resolution.decided"]
    assert town.heard(ARTICLE)[-1] == "bundle.banned"
    assert len(town.life.posts) == 1
    (data,) = town.data(PUBLIC, "account.banned")
    assert data["saved_account_id"] == bundle.saved_account_id and data["banned_at"] and data["reason"]


def test_an_appeal_holds_the_account_and_a_won_one_lets_it_go_on() -> None:
    town = Town(appeals_won=1.0, appeal_takes=(48 * 3_600.0, 48 * 3_600.0))
    bundle = town.found(state="warm")
    slot = town.hand_over(bundle, 1, "2026-12-02")
    ban = town.life.managers.bans.ban(town.account(bundle), appeal=True)
    town.passes(47 * HOUR)
    assert town.life.posts == [] and ban is not None and ban.status == "appeal_pending"
    town.passes(2 * DAY)
    assert town.heard(PUBLIC, "account.ban") == ["account.ban_appeal.submitted", "account.ban_appeal.resolved"]
    (resolved,) = town.data(PUBLIC, "account.ban_appeal.resolved")
    assert resolved["appeal_status"] == "appeal_accepted"
    assert slot.status == "finalized"


def test_a_lost_appeal_is_a_ban() -> None:
    town = Town(appeals_won=0.0, remakes=0.0)
    bundle = town.found(state="warm")
    town.life.managers.bans.ban(town.account(bundle), appeal=True)
    town.passes(10 * DAY)
    (ban,) = town.world.all(Ban)
    assert ban.status == "appeal_refused" and town.account(bundle).banned
    assert "bundle.banned" in town.heard(ARTICLE)


def test_a_remade_account_has_a_new_id_and_goes_through_review_again() -> None:
    town = Town(remakes=1.0)
    bundle = town.found(state="warm", slots=4)
    before = bundle.saved_account_id
    town.hand_over(bundle, 1, "2026-12-04")
    town.life.managers.bans.ban(town.account(bundle), appeal=False)
    town.passes(12 * DAY)
    (remade,) = town.data(PUBLIC, "account.remade")
    assert remade["saved_account_id"] == bundle.saved_account_id != before
    assert town.heard(PUBLIC)[-4:] == [
        "account.ban_resolution.decided",
        "account.remade",
        "account.in_review",
        "account.finalized",
    ]
    assert bundle.status == "accepted"
    assert sum(slot.status == "pending" for slot in town.world.slots_of(bundle)) == 4


def test_a_refund_comes_with_its_credits() -> None:
    town = Town(remakes=0.0, refunds=1.0)
    bundle = town.found(state="warm")
    before = town.world.credits
    town.life.managers.bans.ban(town.account(bundle), appeal=False)
    town.passes(4 * DAY)
    assert town.world.credits == before + 32
    assert town.heard(PUBLIC)[-1] == "credits.restored"


def test_a_wave_bans_as_many_accounts_of_a_country_as_it_says() -> None:
    town = Town()
    for country in ("US", "US", "US", "FR"):
        town.found(country=country, state="warm")
    assert len(town.life.managers.bans.ban_some("US", 2, appeal=False)) == 2
    assert len(town.life.managers.bans.ban_some("US", 5, platform="instagram", appeal=False)) == 0
    assert len(town.life.managers.bans.ban_some("US", 5, appeal=False)) == 1
    assert len(town.heard(ARTICLE, "bundle.banned")) == 3


def test_coverage_is_renewed_and_a_lapse_stops_the_work_until_it_is_paid() -> None:
    town = Town()
    bundle = town.found(state="warm")
    town.passes(25 * DAY)
    assert town.heard(PUBLIC, "subscription.") == ["subscription.renewed"]
    town.behave(lapses=1.0, reactivates_after=(12 * 3_600.0, 12 * 3_600.0))
    coverage = town.world.get(Coverage, bundle.saved_account_id or "")
    while coverage.recorded_status != "lapsed":
        town.passes(HOUR)
    slot = town.hand_over(bundle, 1, town.clock.time.date().isoformat())
    town.passes(11 * HOUR)
    assert slot.status == "published"
    town.passes(3 * DAY)
    assert town.heard(PUBLIC, "subscription.")[-2:] == ["subscription.lapsed", "subscription.reactivated"]
    assert slot.status != "published"


def _story(town: Town, step: timedelta = HOUR) -> list[tuple[str, str]]:
    bundles = [town.found(country=country, state="warm") for country in ("US", "FR", "DE", "GB")]
    for bundle in bundles:
        for position in range(1, 10):
            town.hand_over(bundle, position, f"2026-12-{2 + position:02}")
    town.passes(30 * DAY, step)
    return [(body["type"], body["created_at"]) for body in town.bodies(PUBLIC)]


WILD: dict[str, Any] = {"fails": 0.4, "misses": 0.2, "bans_per_account_year": 20.0, "lapses": 0.3}


def test_the_same_seed_tells_the_same_story_however_time_is_cut() -> None:
    first = _story(Town(**WILD))
    assert first == _story(Town(**WILD), timedelta(hours=7))
    assert first != _story(Town(seed=8, **WILD))
    assert len({type for type, _ in first}) > 12


def test_a_restart_in_the_middle_continues_the_same_story(tmp_path: Path) -> None:
    whole = _story(Town(**WILD))
    town = Town(tmp_path / "world.db", **WILD)
    bundles = [town.found(country=country, state="warm") for country in ("US", "FR", "DE", "GB")]
    for bundle in bundles:
        for position in range(1, 10):
            town.hand_over(bundle, position, f"2026-12-{2 + position:02}")
    for _ in range(10):
        town.passes(3 * DAY)
        # The process is gone: nothing is told to it, and nothing was closed.
        town = Town(tmp_path / "world.db", clock=town.clock, **WILD)
    assert [(body["type"], body["created_at"]) for body in town.bodies(PUBLIC)] == whole


def test_whether_a_lost_appeal_is_reported_as_resolved_is_a_parameter() -> None:
    town = Town(appeals_won=0.0, remakes=0.0, refusal_is_resolved=True)
    bundle = town.found(state="warm")
    town.life.managers.bans.ban(town.account(bundle), appeal=True)
    town.passes(4 * DAY)
    assert town.heard(PUBLIC, "account.ban")[:3] == [
        "account.ban_appeal.submitted",
        "account.ban_appeal.resolved",
        "account.banned",
    ]
    (resolved,) = town.data(PUBLIC, "account.ban_appeal.resolved")
    assert resolved["appeal_status"] == "appeal_refused"


def test_whether_an_automatic_review_is_reported_is_a_parameter() -> None:
    town = Town(in_review_is_told="manual")
    bundle = town.found(state="warm")
    town.hand_over(bundle, 1, "2026-12-02")
    town.passes(5 * DAY)
    assert town.heard(PUBLIC, "video.")[-2:] == ["video.published", "video.finalized"]
    assert "video.posted" in town.heard(ARTICLE)


def test_a_bundle_is_completed_with_its_last_slot() -> None:
    town = Town()
    bundle = town.found(state="warm", slots=2)
    town.hand_over(bundle, 1, "2026-12-02")
    town.passes(4 * DAY)
    assert bundle.status == "accepted"
    town.hand_over(bundle, 2, "2026-12-06")
    town.passes(4 * DAY)
    assert bundle.status == "completed"


def test_videos_of_a_lapsed_account_get_new_days_when_it_is_paid_again() -> None:
    town = Town(lapses=1.0, reactivates_after=(10 * 86_400.0, 10 * 86_400.0))
    bundle = town.found(state="warm")
    coverage = town.world.get(Coverage, bundle.saved_account_id or "")
    while coverage.recorded_status != "lapsed":
        town.passes(HOUR)
    first, second = town.clock.time + DAY, town.clock.time + 3 * DAY
    slots = [town.hand_over(bundle, n, day.date().isoformat()) for n, day in ((1, first), (2, second))]
    town.passes(9 * DAY)
    assert town.life.posts == []
    town.passes(6 * DAY)
    days = [slot.target_publish_date or "" for slot in slots]
    assert days[0] > first.date().isoformat()
    assert int(days[1][-2:]) - int(days[0][-2:]) == 2
    assert {slot.status for slot in slots} == {"finalized"}
    assert len(town.life.posts) == 2
