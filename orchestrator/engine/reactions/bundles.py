"""What follows when a bundle changes: warming, the breaker, alerts, and another look at the videos on its account."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from orchestrator.desk import BundleEntry, Place, market_name, slice_after
from orchestrator.domain.bundle import Bundle, BundleView
from orchestrator.domain.decisions import (
    BreakerOpened,
    ReviewRequested,
    SlotsCounted,
    Step,
    WarmingRequested,
    write_key,
)
from orchestrator.domain.facts import Key
from orchestrator.domain.times import iso
from orchestrator.engine.reactions import attempts, gates, reviews
from orchestrator.engine.turn import Turn, command_id
from orchestrator.policies.fields import written
from orchestrator.policies.placement import why_not_postable
from orchestrator.policies.recovery import GRACE

SLICE = 200
HISTORY = timedelta(days=7)
"""Bans that are older when they are learnt, as when an account is looked at for the first time, open no breaker."""
UNWARMABLE = frozenset({"closed", "paused", "suspended", "uncovered", "needs_review"})


def changed(turn: Turn, bundle_ids: Iterable[str]) -> None:
    """Facts or steps were recorded about these bundles, or about their accounts."""
    for bundle_id in bundle_ids:
        _note_accounts(turn, bundle_id)
        for name in [bundle_id, *sorted(turn.desk.kin(bundle_id))]:
            _refresh(turn, name)


def account_changed(turn: Turn, account: str) -> None:
    """A fact was recorded that names only an account."""
    for bundle_id in turn.desk.bundles_of(account):
        _refresh(turn, bundle_id)


def _note_accounts(turn: Turn, bundle_id: str) -> None:
    """Whose kin the bundle is has to be known before anything is asked of its family."""
    bundle = turn.bundle(bundle_id)
    named = tuple(sorted({note.account for note in bundle.notes if note.account is not None}))
    entry = turn.desk.bundle(bundle_id) or BundleEntry(bundle_id)
    if named != entry.accounts:
        turn.desk.put("bundle", bundle_id, msgspec.structs.replace(entry, accounts=named))


def _refresh(turn: Turn, bundle_id: str) -> None:
    view = turn.view(bundle_id)
    old = turn.desk.bundle(bundle_id) or BundleEntry(bundle_id)
    slots_left = turn.desk.ledger.slots_left(bundle_id)
    yesterday = (turn.now - timedelta(days=1)).date().isoformat()
    entry = BundleEntry(
        bundle_id=bundle_id,
        country=view.country,
        platform=view.platform,
        state=view.state,
        state_since=view.state_since,
        warmed=view.warmed,
        warmed_at=view.warmed_at,
        delivered=view.delivered,
        holds=view.holds,
        flags=view.flags,
        account=view.saved_account_id,
        accounts=old.accounts,
        era=view.era,
        ban=view.ban,
        slots_total=view.slots.total if view.slots is not None else None,
        slots_free=view.slots.free if view.slots is not None else None,
        slots_at=view.slots.at if view.slots is not None else None,
        slots_code=view.slots.code if view.slots is not None else None,
        full_days=tuple(day for day in view.full_days if day >= yesterday),
    )
    turn.desk.put("bundle", bundle_id, entry)
    if turn.policies is None:
        return
    turn.markets.clear()
    if (_standing(old), old.flags, old.place) != (_standing(entry), entry.flags, entry.place):
        _react(turn, old, entry, view)
    if entry.account is not None and old.account != entry.account:
        _tell_of_doubles(turn, entry)
    _count_slots(turn, old, entry, slots_left)
    consider_warming(turn, entry, view, fresh=(old.state, old.state_since) != (entry.state, entry.state_since))
    reviews.of_account(turn, entry, turn.bundle(bundle_id))


def _count_slots(turn: Turn, old: BundleEntry, entry: BundleEntry, left: int | None) -> None:
    """What follows from another count; `left`: for how many more videos it had slots by the last one."""
    if (old.slots_free == 0) != (entry.slots_free == 0) and turn.desk.live_on(entry.bundle_id):
        turn.work("videos", bundle_id=entry.bundle_id)
    has_more = left is not None and (turn.desk.ledger.slots_left(entry.bundle_id) or 0) > left
    if has_more and entry.place is not None and _is_postable(turn, entry):
        attempts.place_again_soon(turn, entry.place)


def count_slots(
    turn: Turn, bundle_id: str, total: int | None, free: int, at: datetime, code: str | None = None
) -> None:
    """TokPortal told how many slots a bundle has, by what it knew at the moment `at`; `total` None: only how many are
    free; `code`: it takes no videos, for this reason. Neither what is older than the last count, nor what changes
    nothing, is news."""
    entry = turn.desk.bundle(bundle_id)
    at = min(at, turn.now)
    if entry is None or (entry.slots_at is not None and at < entry.slots_at):
        return
    if total is None:
        total = entry.slots_total
    ledger = turn.desk.ledger
    is_same = (total, free, code) == (entry.slots_total, entry.slots_free, entry.slots_code)
    if is_same and ledger.slots_left(bundle_id) == ledger.slots_left(bundle_id, (free, at)):
        return
    data: dict[str, Any] = {"bundle_id": bundle_id, "total": total, "free": free, "at": iso(at)}
    if code is not None:
        data["code"] = code
    turn.record(turn.bundle(bundle_id), SlotsCounted, **data)
    changed(turn, [bundle_id])


def _standing(entry: BundleEntry) -> tuple[object, ...]:
    """What decides whether the account can post."""
    return entry.state, entry.warmed, entry.holds


def _react(turn: Turn, old: BundleEntry, entry: BundleEntry, view: BundleView) -> None:
    _tell(turn, old, entry, view)
    is_news = old.state != "banned" or old.place is None
    if entry.state == "banned" and is_news and entry.place is not None and view.ban is not None:
        _count_ban(turn, entry, entry.place, view.ban)
    if _standing(old) != _standing(entry) and turn.desk.live_on(entry.bundle_id):
        turn.work("videos", bundle_id=entry.bundle_id)
    is_lifted = old.state == "banned" and entry.state != "banned" and old.era == entry.era
    if is_lifted and turn.desk.carried_by(entry.bundle_id):
        turn.work("lifted", bundle_id=entry.bundle_id, after="")
    if entry.place is not None and _is_postable(turn, entry):
        attempts.place_again_soon(turn, entry.place)


def _is_postable(turn: Turn, entry: BundleEntry) -> bool:
    if entry.place is None:
        return False
    return why_not_postable(entry.state, entry.warmed, entry.holds, turn.rules.at(*entry.place)) is None


def _tell(turn: Turn, old: BundleEntry, entry: BundleEntry, view: BundleView) -> None:
    about = {"bundle_id": entry.bundle_id, "country": entry.country, "platform": entry.platform}
    name = entry.bundle_id if view.username is None else f"{entry.bundle_id} ({view.username})"
    if entry.state == "banned" and old.state != "banned":
        turn.alert("banned", f"{name} is banned", **about)
    elif old.state == "banned" and entry.state != "banned":
        turn.resolve("banned", entry.bundle_id, f"{name} is banned no more", **about)
    new_holds = set(entry.holds) - set(old.holds)
    for hold, kind in (("suspended", "appeal"), ("needs_review", "needs_review")):
        if hold in set(old.holds) - set(entry.holds):
            turn.resolve(kind, entry.bundle_id, f"{name} is {hold.replace('_', ' ')} no more", **about)
    if "suspended" in new_holds:
        turn.alert("appeal", f"{name}: an appeal is pending, nothing new is placed there", **about)
    asked = [step.name for step in turn.bundle(entry.bundle_id).steps[-1:]]
    if "needs_review" in new_holds and asked != ["ReviewRequested"]:
        turn.alert("needs_review", f"{name}: how its appeal ended cannot be read", **about)
    if new_holds & {"uncovered", "closed"}:
        turn.alert("flagged", f"{name} is {' and '.join(sorted(new_holds & {'uncovered', 'closed'}))}", **about)
    new_flags = set(entry.flags) - set(old.flags)
    if "distribution_warning" in new_flags:
        turn.alert("flagged", f"{name}: TokPortal warns of its distribution", **about)
    for flag in sorted(new_flags - {"distribution_warning"}):
        turn.alert("contradiction", f"{name}: {flag.replace('_', ' ')}", **about)


def _tell_of_doubles(turn: Turn, entry: BundleEntry) -> None:
    """Bundles may turn out to be one account when each of them has the same content already."""
    carried: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for bundle_id in [entry.bundle_id, *sorted(turn.desk.kin(entry.bundle_id))]:
        if turn.desk.account_of(bundle_id) != entry.account:
            continue
        for video_id in turn.desk.carried_by(bundle_id):
            video = turn.desk.video(video_id)
            if video is not None and any(leg.bundle_id == bundle_id and leg.booked for leg in video.legs):
                carried.setdefault((video.campaign_id, video.ref), []).append((video_id, bundle_id))
    for (campaign_id, ref), where in sorted(carried.items()):
        if len({video_id for video_id, _ in where}) > 1:
            both = " and ".join(f"{video_id} on {bundle_id}" for video_id, bundle_id in where)
            text = f"{ref} is on one account more than once: {both} turn out to share {entry.account}"
            once = f"{entry.account}:{campaign_id}:{ref}"
            turn.alert("contradiction", text, once=once, subject=once, bundle_id=entry.bundle_id)


# The breaker.


def _count_ban(turn: Turn, entry: BundleEntry, place: Place, ban: Key) -> None:
    """So many accounts of one market banned in so short a time are no accident: people decide how to go on."""
    country, platform = place
    policy = turn.rules.at(country, platform)
    market = turn.desk.market(country, platform)
    account = turn.desk.account_of(entry.bundle_id)
    # Bans are held against each other, by TokPortal's time: news that comes late counts as if it had come in time.
    within = policy.ban.breaker_within
    known = {name: at for at, name in market.bans} | {account: ban[0]}
    newest = max(known.values())
    bans = tuple(sorted((at, name) for name, at in known.items() if at > newest - 2 * within))
    burst = _burst(bans, account, within)
    breaker = market.breaker
    is_recent = newest > turn.now - max(HISTORY, within)
    if breaker is None and is_recent and len(burst) >= policy.ban.breaker_bans:
        banned = "1 account was" if len(burst) == 1 else f"{len(burst)} accounts were"
        breaker = f"the breaker of {platform} in {country} is open: {banned} banned within {written(within)}"
        turn.record(
            turn.market(country, platform),
            BreakerOpened,
            reason=breaker,
            answers=ban,
            country=country,
            platform=platform,
            accounts=burst,
        )
        turn.alert("breaker", breaker, country=country, platform=platform)
        turn.work("gates", country=country, platform=platform)
    turn.desk.put(
        "market",
        market_name(country, platform),
        msgspec.structs.replace(market, bans=bans, breaker=breaker),
    )


def _burst(bans: Sequence[tuple[datetime, str]], account: str, within: timedelta) -> list[str]:
    """The most accounts, this one among them, that were banned within one such time; `bans` are sorted."""
    found: list[str] = []
    for first, _ in bans:
        names = [name for at, name in bans if first <= at <= first + within]
        if account in names and len(names) > len(found):
            found = names
    return found


# Warming.


def consider_warming(turn: Turn, entry: BundleEntry, view: BundleView, *, fresh: bool) -> None:
    """Starts, restarts and watches the warming of an account, as the policy says; `fresh`: its state is a new one."""
    if turn.policies is None:
        return
    bundle = turn.bundle(entry.bundle_id)
    if fresh:
        watch(turn, entry, bundle)
    if entry.place is None:
        return
    policy = turn.rules.at(*entry.place)
    requests = [s for s in bundle.steps if s.name == "WarmingRequested" and s.detail["era"] == entry.era]
    if requests and entry.state in ("created", "ready", "failed"):
        _gate(turn, entry, bundle, requests[-1])
    elif requests:
        why = f"the account is {entry.state}"
        turn.move_command(requests[-1].detail["command_id"], "discarded", why, of=("pending", "held"))
    if policy.warming.mode == "none" or UNWARMABLE.intersection(entry.holds):
        return
    if entry.state == "failed" and view.warming_failure is not None:
        _restart(turn, entry, bundle, requests, view.warming_failure, policy.warming.retries)
        return
    due = ("created", "ready") if policy.warming.start == "created" else ("ready",)
    if policy.warming.start != "manual" and not requests and not entry.warmed and entry.state in due:
        request_warming(turn, entry, bundle, f"the account is {entry.state}", 1, None)


def request_warming(
    turn: Turn,
    entry: BundleEntry,
    bundle: Bundle,
    why: str,
    tries: int,
    answers: Key | None,
    actor: dict[str, str] | None = None,
) -> None:
    warming = turn.rules.at(entry.country, entry.platform).warming
    terms = list(warming.terms) if warming.mode == "advanced" else []
    name = command_id("warm", entry.bundle_id, entry.era, tries)
    turn.record(
        bundle,
        WarmingRequested,
        reason=why,
        answers=answers,
        actor=actor,
        bundle_id=entry.bundle_id,
        era=entry.era,
        tries=tries,
        mode=warming.mode,
        terms=terms,
        command_id=name,
        failure=write_key(answers) if answers is not None else None,
    )
    turn.command(
        "start_warming",
        name,
        {"bundle_id": entry.bundle_id, "account": entry.account, "mode": warming.mode, "terms": terms, "try": tries},
        held=gates.warming(turn, entry, name, warming.mode, len(terms)),
        price=gates.WARMING_TERM_PRICE * len(terms) or None,
        bundle_id=entry.bundle_id,
        country=entry.country,
        platform=entry.platform,
    )


def _price(bundle: Bundle, command_id: str) -> int | None:
    """What the command costs by TokPortal's own word, if it said so."""
    named = (s.detail for s in reversed(bundle.steps) if s.name == "CommandPriced")
    return next((int(detail["price"]) for detail in named if detail["command_id"] == command_id), None)


def _gate(turn: Turn, entry: BundleEntry, bundle: Bundle, request: Step) -> None:
    name = request.detail["command_id"]
    why = gates.warming(turn, entry, name, request.detail["mode"], len(request.detail["terms"]), _price(bundle, name))
    if why is None:
        turn.move_command(name, "pending", None, of=("held",))
    else:
        turn.move_command(name, "held", why, of=("pending", "held"))


def _restart(turn: Turn, entry: BundleEntry, bundle: Bundle, requests: list[Step], failure: Key, retries: int) -> None:
    answered = [write_key(failure)]
    if any(step.detail["failure"] in answered for step in requests):
        return
    failed = next((note for note in bundle.notes if note.key == failure), None)
    said = (failed.detail.get("reason") or failed.detail.get("code")) if failed is not None else None
    what = f"warming failed: {said}" if said else "warming failed"
    restarts = sum(step.detail["failure"] is not None for step in requests)
    if restarts < retries:
        tries = max((step.detail["tries"] for step in requests), default=1) + 1
        request_warming(turn, entry, bundle, f"{what}; restart {restarts + 1} of {retries}", tries, failure)
    elif not any(s.name == "ReviewRequested" and s.detail["about"] in answered for s in bundle.steps):
        after = "" if not restarts else f", after {restarts} restart{'s' if restarts > 1 else ''}"
        ask_for_review(turn, entry, bundle, f"{what}{after}", write_key(failure), failure)


def ask_for_review(
    turn: Turn,
    entry: BundleEntry,
    bundle: Bundle,
    why: str,
    about: object,
    answers: Key | None,
    actor: dict[str, str] | None = None,
) -> None:
    turn.record(
        bundle, ReviewRequested, reason=why, answers=answers, actor=actor, bundle_id=entry.bundle_id, about=about
    )
    turn.alert(
        "needs_review",
        f"{entry.bundle_id}: {why}",
        bundle_id=entry.bundle_id,
        country=entry.country,
        platform=entry.platform,
    )
    _refresh(turn, entry.bundle_id)


def watch(turn: Turn, entry: BundleEntry, bundle: Bundle) -> None:
    """Silence while an account warms is noticed."""
    if entry.state != "warming" or entry.state_since is None or turn.policies is None:
        return
    about = entry.state_since.isoformat()
    if any(s.name == "ReviewRequested" and s.detail["about"] == about for s in bundle.steps):
        return
    end = entry.state_since + turn.policies.at(*(entry.place or (None, None))).failure.stuck_after["warming"]
    if turn.now < end or not turn.is_timer:
        end = max(end, turn.now + GRACE)
        turn.timer(f"bundle:{entry.bundle_id}", end, timer="bundle", bundle_id=entry.bundle_id)
    elif "needs_review" not in entry.holds:
        ask_for_review(turn, entry, bundle, f"warming since {entry.state_since:%Y-%m-%d}, and no news", about, None)


def reconsider_all(turn: Turn, after: str) -> None:
    """Another look at every bundle, after the policies changed."""
    part, later = slice_after(turn.desk.bundles(), after, SLICE)
    turn.load(Bundle.key(name) for name in part)
    for name in part:
        reconsider(turn, name)
    if later is not None:
        turn.work("bundles", after=later)


def reconsider(turn: Turn, bundle_id: str) -> None:
    _refresh(turn, bundle_id)
    entry = turn.desk.bundle(bundle_id)
    if entry is not None:
        watch(turn, entry, turn.bundle(bundle_id))
