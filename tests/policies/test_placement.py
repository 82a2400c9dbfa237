"""Which account gets a video, on which day, and what is said of the others."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from orchestrator.campaigns.spec import CampaignSpec, Content, Target
from orchestrator.policies.placement import Candidate, Choice, Ledger, Market, Wish, plan, wishes
from orchestrator.policies.schema import parse

MONDAY = datetime(2026, 11, 23, 17, 0, tzinfo=UTC)
"""Noon in New York."""
TUESDAY = date(2026, 11, 24)


def bundle(name: str, **more: Any) -> Candidate:
    """An account that has been warm for long."""
    found = Candidate(
        bundle_id=name,
        account=name,
        country="US",
        platform="tiktok",
        group="default",
        state="completed",
        warmed=True,
        warmed_at=MONDAY - timedelta(days=90),
        delivered=True,
        holds=(),
    )
    return replace(found, **more)


def market(*candidates: Candidate, policies: str = "", ledger: Ledger | None = None, now: datetime = MONDAY) -> Market:
    return Market("US", "tiktok", candidates, parse(policies), ledger or Ledger(), now)


def wish(ref: str = "teaser-1", **more: Any) -> Wish:
    found = Wish(
        video_id=f"vid_{ref}",
        campaign_id="spring",
        target=0,
        ref=ref,
        country="US",
        platform="tiktok",
        group="default",
    )
    return replace(found, **more)


def booked(*days: tuple[str, date], campaign: str = "other") -> Ledger:
    """A ledger in which these accounts have a video on these days."""
    ledger = Ledger()
    for account, day in days:
        ledger.book(account, day, campaign, 0, is_open=True)
    return ledger


def verdicts(choice: Choice) -> dict[str, str]:
    return {verdict.bundle_id: verdict.why for verdict in choice.verdicts}


def placed(
    candidates: list[Candidate], *wanted: Wish, policies: str = "", ledger: Ledger | None = None
) -> list[Choice]:
    ledger = ledger or Ledger()
    there = market(*candidates, policies=policies, ledger=ledger)
    return [choice for _, choice in plan(wanted, lambda *_: there, ledger)]


# What is said of those who do not get it.


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ({"state": "banned", "holds": ("paused",)}, "banned"),
        ({"state": "warming", "warmed": False}, "not postable: warming"),
        ({"state": "failed"}, "not postable: failed"),
        ({"state": "unknown", "warmed": False}, "not postable: unknown"),
        ({"holds": ("suspended",)}, "suspended"),
        ({"holds": ("needs_review", "uncovered")}, "uncovered"),
        ({"holds": ("needs_review",)}, "needs review"),
        ({"group": "acme"}, "other group"),
        ({"slots_free": 0}, "no free slot"),
    ],
)
def test_an_account_that_does_not_qualify_is_passed_over_with_the_reason(what: dict[str, Any], why: str) -> None:
    choice = market(bundle("b1", **what), bundle("b2")).place(wish())
    assert verdicts(choice) == {"b2": "chosen: least loaded", "b1": why}
    assert market(bundle("b1", **what)).place(wish()).reason == f"b1 does not qualify: {why}"


def test_an_account_that_is_full_is_passed_over_with_its_cap() -> None:
    ledger = booked(*[("b1", TUESDAY)] * 3)
    choice = market(bundle("b1"), bundle("b2"), ledger=ledger).place(wish(day=TUESDAY, bundles=("b1", "b2")))
    assert verdicts(choice) == {"b2": "chosen: least loaded", "b1": "eligible, but more loaded"}
    assert market(bundle("b1"), ledger=ledger).place(wish(day=TUESDAY)).reason == (
        "b1 does not qualify: cap 3/3 on 2026-11-24"
    )


def test_content_is_never_twice_on_one_account() -> None:
    ledger = Ledger()
    ledger.mark_content("acc_1", "spring", "teaser-1")
    there = [bundle("b1", account="acc_1"), bundle("b2", account="acc_1")]
    first, other = placed(there, wish(), wish("teaser-2"), ledger=ledger)
    assert first.reason == "nobody of 2 qualifies: 2 have it already"
    assert verdicts(first) == {"b1": "already has teaser-1", "b2": "already has teaser-1"}
    assert other.bundle_id == "b1"


def test_a_reserved_backup_gets_no_ordinary_posts() -> None:
    rules = "countries: {US: {reroute: {backups: [b1], reserve: true}}}"
    choice = market(bundle("b1"), bundle("b2"), policies=rules).place(wish())
    assert verdicts(choice) == {"b2": "chosen: least loaded", "b1": "reserved"}
    assert market(bundle("b1"), policies=rules).place(wish(bundles=("b1",))).reason == "b1 does not qualify: reserved"


def test_many_verdicts_are_counted_and_the_best_are_kept() -> None:
    there = [bundle(f"b{n:02}", state="banned" if n < 30 else "completed") for n in range(60)]
    choice = market(*there).place(wish())
    assert len(choice.verdicts) == 20
    assert choice.verdicts[0] == ("b30", "chosen: least loaded", True)
    assert dict(choice.counts) == {"banned": 30, "eligible, but more loaded": 29}


def test_where_nobody_is_that_is_said() -> None:
    assert market().place(wish()).reason == "no account of tiktok in US is known"
    assert market(bundle("b1")).place(wish(bundles=("b9",))).reason == "b9 does not qualify: not known here"
    lost = wish(country="", platform="", bundles=("b9",))
    ((_, choice),) = plan([lost], lambda *_: market(), Ledger())
    assert choice.reason == "nobody knows yet where b9 is: name its country and platform"


def test_the_policy_says_who_is_postable() -> None:
    new = bundle("b1", state="ready", warmed=False, warmed_at=None)
    assert market(new).place(wish()).reason == "b1 does not qualify: not postable: ready"
    assert market(new, policies="defaults: {warming: {mode: none}}").place(wish()).bundle_id == "b1"
    assert market(new, policies="defaults: {posting: {postable: [ready]}}").place(wish()).bundle_id == "b1"
    again = bundle("b2", state="warming")
    assert market(again, policies="defaults: {posting: {postable: [completed]}}").place(wish()).bundle_id == "b2"
    assert market(again, policies="defaults: {posting: {postable: [ready]}}").place(wish()).bundle_id is None


# The calendar.


def test_an_account_that_exists_needs_less_lead_than_a_new_one() -> None:
    rules = "defaults: {posting: {postable: [created, completed], lead_days: {new: 4, existing: 2}}}"
    assert market(bundle("b1"), policies=rules).place(wish()).day == date(2026, 11, 25)
    new = bundle("b1", state="created", warmed=False, warmed_at=None, delivered=False)
    assert market(new, policies=rules).place(wish()).day == date(2026, 11, 27)


def test_lead_is_counted_on_the_calendar_of_the_account() -> None:
    late = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
    assert market(bundle("b1"), now=late).place(wish()).day == date(2026, 11, 24)
    tokyo = "defaults: {posting: {timezone: Asia/Tokyo}}"
    assert market(bundle("b1"), now=late, policies=tokyo).place(wish()).day == date(2026, 11, 25)


def test_nothing_is_placed_on_other_weekdays_or_in_a_blackout() -> None:
    rules = "defaults: {posting: {days: [tue, thu], blackout: [2026-11-24, 2026-11-26..2026-12-03]}}"
    assert market(bundle("b1"), policies=rules).place(wish()).day == date(2026, 12, 8)
    choice = market(bundle("b1"), policies=rules).place(wish(day=date(2026, 11, 26)))
    assert choice.reason == "b1 does not qualify: 2026-11-26 is no posting day"
    choice = market(bundle("b1"), policies=rules).place(wish(ends=date(2026, 12, 7)))
    assert choice.reason == "b1 does not qualify: no posting day from 2026-11-24 to 2026-12-07"


def test_a_campaign_keeps_to_its_days() -> None:
    there = market(bundle("b1"))
    assert there.place(wish(starts=date(2026, 12, 1))).day == date(2026, 12, 1)
    assert there.place(wish(ends=TUESDAY)).day == TUESDAY
    assert there.place(wish(ends=date(2026, 11, 22))).reason == (
        "b1 does not qualify: too late: TokPortal needs until 2026-11-24, and the campaign ends on 2026-11-22"
    )
    assert there.place(wish(day=date(2026, 11, 23))).reason == (
        "b1 does not qualify: 2026-11-23 is too soon: TokPortal needs until 2026-11-24"
    )


def test_a_campaign_without_an_end_is_not_planned_for_ever() -> None:
    ledger = booked(*[("b1", TUESDAY + timedelta(days=n)) for n in range(400) for _ in range(3)])
    assert market(bundle("b1"), ledger=ledger).place(wish()).bundle_id is None
    choice = market(bundle("b1"), ledger=ledger).place(wish(ends=date(2199, 12, 31)))
    assert choice.reason == "b1 does not qualify: cap 3/3 on 2026-11-24"


def test_videos_of_an_account_are_spread_over_its_days() -> None:
    refs = [wish(f"r{n}", ends=date(2026, 11, 26)) for n in range(5)]
    days = [choice.day for choice in placed([bundle("b1")], *refs)]
    assert [str(day) for day in days] == ["2026-11-24", "2026-11-25", "2026-11-26", "2026-11-24", "2026-11-25"]


def test_a_cap_is_for_an_account_and_a_local_day_however_many_bundles_it_has() -> None:
    rules = "defaults: {posting: {per_day: 2}}"
    there = [bundle("b1", account="acc_1"), bundle("b2", account="acc_1")]
    found = placed(there, *(wish(f"r{n}", ends=TUESDAY) for n in range(3)), policies=rules)
    assert [choice.day for choice in found] == [TUESDAY, TUESDAY, None]
    assert verdicts(found[2]) == {"b1": "cap 2/2 on 2026-11-24", "b2": "cap 2/2 on 2026-11-24"}


def test_after_warming_the_cap_grows() -> None:
    rules = "defaults: {posting: {per_day: 3, ramp: [1, 1, 2], lead_days: {existing: 0}}}"
    fresh = bundle("b1", warmed_at=datetime(2026, 11, 23, 12, 0, tzinfo=UTC))
    there = market(fresh, policies=rules)
    caps = [there.cap(fresh, date(2026, 11, 23) + timedelta(days=n)) for n in range(6)]
    assert caps == [1, 1, 1, 2, 3, 3]
    assert market(fresh, policies="defaults: {posting: {ramp: [0]}}").place(wish(day=TUESDAY)).reason == (
        "b1 does not qualify: cap 0/0 on 2026-11-24"
    )


def test_the_ramp_is_over_when_it_is_for_any_bundle_of_the_account() -> None:
    old = bundle("b1", account="acc_1", state="banned", holds=("paused",))
    fresh = bundle("b2", account="acc_1", warmed_at=MONDAY)
    there = market(old, fresh, policies="defaults: {posting: {ramp: [1, 1, 1]}}")
    assert there.cap(fresh, TUESDAY) == 3


# Who gets it.


def test_the_least_loaded_account_gets_the_next_video() -> None:
    found = placed([bundle("b2"), bundle("b1"), bundle("b3")], *(wish(f"r{n}") for n in range(7)))
    assert [choice.bundle_id for choice in found] == ["b1", "b2", "b3", "b1", "b2", "b3", "b1"]


def test_of_equals_in_the_campaign_the_one_with_fewer_open_videos_comes_first() -> None:
    ledger = booked(("b1", TUESDAY), ("b2", TUESDAY), ("b2", TUESDAY))
    found = placed([bundle("b1"), bundle("b2"), bundle("b3")], *(wish(f"r{n}") for n in range(4)), ledger=ledger)
    assert [choice.bundle_id for choice in found] == ["b3", "b1", "b2", "b3"]


def test_so_many_accounts_means_up_to_so_many() -> None:
    rules = "defaults: {posting: {per_day: 1}}"
    there = [bundle(f"b{n}") for n in range(1, 5)]
    wanted = [wish(f"r{n}", accounts=2, ends=date(2026, 11, 25)) for n in range(5)]
    found = placed(there, *wanted, policies=rules)
    assert [choice.bundle_id for choice in found] == ["b1", "b2", "b1", "b2", None]
    assert found[4].reason == "nobody of 4 qualifies: 2 cap reached, 2 the target has its 2 accounts"


def test_only_the_bundles_that_were_named_are_taken() -> None:
    found = placed([bundle("b1"), bundle("b2"), bundle("b3")], *(wish(f"r{n}", bundles=("b2", "b3")) for n in range(3)))
    assert [choice.bundle_id for choice in found] == ["b2", "b3", "b2"]
    assert set(verdicts(found[0])) == {"b2", "b3"}


def test_what_was_shown_is_kept_while_it_is_allowed() -> None:
    there = market(bundle("b1"), bundle("b2"), bundle("b3"))
    choice = there.place(wish(), prefer=("b2", date(2026, 11, 30)))
    assert (choice.bundle_id, choice.day) == ("b2", date(2026, 11, 30))
    assert verdicts(choice) == {
        "b2": "chosen: as planned",
        "b1": "eligible, but not as planned",
        "b3": "eligible, but more loaded",
    }
    assert dict(choice.counts) == {"eligible, but not as planned": 1, "eligible, but more loaded": 1}


@pytest.mark.parametrize(
    ("prefer", "more"),
    [
        (("b2", date(2026, 11, 23)), {}),
        (("b2", TUESDAY), {"starts": date(2026, 11, 25)}),
        (("b2", date(2026, 11, 26)), {"ends": date(2026, 11, 25)}),
        (("b2", TUESDAY), {"day": date(2026, 11, 25)}),
        (("b2", TUESDAY), {"bundles": ("b1", "b3")}),
        (("b4", TUESDAY), {}),
        (("b5", TUESDAY), {}),
        (("b9", TUESDAY), {}),
    ],
)
def test_what_was_shown_is_not_kept_where_it_is_not_allowed(prefer: tuple[str, date], more: dict[str, Any]) -> None:
    there = market(bundle("b1"), bundle("b2"), bundle("b3"), bundle("b4", state="banned"), bundle("b5", group="acme"))
    choice = there.place(wish(**more), prefer=prefer)
    assert choice == there.place(wish(**more))
    assert choice.bundle_id == "b1"


def test_what_was_shown_is_the_plan_that_would_be_made_now() -> None:
    there = market(bundle("b1"), bundle("b2"))
    assert there.place(wish(), prefer=("b1", TUESDAY)) == there.place(wish())


# Who takes it over.


def moved(*candidates: Candidate, day: date = TUESDAY, last_day: date | None = None, **more: Any) -> Choice:
    there = market(*candidates, policies=more.pop("policies", ""), ledger=more.pop("ledger", None))
    excluded = {"b1": "failed this video before"}
    last_day = last_day or day + timedelta(days=7)
    return there.reroute(wish(**more.pop("of", {})), excluded=excluded, day=day, last_day=last_day, **more)


def test_a_moved_video_keeps_its_day_and_every_verdict_is_kept() -> None:
    ledger = booked(("b2", TUESDAY), ("b2", date(2026, 11, 30)))
    ledger.mark_content("b4", "spring", "teaser-1")
    choice = moved(bundle("b1"), bundle("b2"), bundle("b3"), bundle("b4"), bundle("b5", group="acme"), ledger=ledger)
    assert choice.day == TUESDAY
    assert choice.reason == "b3 takes it on 2026-11-24: least loaded"
    assert verdicts(choice) == {
        "b3": "chosen: least loaded",
        "b2": "eligible, but more loaded",
        "b1": "failed this video before",
        "b4": "already has teaser-1",
        "b5": "other group",
    }


def test_who_lets_it_keep_its_day_comes_before_who_has_less_to_do() -> None:
    ledger = booked(*[("b2", TUESDAY)] * 3, *[("b3", date(2026, 11, 30))] * 5)
    choice = moved(bundle("b2"), bundle("b3"), ledger=ledger)
    assert (choice.bundle_id, choice.day) == ("b3", TUESDAY)
    assert verdicts(choice)["b2"] == "cap 3/3 on 2026-11-24"


def test_where_nobody_has_room_on_its_day_it_takes_the_next_with_room() -> None:
    ledger = booked(*[("b2", TUESDAY)] * 3, *[("b3", TUESDAY)] * 3, *[("b2", date(2026, 11, 25))] * 3)
    choice = moved(bundle("b2"), bundle("b3"), ledger=ledger)
    assert (choice.bundle_id, choice.day) == ("b3", date(2026, 11, 25))
    assert verdicts(choice)["b2"] == "cap 3/3 on 2026-11-25"


def test_a_day_that_has_come_too_close_moves_on_to_the_next_posting_day() -> None:
    rules = "defaults: {posting: {days: [mon, thu]}}"
    assert moved(bundle("b2"), day=date(2026, 11, 23), policies=rules).day == date(2026, 11, 26)


def test_nothing_moves_beyond_the_deadline() -> None:
    ledger = booked(*[("b2", TUESDAY)] * 3)
    assert moved(bundle("b2"), ledger=ledger, last_day=TUESDAY).reason == "b2 does not qualify: cap 3/3 on 2026-11-24"
    choice = moved(bundle("b2"), day=date(2026, 11, 20), last_day=date(2026, 11, 23))
    assert (
        choice.reason
        == "b2 does not qualify: too late: TokPortal needs until 2026-11-24, and the deadline is 2026-11-23"
    )


def test_only_listed_backups_help_out_and_reserved_ones_do() -> None:
    rules = "countries: {US: {reroute: {backups: [b4, b3], reserve: true}}}"
    choice = moved(bundle("b2"), bundle("b3"), bundle("b4"), policies=rules)
    assert verdicts(choice) == {
        "b3": "chosen: least loaded",
        "b4": "eligible, but more loaded",
        "b2": "no listed backup",
    }


def test_backups_are_taken_in_the_order_of_the_list_where_the_policy_says_so() -> None:
    rules = "countries: {US: {reroute: {backups: [b4, b3], choose: listed_order}}}"
    assert verdicts(moved(bundle("b3"), bundle("b4"), policies=rules)) == {
        "b4": "chosen: first in the list of backups",
        "b3": "eligible, but later in the list",
    }
    full = booked(*[("b4", TUESDAY)] * 3)
    choice = moved(bundle("b3"), bundle("b4"), policies=rules, ledger=full)
    assert verdicts(choice) == {"b3": "chosen: first in the list of backups", "b4": "cap 3/3 on 2026-11-24"}
    full = booked(*[("b4", TUESDAY)] * 3, *[("b3", TUESDAY)] * 3)
    assert moved(bundle("b3"), bundle("b4"), policies=rules, ledger=full).bundle_id == "b4"


def test_what_every_video_would_meet_is_counted_and_left_to_be_shared() -> None:
    there = market(bundle("b1", state="banned"), bundle("b2", holds=("paused",)), bundle("b3"))
    choice = there.reroute(wish(), excluded={"b1": "had this video before"}, day=TUESDAY, last_day=TUESDAY)
    assert verdicts(choice) == {"b3": "chosen: least loaded"}
    assert dict(choice.counts) == {"banned": 1, "paused": 1}
    assert there.shared() == (("b1", "banned", False), ("b2", "paused", False))


def test_nobody_qualifies() -> None:
    choice = moved(bundle("b1"), bundle("b2", state="banned"), bundle("b3", group="acme"))
    assert choice.bundle_id is None
    assert choice.reason == "nobody of 3 qualifies: 1 banned, 1 failed this video before, 1 other group"


def test_a_person_names_the_account() -> None:
    rules = "countries: {US: {reroute: {backups: [b2]}}}"
    choice = moved(bundle("b2"), bundle("b3"), only="b3", policies=rules)
    assert verdicts(choice) == {"b3": "chosen: named by a person"}
    assert moved(bundle("b1"), bundle("b2"), only="b1").reason == "b1 does not qualify: failed this video before"
    assert moved(bundle("b2", state="banned"), only="b2").reason == "b2 does not qualify: banned"
    assert moved(bundle("b2"), only="b9").reason == "b9 does not qualify: not known here"


def test_at_most_two_hundred_verdicts_are_kept() -> None:
    choice = moved(*(bundle(f"b{n:03}") for n in range(300)))
    assert len(choice.verdicts) == 200
    assert sum(choice.counts.values()) == 299


# What a campaign asks for.


def spec(*targets: Target, refs: tuple[str, ...] = ("r1", "r2"), spread: str = "every_account") -> CampaignSpec:
    return CampaignSpec(
        name="spring",
        group="default",
        starts=None,
        ends=None,
        videos=tuple(Content(ref, "video", f"https://cdn.example.com/{ref}.mp4") for ref in refs),
        targets=targets,
        spread=spread,
        disclose_as_ads=True,
        ai_content_disclaimer=False,
    )


def asked(campaign: CampaignSpec, existing: int = 3) -> list[tuple[str, str, tuple[str, ...] | None]]:
    found = wishes(campaign, lambda *_: existing, {"b9": ("FR", "instagram")}.get)
    assert len({wish.video_id for wish in found}) == len(found)
    return [(wish.ref, wish.country, wish.bundles) for wish in found]


def test_every_account_gets_every_video_or_one_account_does() -> None:
    target = Target("US", "tiktok", accounts=2)
    assert asked(spec(target)) == [("r1", "US", None)] * 2 + [("r2", "US", None)] * 2
    assert asked(spec(target, spread="one_account")) == [("r1", "US", None), ("r2", "US", None)]


def test_no_more_accounts_are_asked_for_than_exist_but_one_always_is() -> None:
    target = Target("US", "tiktok", accounts=5)
    assert len(asked(spec(target), existing=3)) == 2 * 3
    assert len(asked(spec(target), existing=0)) == 2
    assert len(asked(spec(Target("US", "tiktok")), existing=4)) == 2 * 4


def test_named_bundles_are_asked_for_one_by_one() -> None:
    target = Target("US", "tiktok", bundles=("b1", "b2"))
    assert asked(spec(target, refs=("r1",))) == [("r1", "US", ("b1",)), ("r1", "US", ("b2",))]
    assert asked(spec(target, refs=("r1",), spread="one_account")) == [("r1", "US", ("b1", "b2"))]


def test_a_row_is_for_its_content_and_its_bundle_tells_the_country() -> None:
    rows = (Target(None, None, bundles=("b9",), ref="r2"), Target("US", "tiktok", accounts=1, ref="r1"))
    assert asked(spec(*rows)) == [("r2", "FR", ("b9",)), ("r1", "US", None)]


def test_a_part_of_the_wishes_is_that_part_of_all() -> None:
    campaign = spec(Target("US", "tiktok", accounts=3), Target("FR", "tiktok", bundles=("b1",)), Target("JP", "tiktok"))
    everything = wishes(campaign, lambda *_: 4, lambda _: None)
    parts = [wishes(campaign, lambda *_: 4, lambda _: None, at, at + 5) for at in range(0, len(everything) + 5, 5)]
    assert tuple(wish for part in parts for wish in part) == everything
    assert parts[-1] == ()


# Slots, and days that are full at TokPortal.


def counted(*slots: tuple[str, int], at: datetime = MONDAY) -> Ledger:
    """A ledger in which TokPortal counted so many free slots of these bundles."""
    ledger = Ledger()
    for bundle_id, free in slots:
        ledger.count_slots(bundle_id, (free, at))
    return ledger


def test_each_video_that_is_placed_takes_a_slot() -> None:
    wanted = [wish(f"r{n}") for n in range(5)]
    found = placed([bundle("b1"), bundle("b2")], *wanted, ledger=counted(("b1", 1), ("b2", 2)))

    assert [choice.bundle_id for choice in found] == ["b1", "b2", "b2", None, None]
    assert found[3].reason == "nobody of 2 qualifies: 2 no free slot"
    assert verdicts(found[2])["b1"] == "no free slot"


def test_where_nobody_counted_there_are_slots() -> None:
    assert {choice.bundle_id for choice in placed([bundle("b1")], *(wish(f"r{n}") for n in range(9)))} == {"b1"}


def test_a_count_covers_what_was_taken_until_then() -> None:
    ledger = counted(("b1", 3))
    ledger.take_slot("b1", MONDAY - timedelta(hours=1))
    ledger.take_slot("b1", MONDAY)
    assert ledger.slots_left("b1") == 3
    ledger.take_slot("b1", MONDAY + timedelta(hours=1))
    ledger.take_slot("b1")
    assert ledger.slots_left("b1") == 1
    assert ledger.slots_left("b1", (9, MONDAY + timedelta(hours=2))) == 8
    for _ in range(4):
        ledger.take_slot("b1")
    assert ledger.slots_left("b1") == 0
    ledger.give_slot("b1", MONDAY + timedelta(hours=1))
    for _ in range(5):
        ledger.give_slot("b1")
    assert ledger.slots_left("b1") == 3
    ledger.count_slots("b1", None)
    assert ledger.slots_left("b1") is None


def test_a_reroute_passes_over_who_has_no_slot() -> None:
    ledger = counted(("b2", 1))
    ledger.take_slot("b2")
    there = market(bundle("b1"), bundle("b2"), bundle("b3"), ledger=ledger)
    choice = there.reroute(wish(), excluded={"b1": "failed"}, day=TUESDAY, last_day=TUESDAY)

    assert choice.bundle_id == "b3"
    assert verdicts(choice)["b2"] == "no free slot"


def test_as_if_slots_did_not_count() -> None:
    candidates = [bundle("b1", slots_free=0)]
    there = Market("US", "tiktok", candidates, parse(""), counted(("b1", 0)), MONDAY, without_slots=True)
    assert there.place(wish()).bundle_id == "b1"
    assert there.shared() == ()


def test_no_video_is_planned_for_a_day_that_is_full_at_tokportal() -> None:
    full = bundle("b1", full_days=frozenset({TUESDAY}))
    assert market(full).place(wish()).day == date(2026, 11, 25)
    assert not market(full).has_room("b1", TUESDAY)
    assert market(full).next_day("b1", TUESDAY, TUESDAY) is None
    (found,) = placed([full], wish(day=TUESDAY))
    assert found.reason == "b1 does not qualify: cap reached at TokPortal on 2026-11-24"
    assert dict(found.counts) == {"cap reached": 1}
