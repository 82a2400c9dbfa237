"""What holds of every plan, whatever the accounts, the policies and the campaign are."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.policies.placement import Candidate, Choice, Ledger, Market, Wish, plan, why_not_postable
from orchestrator.policies.schema import Policies
from orchestrator.policies.schema import parse as read

NOW = datetime(2026, 11, 23, 17, 0, tzinfo=UTC)
TODAY = date(2026, 11, 23)
"""In New York."""
STATES = ("unknown", "created", "ready", "warming", "completed", "failed", "banned")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAYS = st.integers(0, 12).map(lambda n: TODAY + timedelta(days=n))


parse = lru_cache(maxsize=None)(read)
unlimited = settings(derandomize=True, deadline=None, max_examples=120)


@dataclass(frozen=True)
class World:
    candidates: tuple[Candidate, ...]
    policies: str
    before: tuple[tuple[str, date], ...]
    """What accounts have already."""
    wishes: tuple[Wish, ...]


@st.composite
def _policies(draw: st.DrawFn, names: Sequence[str]) -> str:
    per_day = draw(st.integers(1, 3))
    posting = {
        "per_day": per_day,
        "days": draw(st.lists(st.sampled_from(WEEKDAYS), min_size=1, unique=True)),
        "ramp": draw(st.lists(st.integers(0, per_day), max_size=4)),
        "blackout": [str(day) for day in draw(st.lists(DAYS, max_size=3))],
        "lead_days": f"{{new: {draw(st.integers(0, 4))}, existing: {draw(st.integers(0, 2))}}}",
        "postable": draw(st.sampled_from(["auto", "[completed]", "[ready, created]"])),
    }
    body = ", ".join(f"{key}: {str(value).replace(chr(39), '')}" for key, value in posting.items())
    backups = draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    reserve = draw(st.booleans())
    lines = [f"defaults: {{posting: {{{body}}}}}"]
    if reserve:
        lines.append(f"countries: {{US: {{reroute: {{backups: [{', '.join(backups)}], reserve: true}}}}}}")
    return "\n".join(lines)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    names = [f"b{number}" for number in range(draw(st.integers(1, 7)))]
    candidates = tuple(
        Candidate(
            bundle_id=name,
            account=draw(st.sampled_from([name, name, "acc_1", "acc_2"])),
            country="US",
            platform="tiktok",
            group=draw(st.sampled_from(["default", "default", "acme"])),
            state=draw(st.sampled_from([*STATES, *["completed"] * 8])),
            warmed=(warm := draw(st.sampled_from([True, True, False]))),
            warmed_at=NOW - timedelta(days=draw(st.integers(0, 6))) if warm else None,
            delivered=draw(st.booleans()),
            holds=tuple(draw(st.sampled_from([(), (), (), ("paused",), ("suspended",)]))),
            slots_free=draw(st.sampled_from([None, None, 0, 2])),
        )
        for name in names
    )
    accounts = sorted({candidate.account for candidate in candidates})
    before = tuple(draw(st.lists(st.tuples(st.sampled_from(accounts), DAYS), max_size=8)))
    wishes = []
    for target in range(draw(st.integers(1, 3))):
        starts = draw(st.none() | DAYS)
        of_target = Wish(
            video_id="",
            campaign_id="spring",
            target=target,
            ref="",
            country="US",
            platform="tiktok",
            group=draw(st.sampled_from(["default", "default", "acme"])),
            starts=starts,
            ends=(starts or TODAY) + timedelta(days=draw(st.integers(0, 9))),
            bundles=draw(st.none() | st.lists(st.sampled_from([*names, "b9"]), min_size=1, unique=True).map(tuple)),
            accounts=draw(st.none() | st.integers(1, 3)),
            day=draw(st.none() | st.none() | DAYS),
        )
        for number in range(draw(st.integers(1, 12))):
            ref = f"r{number // draw(st.integers(1, 3))}"
            wishes.append(replace(of_target, video_id=f"v{target}-{number}", ref=ref))
    return World(candidates, draw(_policies(names)), before, tuple(wishes))


def made(world: World, order: Callable[[list[Candidate]], list[Candidate]] = list) -> list[tuple[Wish, Choice]]:
    ledger = Ledger()
    for account, day in world.before:
        ledger.book(account, day, "other", 0, is_open=True)
    market = Market("US", "tiktok", order(list(world.candidates)), parse(world.policies), ledger, NOW)
    return plan(world.wishes, lambda *_: market, ledger)


def cap(account: str, day: date, world: World, policies: Policies) -> int:
    posting = policies.at("US", "tiktok").posting
    warm = [c.warmed_at.date() for c in world.candidates if c.account == account and c.warmed_at is not None]
    since_warm = (day - min(warm)).days if warm else len(posting.ramp) + 1
    ramp = dict(enumerate(posting.ramp, start=1))
    return min(posting.per_day, ramp.get(max(since_warm, 1), posting.per_day))


@unlimited
@given(worlds())
def test_every_placement_is_allowed(world: World) -> None:
    policies = parse(world.policies)
    policy = policies.at("US", "tiktok")
    known = {candidate.bundle_id: candidate for candidate in world.candidates}
    days: Counter[tuple[str, date]] = Counter(world.before)
    content: set[tuple[str, str]] = set()
    used: dict[int, set[str]] = {}
    for wish, choice in made(world):
        assert (choice.bundle_id is None) == (choice.day is None)
        if choice.bundle_id is None or choice.day is None:
            continue
        taken = known[choice.bundle_id]
        assert why_not_postable(taken.state, taken.warmed, taken.holds, policy) is None
        assert taken.slots_free != 0
        assert taken.group == wish.group
        assert taken.bundle_id not in policies.reserved("US", "tiktok")
        assert wish.bundles is None or taken.bundle_id in wish.bundles
        assert (taken.account, wish.ref) not in content
        content.add((taken.account, wish.ref))
        used.setdefault(wish.target, set()).add(taken.account)
        assert wish.accounts is None or wish.bundles is not None or len(used[wish.target]) <= wish.accounts
        lead = policy.posting.lead_existing if taken.delivered else policy.posting.lead_new
        assert choice.day >= TODAY + timedelta(days=lead)
        assert WEEKDAYS[choice.day.weekday()] in policy.posting.days
        assert all(not first <= choice.day <= last for first, last in policy.posting.blackout)
        if wish.day is not None:
            assert choice.day == wish.day
        else:
            assert wish.starts is None or choice.day >= wish.starts
            assert wish.ends is None or choice.day <= wish.ends
        days[taken.account, choice.day] += 1
        assert days[taken.account, choice.day] <= cap(taken.account, choice.day, world, policies)


@unlimited
@given(worlds())
def test_everybody_is_judged_and_every_answer_has_its_reason(world: World) -> None:
    for wish, choice in made(world):
        asked = wish.bundles or [candidate.bundle_id for candidate in world.candidates]
        chosen = [verdict.bundle_id for verdict in choice.verdicts if verdict.chosen]
        assert chosen == ([choice.bundle_id] if choice.bundle_id else [])
        assert sorted(verdict.bundle_id for verdict in choice.verdicts) == sorted(asked)
        assert all(verdict.why for verdict in choice.verdicts)
        assert sum(choice.counts.values()) == len(asked) - len(chosen)
        assert choice.reason


@unlimited
@given(worlds(), st.randoms(use_true_random=False))
def test_the_same_input_gives_the_same_plan_in_whatever_order_accounts_are_given(
    world: World, shuffler: random.Random
) -> None:
    def shuffled(candidates: list[Candidate]) -> list[Candidate]:
        shuffler.shuffle(candidates)
        return candidates

    assert made(world) == made(world, shuffled)


@unlimited
@given(worlds())
def test_nobody_is_passed_over_who_could_have_had_it(world: World) -> None:
    """A wish is only unmet where no account is allowed to have it on any day."""
    policies = parse(world.policies)
    ledger = Ledger()
    for account, day in world.before:
        ledger.book(account, day, "other", 0, is_open=True)
    market = Market("US", "tiktok", world.candidates, policies, ledger, NOW)
    for wish in world.wishes:
        ((_, choice),) = plan([wish], lambda *_: market, ledger)
        if choice.bundle_id is None:
            for candidate in world.candidates:
                for number in range(30):
                    prefer = (candidate.bundle_id, TODAY + timedelta(days=number))
                    assert market.place(wish, prefer=prefer).bundle_id is None


@unlimited
@given(
    accounts=st.integers(1, 9),
    refs=st.integers(1, 25),
    campaigns=st.integers(1, 3),
    spare=st.integers(0, 9),
)
def test_the_busiest_account_never_has_more_than_one_video_more_than_the_idlest(
    accounts: int, refs: int, campaigns: int, spare: int
) -> None:
    candidates = [
        Candidate(f"b{n}", f"b{n}", "US", "tiktok", "default", "completed", True, None, True, ())
        for n in range(accounts)
    ]
    ledger = Ledger()
    market = Market("US", "tiktok", candidates, parse(""), ledger, NOW)
    total: Counter[str] = Counter({candidate.bundle_id: 0 for candidate in candidates})
    for campaign in range(campaigns):
        wanted = [
            Wish(f"v{n}", f"c{campaign}", 0, f"r{n}", "US", "tiktok", "default", accounts=accounts + spare)
            for n in range(refs + campaign)
        ]
        own: Counter[str] = Counter({candidate.bundle_id: 0 for candidate in candidates})
        for _, choice in plan(wanted, lambda *_: market, ledger):
            assert choice.bundle_id is not None
            own[choice.bundle_id] += 1
            total[choice.bundle_id] += 1
            assert max(own.values()) - min(own.values()) <= 1
            assert max(total.values()) - min(total.values()) <= 1


@unlimited
@given(worlds(), DAYS, st.integers(0, 9), st.sampled_from([None, "b0", "b9"]))
def test_a_reroute_is_allowed_and_says_why(world: World, day: date, deadline: int, only: str | None) -> None:
    policies = parse(world.policies)
    policy = policies.at("US", "tiktok")
    ledger = Ledger()
    for account, booked in world.before:
        ledger.book(account, booked, "other", 0, is_open=True)
    market = Market("US", "tiktok", world.candidates, policies, ledger, NOW)
    excluded = {world.candidates[-1].account: "failed this video before"}
    last_day = day + timedelta(days=deadline)
    choice = market.reroute(world.wishes[0], excluded=excluded, day=day, last_day=last_day, only=only)
    told = {verdict.bundle_id for verdict in (*choice.verdicts, *market.shared())}
    if only is None:
        assert told == {candidate.bundle_id for candidate in world.candidates}
        assert sum(choice.counts.values()) == len(told) - (choice.bundle_id is not None)
    else:
        assert only in told
    if choice.bundle_id is None or choice.day is None:
        return
    taken = next(candidate for candidate in world.candidates if candidate.bundle_id == choice.bundle_id)
    assert why_not_postable(taken.state, taken.warmed, taken.holds, policy) is None
    assert taken.account not in excluded
    assert taken.group == world.wishes[0].group
    assert only is not None or policy.reroute.backups is None or taken.bundle_id in policy.reroute.backups
    assert day <= choice.day <= last_day
    assert market.is_posting_day(choice.day)
    assert ledger.on_day(taken.account, choice.day) < cap(taken.account, choice.day, world, policies)
    others = [c for c in world.candidates if only is None and c.group == taken.group and c.account not in excluded]
    if choice.day != day and policy.reroute.backups is None:
        for other in others:
            kept = market.reroute(world.wishes[0], excluded=excluded, day=day, last_day=day, only=other.bundle_id)
            assert kept.bundle_id is None
