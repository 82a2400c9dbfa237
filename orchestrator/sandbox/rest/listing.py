"""The account inside a bundle: its profile, and the 72 hours in which it is reviewed."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from orchestrator.sandbox.errors import Refusal
from orchestrator.sandbox.model import Bundle, Listing
from orchestrator.sandbox.rest.bundles import require_open
from orchestrator.sandbox.rest.call import Answer, Call, invalid
from orchestrator.sandbox.rest.views import account_is_configured, listing_view

_HOUR = 3_600_000_000
_EDITABLE = frozenset({"pending", "configured"})


class _Profile(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    username: Annotated[str, Meta(min_length=1, max_length=24, pattern=r"^[A-Za-z0-9_.]+$")] | UnsetType = UNSET
    visible_name: Annotated[str, Meta(min_length=1, max_length=30)] | UnsetType = UNSET
    biography: Annotated[str, Meta(max_length=80)] | UnsetType = UNSET
    profile_picture_url: str | UnsetType = UNSET
    link_in_bio: str | UnsetType | None = UNSET
    wants_niche_warming: bool | UnsetType = UNSET
    niche_warming_instructions: str | UnsetType = UNSET


class Corrections(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is to be done better."""

    comment: Annotated[str, Meta(min_length=1)] | None = None
    fields: dict[str, Any] = {}


def shown(call: Call) -> Answer:
    return Answer(listing_view(_listing(call, call.bundle())))


def configure(call: Call) -> Answer:
    world, bundle = call.world, call.bundle()
    require_open(bundle)
    listing = _listing(call, bundle)
    profile = call.read(_Profile)
    if listing.status not in _EDITABLE:
        raise _invalid_status(listing, "The profile can be written until the bundle is published.")
    if profile.link_in_bio and bundle.platform != "instagram":
        raise invalid("link_in_bio exists on Instagram only", field="link_in_bio")
    for name in ("username", "visible_name", "biography", "profile_picture_url", "link_in_bio"):
        value = getattr(profile, name)
        if value is not UNSET:
            setattr(listing, name, value)
    world.put(listing)
    if listing.status == "pending" and account_is_configured(world, bundle):
        world.move_listing(listing, "configured")
    world.changed("account.configured", listing)
    call.took_effect(bundle_id=bundle.id)
    return Answer(listing_view(listing))


def request_corrections(call: Call) -> Answer:
    world, bundle = call.world, call.bundle()
    listing = _listing(call, bundle)
    corrections = call.read(Corrections)
    if corrections.comment is None and not corrections.fields:
        raise invalid("corrections need a comment or fields")
    _require_review(call, listing)
    listing.corrections = {"comment": corrections.comment, "fields": corrections.fields}
    world.move_listing(listing, "pending_corrections")
    world.changed("account.corrections", listing)
    call.took_effect(bundle_id=bundle.id)
    return Answer(listing_view(listing))


def finalize(call: Call) -> Answer:
    world, bundle = call.world, call.bundle()
    listing = _listing(call, bundle)
    _require_review(call, listing)
    world.move_listing(listing, "finalized")
    world.changed("account.finalized", listing)
    call.took_effect(bundle_id=bundle.id)
    return Answer(listing_view(listing))


def review_is_over(call: Call, in_review_at: int | None) -> bool:
    """Whether the review window has passed: from then on TokPortal has finalized it itself, or is about to."""
    hours = call.world.parameters.review_hours
    return in_review_at is not None and call.world.now() >= in_review_at + hours * _HOUR


def _listing(call: Call, bundle: Bundle) -> Listing:
    listing = call.world.listing_of(bundle)
    if listing is None:
        raise Refusal(404, "ACCOUNT_NOT_FOUND", f"Bundle {bundle.id} makes no account.")
    return listing


def _require_review(call: Call, listing: Listing) -> None:
    if listing.status != "in_review" or review_is_over(call, listing.in_review_at):
        raise _invalid_status(listing, "The account is not in review.")


def _invalid_status(listing: Listing, message: str) -> Refusal:
    return Refusal(409, "ACCOUNT_INVALID_STATUS", message, current_status=listing.status)
