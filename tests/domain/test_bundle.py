from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from orchestrator.domain.bundle import Bundle, BundleView, bundle_view
from orchestrator.domain.decisions import Step, write_key
from orchestrator.domain.facts import ARTICLE, KINDS, PUBLIC, BundleMentioned, Note

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
STATELESS = [
    "AccountConfigured",
    "AccountOffered",
    "AccountInReview",
    "AccountCorrectionsRequested",
    "TermVerified",
    "BanResolutionDecided",
    "CreditsRestored",
    "DistributionWarned",
]


def at(minute: float) -> datetime:
    return NOON + timedelta(minutes=minute)


def fact(
    name: str,
    minute: float,
    *,
    id: str = "",
    dialect: str = PUBLIC,
    account: str | None = None,
    country: str | None = None,
    platform: str | None = None,
    **detail: Any,
) -> Note:
    return Note(
        name,
        at(minute),
        id or f"evt_{name}_{minute}",
        dialect,
        account=account,
        country=country,
        platform=platform,
        detail=detail,
    )


def view(*notes: Note) -> BundleView:
    """The bundle with these facts, which no order of arrival changes."""
    seen = bundle_view(notes)
    assert bundle_view(notes[::-1]) == seen
    return seen


def views(bundles: Mapping[str, list[Note]], accounts: Mapping[str, list[Note]] | None = None) -> dict[str, BundleView]:
    """Several bundles that may share accounts; `accounts` are the facts that named only an account."""
    return {
        name: bundle_view(notes, accounts or {}, [others for other, others in bundles.items() if other != name])
        for name, notes in bundles.items()
    }


# The state


def test_bundle_without_facts_is_unknown() -> None:
    seen = view()
    assert (seen.state, seen.state_since, seen.last_event_at) == ("unknown", None, None)
    assert (seen.warmed, seen.postable, seen.holds, seen.flags) == (False, False, (), ())


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("BundleCreated", "created"),
        ("BundleReady", "ready"),
        ("WarmingStarted", "warming"),
        ("WarmingCompleted", "completed"),
        ("WarmingFailed", "failed"),
        ("BundleBanned", "banned"),
        ("AccountRemade", "created"),
    ],
)
def test_one_fact_is_enough_for_a_state(name: str, state: str) -> None:
    seen = view(fact(name, 3))
    assert (seen.state, seen.state_since) == (state, at(3))


def test_state_is_that_of_the_greatest_fact_whatever_arrived_last() -> None:
    facts = [fact("BundleCreated", 0), fact("BundleReady", 1), fact("WarmingStarted", 2), fact("WarmingFailed", 3)]
    for arrival in permutations(facts):
        assert bundle_view(arrival).state == "failed"
    assert view(*facts, fact("WarmingStarted", 4)).state == "warming"
    assert view(*facts, fact("WarmingStarted", 2.5)).state == "failed"


@pytest.mark.parametrize(
    ("first", "second", "state"),
    [
        ("BundleCreated", "BundleReady", "ready"),
        ("BundleReady", "WarmingStarted", "warming"),
        ("WarmingStarted", "WarmingCompleted", "completed"),
        ("WarmingCompleted", "WarmingFailed", "failed"),
        ("WarmingFailed", "BundleBanned", "banned"),
    ],
)
def test_facts_of_one_instant_follow_the_lifecycle(first: str, second: str, state: str) -> None:
    # The event ids say the opposite: they come last.
    assert view(fact(first, 0, id="evt_9"), fact(second, 0, id="evt_1")).state == state


def test_facts_of_one_instant_and_kind_follow_their_event_ids() -> None:
    seen = view(fact("BundleReady", 0, id="evt_1", username="one"), fact("BundleReady", 0, id="evt_2", username="two"))
    assert seen.username == "two"


@pytest.mark.parametrize("name", STATELESS)
def test_news_that_is_only_recorded_changes_no_state(name: str) -> None:
    before = view(fact("WarmingCompleted", 0))
    after = view(fact("WarmingCompleted", 0), fact(name, 1))
    assert (after.state, after.state_since) == (before.state, before.state_since)
    assert (after.warmed, after.postable, after.holds) == (True, True, ())
    assert after.last_event_at == at(1)
    assert view(fact(name, 1)).state == "unknown"


def test_being_mentioned_by_a_video_is_no_state() -> None:
    seen = view(fact("BundleMentioned", 0, country="US", platform="tiktok"))
    assert (seen.state, seen.country, seen.platform, seen.last_event_at) == ("unknown", "US", "tiktok", None)


# Bans and remakes


@pytest.mark.parametrize(
    "name", ["BundleCreated", "BundleReady", "WarmingStarted", "WarmingCompleted", "WarmingFailed"]
)
def test_later_facts_do_not_lift_a_ban(name: str) -> None:
    seen = view(fact("BundleBanned", 0), fact(name, 5))
    assert (seen.state, seen.state_since) == ("banned", at(0))


def test_ban_holds_since_the_first_one_that_still_counts() -> None:
    bans = [fact("BundleBanned", 1), fact("BundleBanned", 2)]
    assert view(*bans).state_since == at(1)
    assert view(*bans, fact("AccountRemade", 1.5)).state_since == at(2)


def test_remake_reinstates_and_starts_over() -> None:
    seen = view(fact("WarmingCompleted", 0), fact("BundleBanned", 1), fact("AccountRemade", 2))
    assert (seen.state, seen.state_since, seen.warmed, seen.postable) == ("created", at(2), False, False)


def test_ban_after_a_remake_bans_again() -> None:
    seen = view(fact("BundleBanned", 1), fact("AccountRemade", 2), fact("BundleBanned", 3))
    assert (seen.state, seen.state_since) == ("banned", at(3))


def test_ban_wins_a_tie_with_a_remake() -> None:
    assert view(fact("AccountRemade", 1, id="evt_9"), fact("BundleBanned", 1, id="evt_1")).state == "banned"


def test_newest_of_several_remakes_counts() -> None:
    remakes = [fact("AccountRemade", 1), fact("AccountRemade", 3)]
    assert view(*remakes, fact("BundleBanned", 2)).state == "created"
    assert view(*remakes, fact("BundleBanned", 4)).state == "banned"


def test_only_facts_after_a_remake_count() -> None:
    remake = fact("AccountRemade", 5)
    assert view(remake, fact("WarmingCompleted", 4)).state == "created"
    seen = view(remake, fact("WarmingStarted", 4), fact("BundleReady", 6))
    assert (seen.state, seen.state_since) == ("ready", at(6))


@pytest.mark.parametrize(
    ("name", "state"), [("BundleReady", "ready"), ("WarmingStarted", "warming"), ("WarmingCompleted", "completed")]
)
def test_remake_comes_before_every_other_fact_of_its_instant(name: str, state: str) -> None:
    assert view(fact("AccountRemade", 1, id="evt_9"), fact(name, 1, id="evt_1")).state == state


@pytest.mark.parametrize("name", ["AppealSubmitted", "CoverageLapsed", "CoverageEnded", "BundleCancelled"])
def test_remake_lifts_earlier_holds_but_none_of_its_instant(name: str) -> None:
    assert view(fact(name, 1), fact("AccountRemade", 2)).holds == ()
    assert len(view(fact(name, 2, id="evt_1"), fact("AccountRemade", 2, id="evt_9")).holds) == 1


# Reinstatement by a person


def reinstated(ban: Note) -> Note:
    """The ban that it names, and those before it, are lifted."""
    return Note("Reinstated", ban.occurred_at, ban.event_id, ban.dialect)


def test_reinstatement_lifts_every_ban_up_to_the_one_that_it_names() -> None:
    completed, ban = fact("WarmingCompleted", 1), fact("BundleBanned", 5)
    seen = view(completed, fact("BundleBanned", 3), ban, reinstated(ban))
    assert (seen.state, seen.state_since, seen.warmed, seen.postable) == ("completed", at(1), True, True)
    assert view(ban, reinstated(ban)).state == "unknown"


def test_ban_that_comes_late_with_a_smaller_key_is_lifted_too() -> None:
    ban = fact("BundleBanned", 5, id="evt_5")
    assert view(ban, reinstated(ban), fact("BundleBanned", 4)).state == "unknown"
    assert view(ban, reinstated(ban), fact("BundleBanned", 5, id="evt_4")).state == "unknown"


def test_only_a_greater_ban_bans_again() -> None:
    ban = fact("BundleBanned", 5, id="evt_5")
    assert view(ban, reinstated(ban), fact("BundleBanned", 5, id="evt_6")).state == "banned"
    seen = view(ban, reinstated(ban), fact("BundleBanned", 7))
    assert (seen.state, seen.state_since) == ("banned", at(7))


def test_after_a_reinstatement_the_greatest_fact_that_is_no_ban_counts() -> None:
    ban = fact("BundleBanned", 5)
    assert view(fact("WarmingStarted", 9), ban, reinstated(ban), fact("BundleReady", 2)).state == "warming"


def test_reinstatement_counts_for_the_account() -> None:
    ban = fact("BundleBanned", 5, account="acc_1")
    ready = fact("BundleReady", 1, account="acc_1")
    seen = views({"a": [ready, reinstated(ban)], "b": [ready]}, {"acc_1": [ban]})
    assert (seen["a"].state, seen["b"].state) == ("ready", "ready")
    later = [ban, fact("BundleBanned", 6, account="acc_1")]
    seen = views({"a": [ready, reinstated(ban)], "b": [ready]}, {"acc_1": later})
    assert (seen["a"].state, seen["b"].state) == ("banned", "banned")


def test_reinstatement_lifts_no_hold() -> None:
    ban = fact("BundleBanned", 5)
    assert view(ban, reinstated(ban), fact("AppealSubmitted", 4)).holds == ("suspended",)


# Warmed


def test_warming_completed_makes_it_warmed() -> None:
    assert view(fact("BundleCreated", 0), fact("WarmingCompleted", 1)).warmed is True
    assert view(fact("BundleCreated", 0), fact("WarmingStarted", 1)).warmed is False


def test_it_stays_warmed_while_it_warms_again() -> None:
    seen = view(fact("WarmingCompleted", 1), fact("WarmingStarted", 2))
    assert (seen.state, seen.warmed, seen.postable) == ("warming", True, True)


def test_later_failure_of_warming_ends_it_and_a_later_success_brings_it_back() -> None:
    facts = [fact("WarmingCompleted", 1), fact("WarmingFailed", 2)]
    assert view(*facts).warmed is False
    assert view(*facts, fact("WarmingCompleted", 3)).warmed is True
    assert view(fact("WarmingFailed", 1), fact("WarmingCompleted", 2)).warmed is True


def test_failure_of_the_same_instant_is_the_greater_fact() -> None:
    assert view(fact("WarmingCompleted", 1, id="evt_9"), fact("WarmingFailed", 1, id="evt_1")).warmed is False


def test_warming_completed_before_the_creation_or_a_remake_does_not_count() -> None:
    assert view(fact("WarmingCompleted", 1), fact("BundleCreated", 2)).warmed is False
    assert view(fact("WarmingCompleted", 1), fact("AccountRemade", 2)).warmed is False
    assert view(fact("AccountRemade", 2), fact("WarmingCompleted", 2)).warmed is True


# Ready, in two dialects


@pytest.mark.parametrize(
    ("warming", "state"),
    [("WarmingStarted", "warming"), ("WarmingCompleted", "completed"), ("WarmingFailed", "failed")],
)
def test_account_finalized_after_a_warming_fact_leaves_the_state(warming: str, state: str) -> None:
    seen = view(fact(warming, 1), fact("BundleReady", 2, dialect=PUBLIC))
    assert (seen.state, seen.state_since) == (state, at(1))


def test_account_finalized_before_or_without_warming_makes_it_ready() -> None:
    assert view(fact("BundleCreated", 0), fact("BundleReady", 1, dialect=PUBLIC)).state == "ready"
    assert view(fact("BundleReady", 1, dialect=PUBLIC), fact("WarmingStarted", 2)).state == "warming"


def test_account_finalized_after_a_remake_does_not_know_the_warming_before_it() -> None:
    facts = [fact("WarmingCompleted", 1), fact("AccountRemade", 2), fact("BundleReady", 3, dialect=PUBLIC)]
    assert view(*facts).state == "ready"


def test_bundle_ready_of_the_article_is_a_fact_like_any_other() -> None:
    seen = view(fact("WarmingCompleted", 1), fact("BundleReady", 2, dialect=ARTICLE))
    assert (seen.state, seen.state_since, seen.warmed) == ("ready", at(2), True)


# Holds


@pytest.mark.parametrize(
    ("setting", "hold"),
    [
        (fact("AppealSubmitted", 5), "suspended"),
        (fact("CoverageLapsed", 5), "uncovered"),
        (fact("CoverageCancelled", 5), "uncovered"),
        (fact("BundleCancelled", 5), "closed"),
        (fact("BundleArchived", 5), "closed"),
        (fact("CoverageEnded", 5), "closed"),
        (fact("AccountRevealed", 5, management_ended=True), "closed"),
    ],
)
def test_hold_stands_beside_the_state_and_forbids_posting(setting: Note, hold: str) -> None:
    seen = view(fact("WarmingCompleted", 0), setting)
    assert (seen.state, seen.warmed, seen.holds, seen.postable) == ("completed", True, (hold,), False)


@pytest.mark.parametrize(
    ("setting", "lifting"),
    [
        ("CoverageLapsed", "CoverageReactivated"),
        ("CoverageLapsed", "CoverageRenewed"),
        ("CoverageCancelled", "CoverageReactivated"),
        ("CoverageCancelled", "CoverageRenewed"),
        ("BundleCancelled", "BundlePublished"),
        ("BundleArchived", "BundlePublished"),
    ],
)
def test_hold_is_that_of_its_greatest_fact_and_setting_wins_ties(setting: str, lifting: str) -> None:
    assert view(fact(setting, 1), fact(lifting, 2)).holds == ()
    assert len(view(fact(lifting, 1), fact(setting, 2)).holds) == 1
    assert len(view(fact(setting, 1), fact(lifting, 2), fact(setting, 3)).holds) == 1
    assert len(view(fact(setting, 1, id="evt_1"), fact(lifting, 1, id="evt_9")).holds) == 1


def test_lifting_what_was_never_set_is_harmless() -> None:
    facts = [fact("BundlePublished", 1), fact("CoverageRenewed", 1), fact("AppealResolved", 1, outcome="accepted")]
    assert view(*facts).holds == ()


def test_accepted_appeal_lifts_suspended() -> None:
    assert view(fact("AppealSubmitted", 1), fact("AppealResolved", 2, outcome="accepted")).holds == ()


def test_new_appeal_and_a_tie_suspend_again() -> None:
    accepted = fact("AppealResolved", 2, outcome="accepted")
    assert view(accepted, fact("AppealSubmitted", 3)).holds == ("suspended",)
    assert view(accepted, fact("AppealSubmitted", 2)).holds == ("suspended",)


def test_refused_appeal_keeps_the_hold() -> None:
    assert view(fact("AppealSubmitted", 1), fact("AppealResolved", 2, outcome="refused")).holds == ("suspended",)


def test_unreadable_outcome_keeps_the_hold_and_asks_for_review() -> None:
    seen = view(fact("AppealSubmitted", 1), fact("AppealResolved", 2, outcome=None))
    assert seen.holds == ("needs_review", "suspended")


def test_later_readable_outcome_answers_the_question() -> None:
    facts = [fact("AppealSubmitted", 1), fact("AppealResolved", 2, outcome=None)]
    assert view(*facts, fact("AppealResolved", 3, outcome="accepted")).holds == ()
    assert view(*facts, fact("AppealResolved", 3, outcome="refused")).holds == ("suspended",)
    assert view(*facts, fact("AccountRemade", 3)).holds == ()


@pytest.mark.parametrize("ending", [fact("CoverageEnded", 1), fact("AccountRevealed", 1, management_ended=True)])
def test_end_of_management_closes_until_remade(ending: Note) -> None:
    assert view(ending, fact("BundlePublished", 2), fact("CoverageReactivated", 2)).holds == ("closed",)
    assert view(ending, fact("AccountRemade", 2)).holds == ()


def test_closed_is_kept_per_cause() -> None:
    causes = [fact("BundleCancelled", 1), fact("CoverageEnded", 2)]
    assert view(*causes).holds == ("closed",)
    assert view(*causes, fact("BundlePublished", 3)).holds == ("closed",)
    assert view(fact("BundleCancelled", 1), fact("BundlePublished", 3)).holds == ()


@pytest.mark.parametrize("detail", [{}, {"management_ended": False}, {"management_ended": None}])
def test_revealing_credentials_alone_closes_nothing(detail: dict[str, Any]) -> None:
    assert view(fact("AccountRevealed", 1, **detail)).holds == ()


def test_holds_are_independent_of_each_other_and_sorted() -> None:
    facts = [fact("CoverageLapsed", 1), fact("AppealSubmitted", 2), fact("BundleArchived", 3)]
    assert view(*facts).holds == ("closed", "suspended", "uncovered")
    assert view(*facts, fact("CoverageRenewed", 4)).holds == ("closed", "suspended")


def own(name: str, **detail: Any) -> Step:
    """What a person or a policy did with the bundle."""
    return Step(name, NOON, detail)


def test_holds_of_people_and_policies_stand_beside_the_vendors() -> None:
    notes = [fact("WarmingCompleted", 1), fact("CoverageLapsed", 2)]
    steps = [own("BundlePaused"), own("ReviewRequested")]
    assert bundle_view(notes, steps=steps).holds == ("needs_review", "paused", "uncovered")
    assert bundle_view(notes, steps=[*steps, own("BundleResumed")]).holds == ("needs_review", "uncovered")
    lifted = [*notes, fact("CoverageRenewed", 3)]
    assert bundle_view(lifted, steps=steps).holds == ("needs_review", "paused")
    assert bundle_view([*lifted, fact("AccountRemade", 4)], steps=steps).holds == ("needs_review", "paused")


def test_review_answers_what_was_known_and_a_greater_question_asks_again() -> None:
    unread = fact("AppealResolved", 5, outcome=None)
    reviewed = own("Reviewed", up_to=write_key(unread.key))
    assert bundle_view([unread], steps=[own("ReviewRequested"), reviewed]).holds == ()
    assert bundle_view([unread, fact("AppealResolved", 4, outcome=None)], steps=[reviewed]).holds == ()
    assert bundle_view([unread, fact("AppealResolved", 6, outcome=None)], steps=[reviewed]).holds == ("needs_review",)


@pytest.mark.parametrize("step", ["BundlePaused", "ReviewRequested"])
def test_what_people_hold_is_the_bundles_own(step: str) -> None:
    kin = [fact("WarmingCompleted", 1, account="acc_1")]
    assert bundle_view(kin, {}, [kin], [own(step)]).holds != ()
    assert bundle_view(kin, {}, [kin]).holds == ()


# Postable


@pytest.mark.parametrize("last", ["BundleReady", "WarmingStarted", "WarmingCompleted"])
def test_warmed_bundle_without_holds_is_postable(last: str) -> None:
    assert view(fact("WarmingCompleted", 1), fact(last, 2, dialect=ARTICLE)).postable is True


@pytest.mark.parametrize("last", ["WarmingFailed", "BundleBanned", "AccountRemade", "CoverageLapsed"])
def test_failed_banned_remade_and_held_bundles_are_not_postable(last: str) -> None:
    assert view(fact("WarmingCompleted", 1), fact(last, 2)).postable is False


def test_bundle_that_was_never_warmed_is_not_postable() -> None:
    assert view(fact("BundleCreated", 0), fact("BundleReady", 1)).postable is False


# Country and platform


def test_country_and_platform_are_those_of_the_smallest_fact_that_has_them() -> None:
    seen = view(
        fact("BundleCreated", 0),
        fact("WarmingStarted", 1, country="US"),
        fact("WarmingCompleted", 2, country="US", platform="tiktok"),
    )
    assert (seen.country, seen.platform, seen.flags) == ("US", "tiktok", ())


def test_contradictions_are_applied_and_flagged() -> None:
    seen = view(
        fact("WarmingStarted", 1, country="US", platform="tiktok"),
        fact("WarmingCompleted", 2, country="FR", platform="instagram"),
    )
    assert (seen.state, seen.country, seen.platform) == ("completed", "US", "tiktok")
    assert seen.flags == ("country_contradiction", "platform_contradiction")


def test_smaller_fact_that_comes_late_decides() -> None:
    assert view(fact("BundleReady", 2, country="US")).country == "US"
    seen = view(fact("BundleReady", 2, country="US"), fact("BundleCreated", 1, country="FR"))
    assert (seen.country, seen.flags) == ("FR", ("country_contradiction",))


def test_country_outlives_a_remake() -> None:
    seen = view(fact("BundleCreated", 0, country="US", platform="tiktok"), fact("AccountRemade", 5))
    assert (seen.country, seen.platform) == ("US", "tiktok")


def test_country_is_learnt_late_from_what_a_video_event_mentions() -> None:
    facts = [fact("BundleCreated", 0), fact("WarmingCompleted", 1)]
    assert view(*facts).country is None
    seen = view(*facts, fact("BundleMentioned", 9, country="US", platform="instagram"))
    assert (seen.country, seen.platform, seen.state, seen.last_event_at) == ("US", "instagram", "completed", at(1))


def test_mention_contradicts_like_any_fact() -> None:
    seen = view(fact("BundleCreated", 5, country="US"), fact("BundleMentioned", 1, country="FR"))
    assert (seen.country, seen.flags) == ("FR", ("country_contradiction",))


def mention(
    bundle: Bundle, minute: float, country: str | None, platform: str | None, account: str | None = None
) -> bool:
    """What the engine does for each video event: records the mention only where it could matter."""
    key = (at(minute), BundleMentioned.rank, f"evt_{minute}", PUBLIC)
    wanted = bundle.needs_mention(key, country, platform, account)
    if wanted:
        bundle.record(
            KINDS["BundleMentioned"],
            timestamp=NOON,
            message_id="msg",
            occurred_at=at(minute),
            event_id=f"evt_{minute}",
            dialect=PUBLIC,
            account=account,
            country=country,
            platform=platform,
        )
    return wanted


def test_mention_is_recorded_only_where_it_teaches_something() -> None:
    bundle = Bundle.register("bdl_1", message_id="msg", now=NOON)
    assert mention(bundle, 5, None, None) is False
    assert mention(bundle, 5, "US", "tiktok") is True
    assert mention(bundle, 6, "US", "tiktok") is False
    assert mention(bundle, 7, "US", None) is False
    assert mention(bundle, 4, "US", None) is True, "it is earlier"
    assert mention(bundle, 8, "FR", "tiktok") is True, "it contradicts"
    assert mention(bundle, 9, "US", "tiktok", "acc_1") is True, "which account a bundle has depends on the time"


def test_leaving_out_mentions_changes_no_view_in_any_order() -> None:
    said = [(1, "FR", "tiktok"), (2, "US", "tiktok"), (3, "US", "instagram"), (4, "FR", None), (5, None, "tiktok")]
    everything = bundle_view([fact("BundleMentioned", m, country=c, platform=p) for m, c, p in said])
    assert (everything.country, everything.flags) == ("FR", ("country_contradiction", "platform_contradiction"))
    for arrival in permutations(said):
        bundle = Bundle.register("bdl_1", message_id="msg", now=NOON)
        for minute, country, platform in arrival:
            mention(bundle, minute, country, platform)
        assert bundle_view(bundle.notes) == everything


# Accounts


def test_bundles_of_one_account_are_banned_together() -> None:
    seen = views(
        {
            "a": [
                fact("WarmingCompleted", 1, account="acc_1"),
                fact("BundleBanned", 5, account="acc_1", reason="spam"),
            ],
            "b": [fact("WarmingCompleted", 1, account="acc_1")],
            "c": [fact("WarmingCompleted", 1, account="acc_2")],
        }
    )
    assert {name: one.state for name, one in seen.items()} == {"a": "banned", "b": "banned", "c": "completed"}
    assert seen["b"].state_since == at(5)
    assert seen["b"].last_error == {"code": "banned", "message": "spam"}


@pytest.mark.parametrize(
    ("setting", "hold"),
    [
        (fact("AppealSubmitted", 5), "suspended"),
        (fact("CoverageLapsed", 5), "uncovered"),
        (fact("CoverageCancelled", 5), "uncovered"),
        (fact("CoverageEnded", 5), "closed"),
        (fact("AccountRevealed", 5, management_ended=True), "closed"),
    ],
)
def test_holds_of_the_account_are_shared(setting: Note, hold: str) -> None:
    seen = views(
        {"a": [fact("BundleReady", 1, account="acc_1"), setting], "b": [fact("BundleReady", 1, account="acc_1")]}
    )
    assert (seen["a"].holds, seen["b"].holds) == ((hold,), (hold,))


def test_holds_of_the_account_are_lifted_together() -> None:
    seen = views(
        {
            "a": [fact("BundleReady", 1, account="acc_1"), fact("CoverageLapsed", 5), fact("AppealSubmitted", 5)],
            "b": [
                fact("BundleReady", 1, account="acc_1"),
                fact("CoverageRenewed", 6),
                fact("AppealResolved", 6, outcome="accepted"),
            ],
        }
    )
    assert (seen["a"].holds, seen["b"].holds) == ((), ())


@pytest.mark.parametrize("name", ["BundleCancelled", "BundleArchived", "WarmingFailed", "DistributionWarned"])
def test_news_of_one_bundle_is_its_own(name: str) -> None:
    warmed = fact("WarmingCompleted", 1, account="acc_1")
    seen = views({"a": [warmed, fact(name, 5, account="acc_1")], "b": [warmed]})
    assert seen["a"] != seen["b"]
    assert (seen["b"].state, seen["b"].holds, seen["b"].flags, seen["b"].last_error) == ("completed", (), (), None)


def test_review_is_asked_for_the_bundle_that_was_named() -> None:
    seen = views(
        {
            "a": [fact("BundleReady", 1, account="acc_1"), fact("AppealResolved", 5, outcome=None)],
            "b": [fact("BundleReady", 1, account="acc_1")],
        }
    )
    assert (seen["a"].holds, seen["b"].holds) == (("needs_review",), ())


def test_fact_that_names_only_an_account_speaks_for_every_bundle_that_has_it() -> None:
    bundles = {
        "a": [fact("WarmingCompleted", 1, account="acc_1")],
        "b": [fact("BundleReady", 1, account="acc_1")],
        "c": [fact("BundleReady", 1, account="acc_2")],
    }
    told = {"acc_1": [fact("BundleBanned", 5, account="acc_1"), fact("CoverageLapsed", 5, account="acc_1")]}
    seen = views(bundles, told)
    assert {name: one.state for name, one in seen.items()} == {"a": "banned", "b": "banned", "c": "ready"}
    assert {name: one.holds for name, one in seen.items()} == {"a": ("uncovered",), "b": ("uncovered",), "c": ()}
    assert seen["a"].last_event_at == at(5)


def test_account_teaches_its_country_username_and_warming() -> None:
    told = [fact("WarmingCompleted", 3, account="acc_1", country="FR", platform="tiktok", username="acme")]
    seen = views({"a": [fact("BundleReady", 1, account="acc_1")]}, {"acc_1": told})["a"]
    assert (seen.country, seen.platform, seen.username, seen.warmed) == ("FR", "tiktok", "acme", True)


def test_which_account_a_bundle_has_may_be_learnt_after_the_ban() -> None:
    banned = [fact("BundleBanned", 1, account="acc_1")]
    unjoined = {"a": banned, "b": [fact("BundleReady", 0)]}
    assert views(unjoined)["b"].state == "ready"
    joined = {"a": banned, "b": [fact("BundleReady", 0), fact("BundleMentioned", 9, account="acc_1")]}
    assert views(joined)["b"].state == "banned"
    assert views({"b": joined["b"]}, {"acc_1": banned})["b"].state == "banned"


def test_new_account_of_a_remake_leaves_the_ban_of_the_old_one_behind() -> None:
    seen = views(
        {
            "a": [
                fact("BundleReady", 1, account="acc_1"),
                fact("BundleBanned", 5, account="acc_1"),
                fact("AccountRemade", 6, account="acc_2"),
            ],
            "b": [fact("BundleReady", 1, account="acc_1")],
        }
    )
    assert (seen["a"].state, seen["a"].saved_account_id) == ("created", "acc_2")
    assert (seen["b"].state, seen["b"].saved_account_id) == ("banned", "acc_1")


def test_account_speaks_for_a_bundle_only_in_the_time_in_which_the_bundle_has_it() -> None:
    bundle = [fact("BundleReady", 1, account="acc_1"), fact("AccountRemade", 6, account="acc_2")]

    def seen(account: str, minute: float) -> str:
        return views({"a": bundle}, {account: [fact("BundleBanned", minute, account=account)]})["a"].state

    assert seen("acc_1", 8) == "created", "the bundle has left that account"
    assert seen("acc_2", 8) == "banned"
    assert seen("acc_2", 6) == "banned", "a remake comes first in its instant"
    assert seen("acc_2", 3) == "created", "the bundle did not have that account yet"
    other = [fact("BundleReady", 7, account="acc_1"), fact("BundleBanned", 8)]
    assert views({"a": bundle, "b": other})["a"].state == "created"
    other = [fact("BundleReady", 7, account="acc_2"), fact("BundleBanned", 8)]
    assert views({"a": bundle, "b": other})["a"].state == "banned"


def test_bundles_that_once_had_the_same_account_do_not_share_what_came_before() -> None:
    # The ban of acc_1 was reported for b while b had acc_1; a has it only since its remake.
    a = [fact("BundleReady", 1, account="acc_0"), fact("AccountRemade", 6, account="acc_1")]
    b = [fact("BundleReady", 1, account="acc_1"), fact("BundleBanned", 3)]
    seen = views({"a": a, "b": b})["a"]
    assert (seen.state, seen.last_error, seen.last_event_at) == ("created", None, at(6))
    assert views({"a": a, "b": [*b, fact("BundleBanned", 7)]})["a"].state == "banned"


def test_remake_reported_for_the_account_alone_starts_its_bundle_over() -> None:
    bundle = [fact("WarmingCompleted", 1, account="acc_1"), fact("BundleBanned", 2)]
    told = {"acc_1": [fact("AccountRemade", 5, account="acc_1")]}
    seen = views({"a": bundle}, told)["a"]
    assert (seen.state, seen.state_since, seen.warmed) == ("created", at(5), False)
    assert views({"a": [*bundle, fact("WarmingCompleted", 6)]}, told)["a"].state == "completed"


def test_two_accounts_between_two_remakes_are_a_contradiction_and_the_smallest_fact_decides() -> None:
    bundle = [fact("BundleReady", 1, account="acc_1"), fact("WarmingStarted", 2, account="acc_2")]
    assert (view(*bundle).saved_account_id, view(*bundle).flags) == ("acc_1", ("account_contradiction",))
    assert views({"a": bundle}, {"acc_2": [fact("BundleBanned", 5, account="acc_2")]})["a"].state == "warming"
    assert views({"a": bundle}, {"acc_1": [fact("BundleBanned", 5, account="acc_1")]})["a"].state == "banned"
    late = [*bundle, fact("BundleCreated", 0, account="acc_2")]
    assert view(*late).saved_account_id == "acc_2"


def test_new_account_after_a_remake_is_no_contradiction() -> None:
    seen = view(
        fact("BundleReady", 1, account="acc_1"), fact("AccountRemade", 5), fact("BundleReady", 6, account="acc_2")
    )
    assert (seen.saved_account_id, seen.flags) == ("acc_2", ())
    assert view(fact("BundleReady", 1, account="acc_1"), fact("AccountRemade", 5)).saved_account_id is None


# What else is shown


def test_username_is_the_newest_that_was_told() -> None:
    seen = view(
        fact("BundleCreated", 1, username="old"), fact("BundleReady", 2, username="new"), fact("TermVerified", 3)
    )
    assert seen.username == "new"
    assert view(fact("BundleCreated", 1)).username is None


def test_last_error_is_the_newest_failure_or_ban() -> None:
    failed = fact("WarmingFailed", 1, code="device_offline", reason="The device went offline")
    assert view(failed).last_error == {"code": "device_offline", "message": "The device went offline"}
    assert view(failed, fact("BundleBanned", 2, reason="spam")).last_error == {"code": "banned", "message": "spam"}
    assert view(fact("BundleReady", 1)).last_error is None


def test_distribution_warning_is_a_flag_until_the_account_is_remade() -> None:
    assert view(fact("DistributionWarned", 1)).flags == ("distribution_warning",)
    assert view(fact("DistributionWarned", 1), fact("AccountRemade", 2)).flags == ()


# The aggregate


def test_aggregate_remembers_its_facts_and_not_its_birth() -> None:
    bundle = Bundle.register("bdl_1", message_id="msg_1", now=NOON)
    bundle.record(
        KINDS["BundleReady"],
        timestamp=NOON,
        message_id="msg_1",
        occurred_at=at(1),
        event_id="evt_1",
        dialect=ARTICLE,
        bundle_id="bdl_1",
        account=None,
        country="US",
        platform="tiktok",
        data={"username": "acme", "more": "than states depend on"},
    )
    events: Iterable[Any] = bundle.collect_events()
    assert [type(event).__name__ for event in events] == ["BundleRegistered", "BundleReady"]
    assert [(note.name, dict(note.detail)) for note in bundle.notes] == [("BundleReady", {"username": "acme"})]
    assert bundle.id == Bundle.key("bdl_1")
