"""Figures of posts, from snapshots that are stored now and then. How TokPortal names the metrics is not documented."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from orchestrator.clock import instant_of
from orchestrator.sandbox.errors import Refusal, TooMany
from orchestrator.sandbox.metrics import Figures, snapshot_of
from orchestrator.sandbox.model import Json, SavedAccount, Slot
from orchestrator.sandbox.rest.call import Answer, Call, invalid
from orchestrator.sandbox.rest.views import account_view, moment
from orchestrator.sandbox.world import World

_HOUR = 3_600_000_000


class _Refresh(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    force: bool = False
    include_posts: bool = False
    include_comments: bool = False
    force_posts: bool = False
    bootstrap_posts: bool = False
    post_limit: int | None = None


def video(call: Call) -> Answer:
    """Figures of one post; `id` is the vendor's video id."""
    slot = call.world.find(Slot, call.path["id"])
    if slot is None:
        if call.world.adopt:
            return Answer({"video_id": call.path["id"], "captured_at": None})
        raise Refusal(404, "VIDEO_NOT_FOUND", f"There is no video {call.path['id']}.")
    return Answer(_video_view(call.world, slot))


def dashboard(call: Call) -> Answer:
    world = call.world
    accounts = set(call.query.getlist("account"))
    platform, country = call.choice("platform"), call.choice("country")
    code = world.parameters.country_aliases.get(country or "", country)
    first, last = _moment(call, "from"), _moment(call, "to")
    slots: list[Slot] = []
    seen: set[str] = set()
    for account in world.all(SavedAccount):
        if account.adopted or platform not in (None, account.platform) or code not in (None, account.country):
            continue
        if accounts and account.id not in accounts:
            continue
        seen.add(account.id)
        slots += [slot for slot in _posts(world, account) if _within(slot, first, last)]
    top = sorted((_video_view(world, slot) for slot in slots), key=lambda row: -row.get("views", 0))[:10]
    return Answer({"totals": _totals(world, slots), "accounts": len(seen), "posts": len(slots), "top_posts": top})


def account(call: Call) -> Answer:
    world, found = call.world, call.account()
    posts = _posts(world, found)
    return Answer({"account": account_view(found), "totals": _totals(world, posts), "posts": len(posts)})


def account_videos(call: Call) -> Answer:
    world = call.world
    order = call.choice("sort_order", ("asc", "desc")) or "desc"
    by = call.choice("sort_by", ("posted_at", "views", "likes", "comments", "shares")) or "posted_at"
    rows = [_video_view(world, slot) for slot in _posts(world, call.account())]
    rows.sort(
        key=lambda row: row.get(by) or 0 if by != "posted_at" else row["posted_at"] or "", reverse=order == "desc"
    )
    return call.page(rows, lambda row: row)


def can_refresh(call: Call) -> Answer:
    next_at = _next_refresh(call.world, call.account())
    return Answer({"can_refresh": next_at is None, "next_refresh_at": moment(next_at)})


def refresh(call: Call) -> Answer:
    """Take a snapshot now."""
    world, found = call.world, call.account()
    call.read(_Refresh)
    next_at = _next_refresh(world, found)
    if next_at is not None:
        wait = -(-(next_at - world.now()) // 1_000_000)
        raise TooMany("RATE_LIMIT_EXCEEDED", "These analytics were just refreshed.", wait)
    found.analytics_refreshed_at = world.now()
    world.put(found)
    call.took_effect(saved_account_id=found.id)
    return Answer({"account_id": found.id, "refreshed_at": moment(world.now())})


def _next_refresh(world: World, account: SavedAccount) -> int | None:
    if account.analytics_refreshed_at is None:
        return None
    next_at = account.analytics_refreshed_at + world.parameters.refresh_hours * _HOUR
    return next_at if next_at > world.now() else None


def _posts(world: World, account: SavedAccount) -> list[Slot]:
    return [
        slot for bundle in world.bundles_of(account.id) for slot in world.slots_of(bundle) if slot.posted_at is not None
    ]


def _figures(world: World, slot: Slot) -> tuple[Figures, int] | None:
    bundle = world.bundle(slot.bundle_id)
    found = None if bundle is None else world.saved_account_of(bundle)
    return snapshot_of(world, slot, None if found is None else found.analytics_refreshed_at)


def _video_view(world: World, slot: Slot) -> Json:
    view: dict[str, Any] = {"video_id": slot.id, "platform_url": slot.platform_url, "posted_at": moment(slot.posted_at)}
    snapshot = _figures(world, slot)
    if snapshot is None:
        return {**view, "captured_at": None}
    figures, captured_at = snapshot
    return {**view, **msgspec.structs.asdict(figures), "captured_at": moment(captured_at)}


def _totals(world: World, slots: list[Slot]) -> Json:
    totals = dict.fromkeys(Figures.__struct_fields__, 0)
    for slot in slots:
        snapshot = _figures(world, slot)
        if snapshot is not None:
            for name in totals:
                totals[name] += getattr(snapshot[0], name)
    return totals


def _moment(call: Call, name: str) -> datetime | None:
    text = call.choice(name)
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise invalid(f"{name} must be an ISO 8601 date or time, not {text!r}", field=name) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _within(slot: Slot, first: datetime | None, last: datetime | None) -> bool:
    posted = instant_of(slot.posted_at or 0)
    return (first is None or posted >= first) and (last is None or posted <= last)
