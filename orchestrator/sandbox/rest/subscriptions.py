"""The managed subscription: shown, paused, taken up again."""

from __future__ import annotations

from datetime import date, timedelta

import msgspec

from orchestrator.sandbox.coverage import quote, renew
from orchestrator.sandbox.errors import Refusal
from orchestrator.sandbox.model import Coverage, SavedAccount
from orchestrator.sandbox.rest.calendar import earliest_day, set_day
from orchestrator.sandbox.rest.call import Answer, Call
from orchestrator.sandbox.rest.views import coverage_view, moment
from orchestrator.sandbox.world import World

_ENDED = frozenset({"ended"})
_MOVED = frozenset({"configured", "published", "accepted"})


class _Quote(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    expected_credits: int
    expected_current_period_end: str
    expected_lock_version: int


def shown(call: Call) -> Answer:
    return Answer(coverage_view(call.world, _coverage(call, call.account())))


def reactivate(call: Call) -> Answer:
    """Only at the exact quote, checked before anything happens; moves scheduled videos that missed their day."""
    world, account = call.world, call.account()
    coverage = _coverage(call, account)
    expected = call.read(_Quote)
    price = quote(world, coverage)
    if coverage.recorded_status in _ENDED:
        raise Refusal(409, world.parameters.subscription_ended_code, "An ended subscription cannot be taken up again.")
    offered = (price, moment(coverage.current_period_end), coverage.lock_version)
    if price is None or offered != (
        expected.expected_credits,
        expected.expected_current_period_end,
        expected.expected_lock_version,
    ):
        raise Refusal(
            409,
            world.parameters.quote_changed_code,
            "The quote has changed; read it again.",
            reactivation_quote=coverage_view(world, coverage)["reactivation_quote"],
        )
    call.charge(price, saved_account_id=account.id)
    if price:
        renew(world, coverage)
    else:
        coverage.recorded_status = "active"
        coverage.lock_version += 1
        world.put(coverage)
    move_videos(world, account)
    world.emit("subscription.reactivated", saved_account_id=account.id, credits=price)
    world.changed("coverage.reactivated", coverage)
    call.took_effect(saved_account_id=account.id, credits=price)
    return Answer(coverage_view(world, coverage), call.money())


def cancel(call: Call) -> Answer:
    """A pause: what is paid for is used up."""
    world, account = call.world, call.account()
    coverage = _coverage(call, account)
    if coverage.recorded_status in _ENDED:
        raise Refusal(409, world.parameters.subscription_ended_code, "The subscription has ended.")
    if coverage.recorded_status != "cancelled":
        coverage.recorded_status = "cancelled"
        coverage.lock_version += 1
        world.put(coverage)
        world.emit("subscription.cancelled", saved_account_id=account.id)
        world.changed("coverage.cancelled", coverage)
        call.took_effect(saved_account_id=account.id)
    return Answer(coverage_view(world, coverage))


def _coverage(call: Call, account: SavedAccount) -> Coverage:
    coverage = call.world.find(Coverage, account.id)
    if coverage is None:
        raise Refusal(404, "SAVED_ACCOUNT_NOT_FOUND", f"Account {account.id} has no subscription on record.")
    return coverage


def move_videos(world: World, account: SavedAccount) -> None:
    """Days that can no longer be kept move on together, so that the distances between them stay."""
    for bundle in world.bundles_of(account.id):
        slots = [slot for slot in world.slots_of(bundle) if slot.status in _MOVED and slot.target_publish_date]
        if not slots:
            continue
        days = [date.fromisoformat(slot.target_publish_date or "") for slot in slots]
        late = earliest_day(world, bundle) - min(days)
        if late <= timedelta(0):
            continue
        for slot, day in zip(slots, days, strict=True):
            set_day(world, slot, day + late)
            slot.revision += 1
            world.put(slot)
            world.changed("slot.rescheduled", slot)
