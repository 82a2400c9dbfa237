"""Bundles: their lists, their publication, and further slots."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from orchestrator.sandbox.coverage import require_tasks
from orchestrator.sandbox.errors import Refusal
from orchestrator.sandbox.model import CLOSED_BUNDLES, Bundle, Json
from orchestrator.sandbox.rest.call import Answer, Call
from orchestrator.sandbox.rest.quota import Quota
from orchestrator.sandbox.rest.views import account_is_configured, bundle_view, moment
from orchestrator.sandbox.world import World

UNPUBLISHED = frozenset({"draft", "pending_setup"})
ACTIVE = frozenset({"published", "published_priority", "accepted"})
"""A bundle that managers see: its slots can be published."""

_FILTERS = ("status", "bundle_type", "platform", "external_ref")


class _Patch(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    auto_finalize_videos: bool | UnsetType = UNSET
    external_ref: Annotated[str, Meta(min_length=1, max_length=255)] | UnsetType | None = UNSET
    title: Annotated[str, Meta(max_length=200)] | UnsetType | None = UNSET


class _Quantity(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    quantity: Annotated[int, Meta(ge=1, le=500)]


class Bundles:
    def __init__(self, quota: Quota) -> None:
        self._quota = quota

    def listed(self, call: Call) -> Answer:
        world = call.world
        wanted = {name: value for name in _FILTERS if (value := call.choice(name)) is not None}
        account_status = call.choice("account_status")
        rows = [
            bundle
            for bundle in world.bundles()
            if all(getattr(bundle, name) == value for name, value in wanted.items())
            and (account_status is None or _account_status(world, bundle) == account_status)
        ]
        return call.page(rows, lambda bundle: bundle_view(world, bundle))

    def shown(self, call: Call) -> Answer:
        return Answer(bundle_view(call.world, call.bundle()))

    def patch(self, call: Call) -> Answer:
        bundle = call.bundle()
        patch = call.read(_Patch)
        for name in ("auto_finalize_videos", "external_ref", "title"):
            value = getattr(patch, name)
            if value is not UNSET:
                setattr(bundle, name, (value or "") if name == "title" else value)
        bundle.updated_at = call.world.now()
        call.world.put(bundle)
        call.took_effect(bundle_id=bundle.id)
        return Answer(bundle_view(call.world, bundle))

    def readiness(self, call: Call) -> Answer:
        bundle = call.bundle()
        blockers = _blockers(call.world, bundle)
        return Answer({"bundle_id": bundle.id, "ready": not blockers, "blockers": blockers})

    def publish(self, call: Call) -> Answer:
        world, bundle = call.world, call.bundle()
        require_open(bundle)
        for blocker in _blockers(world, bundle):
            code = {"ACCOUNT_MISSING_FIELDS": "ACCOUNT_NOT_CONFIGURED"}.get(blocker["code"], blocker["code"])
            details = {name: value for name, value in blocker.items() if name not in {"code", "message"}}
            raise Refusal(409, str(code), blocker["message"], current_status=bundle.status, **details)
        call.charged += require_tasks(world, bundle)
        self._quota.cool_down(1)
        world.move_bundle(bundle, "published")
        listing = world.listing_of(bundle)
        if listing is not None and listing.status in {"pending", "configured"}:
            world.move_listing(listing, "published")
        world.changed("bundle.published", bundle)
        for slot in world.slots_of(bundle):
            if slot.status == "configured":
                world.move_slot(slot, "published")
                world.changed("slot.published", slot)
        if not call.dry:
            self._quota.spend(1)
        call.took_effect(bundle_id=bundle.id, external_ref=bundle.external_ref)
        return Answer({"id": bundle.id, "status": bundle.status, "published_at": moment(bundle.published_at)})

    def unpublish(self, call: Call) -> Answer:
        world, bundle = call.world, call.bundle()
        if bundle.status != "published":
            reason = {"reason": "already_accepted"} if bundle.status == "accepted" else {}
            raise invalid_status(bundle, "Only a published bundle that no manager has accepted goes back.", **reason)
        world.move_bundle(bundle, "pending_setup")
        bundle.published_at = None
        listing = world.listing_of(bundle)
        if listing is not None and listing.status == "published":
            listing.status = "configured"
            world.put(listing)
        for slot in world.slots_of(bundle):
            if slot.status == "published":
                slot.status = "configured"
                slot.revision += 1
                world.put(slot)
        world.changed("bundle.unpublished", bundle)
        call.took_effect(bundle_id=bundle.id)
        return Answer({"id": bundle.id, "status": bundle.status})

    def add_video_slots(self, call: Call) -> Answer:
        world, bundle = call.world, call.bundle()
        order = call.read(_Quantity)
        require_open(bundle)
        call.charged += require_tasks(world, bundle)
        price = order.quantity * world.parameters.prices.video_upload
        call.charge(price, bundle_id=bundle.id)
        added = world.add_slots(bundle, order.quantity)
        if bundle.status == "completed":
            world.move_bundle(bundle, "accepted")
        bundle.updated_at = world.now()
        world.changed("bundle.slots_added", bundle)
        call.took_effect(bundle_id=bundle.id, credits=price)
        data = {
            "bundle_id": bundle.id,
            "added": order.quantity,
            "positions": [slot.position for slot in added],
            "videos_quantity": bundle_view(world, bundle)["videos_quantity"],
        }
        return Answer(data, call.money())

    def add_edit_slots(self, call: Call) -> Answer:
        world, bundle = call.world, call.bundle()
        order = call.read(_Quantity)
        require_open(bundle)
        call.charged += require_tasks(world, bundle)
        price = order.quantity * world.parameters.prices.video_edit
        call.charge(price, bundle_id=bundle.id)
        bundle.edits_quantity += order.quantity
        bundle.updated_at = world.now()
        world.put(bundle)
        call.took_effect(bundle_id=bundle.id, credits=price)
        data = {"bundle_id": bundle.id, "added": order.quantity, "edits_quantity": bundle.edits_quantity}
        return Answer(data, call.money())


def invalid_status(bundle: Bundle, message: str, **details: str) -> Refusal:
    return Refusal(409, "BUNDLE_INVALID_STATUS", message, current_status=bundle.status, **details)


def require_open(bundle: Bundle) -> None:
    """Raises Refusal BUNDLE_INVALID_STATUS for a cancelled or archived bundle."""
    if bundle.status in CLOSED_BUNDLES:
        raise invalid_status(bundle, f"Bundle {bundle.id} is {bundle.status}.")


def _account_status(world: World, bundle: Bundle) -> str:
    listing = world.listing_of(bundle)
    return "finalized" if listing is None else listing.status


def _blockers(world: World, bundle: Bundle) -> list[Json]:
    """What stands between the bundle and its publication (TokPortal's documentation names these three)."""
    if bundle.status not in UNPUBLISHED:
        if bundle.status in CLOSED_BUNDLES:
            return [{"code": "BUNDLE_INVALID_STATUS", "message": f"The bundle is {bundle.status}."}]
        return [{"code": "BUNDLE_ALREADY_PUBLISHED", "message": f"The bundle is {bundle.status} already."}]
    blockers: list[Json] = []
    listing = world.listing_of(bundle)
    if listing is not None and not account_is_configured(world, bundle):
        missing = [name for name in world.parameters.account_required if not getattr(listing, name)]
        message = f"The account profile lacks {', '.join(missing)}."
        blockers.append({"code": "ACCOUNT_MISSING_FIELDS", "message": message, "fields": missing})
    if bundle.bundle_type == "account_and_videos" and not any(
        slot.status == "configured" for slot in world.slots_of(bundle)
    ):
        blockers.append({"code": "NO_VIDEOS_CONFIGURED", "message": "No video of the bundle is configured."})
    return blockers
