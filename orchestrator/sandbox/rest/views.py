"""Rows as TokPortal shows them."""

from __future__ import annotations

from typing import Any

from orchestrator.clock import instant_of
from orchestrator.sandbox.coverage import quote, status_of
from orchestrator.sandbox.model import (
    CLOSED_BUNDLES,
    LIVE_SLOTS,
    Ban,
    Bundle,
    Coverage,
    CreditEntry,
    Delivery,
    Endpoint,
    Json,
    Listing,
    SavedAccount,
    Slot,
    WarmingSession,
)
from orchestrator.sandbox.world import World
from orchestrator.simulate.wire import iso

_UNPUBLISHED = frozenset({"draft", "pending_setup"})


def moment(microseconds: int | None) -> str | None:
    """A time as the vendor writes it."""
    return None if microseconds is None else iso(instant_of(microseconds))


def account_is_configured(world: World, bundle: Bundle) -> bool:
    """Whether the account's profile is complete, or the account exists already."""
    listing = world.listing_of(bundle)
    if listing is None:
        return True
    return all(getattr(listing, member) for member in world.parameters.account_required)


def bundle_view(world: World, bundle: Bundle) -> Json:
    listing = world.listing_of(bundle)
    slots = world.slots_of(bundle)
    return {
        "id": bundle.id,
        "bundle_id": bundle.id,
        "title": bundle.title,
        "bundle_type": bundle.bundle_type,
        "platform": bundle.platform,
        "country": bundle.country,
        "status": bundle.status,
        "external_ref": bundle.external_ref,
        "account_id": bundle.account_id,
        "saved_account_id": bundle.saved_account_id,
        "account_status": "finalized" if listing is None else listing.status,
        "account_configured": account_is_configured(world, bundle),
        "is_published": bundle.status not in _UNPUBLISHED | CLOSED_BUNDLES,
        "videos_quantity": len(slots) if bundle.adopted else bundle.videos_quantity,
        "videos_configured_count": sum(slot.status in LIVE_SLOTS for slot in slots),
        "edits_quantity": bundle.edits_quantity,
        "wants_advanced_warming": bundle.warming_targets > 0,
        "advanced_warming_terms_count": bundle.warming_targets,
        "advanced_warming_terms": bundle.warming_terms,
        "auto_finalize_videos": bundle.auto_finalize_videos,
        "review_mode": review_mode(bundle),
        "created_at": moment(bundle.created_at),
        "updated_at": moment(bundle.updated_at),
        "published_at": moment(bundle.published_at),
    }


def review_mode(bundle: Bundle) -> str:
    """TokPortal's documentation shows `auto` only; `manual` is our word for its opposite."""
    return "auto" if bundle.auto_finalize_videos else "manual"


def listing_view(listing: Listing) -> Json:
    return {
        "id": listing.id,
        "account_id": listing.id,
        "bundle_id": listing.bundle_id,
        "status": listing.status,
        "username": listing.username,
        "visible_name": listing.visible_name,
        "biography": listing.biography,
        "profile_picture_url": listing.profile_picture_url,
        "link_in_bio": listing.link_in_bio,
        "saved_account_id": listing.saved_account_id,
        "in_review_at": moment(listing.in_review_at),
        "finalized_at": moment(listing.finalized_at),
    }


def slot_view(slot: Slot) -> Json:
    return {
        **slot.content,
        "video_id": slot.id,
        "position": slot.position,
        "bundle_id": slot.bundle_id,
        "status": slot.status,
        "external_ref": slot.external_ref,
        "name": slot.name,
        "target_publish_date": slot.target_publish_date,
        "target_publish_start_date": slot.target_publish_date,
        "target_publish_end_date": slot.target_publish_end_date,
        "video_type": slot.video_type,
        "description": slot.description,
        "platform_url": slot.platform_url,
        "posted_at": moment(slot.posted_at),
        "corrections": slot.corrections,
        "error": slot.error,
    }


def slot_status_view(slot: Slot) -> Json:
    """What the slot operations answer (TokPortal's documentation, `publish`)."""
    return {"video_id": slot.id, "position": slot.position, "bundle_id": slot.bundle_id, "status": slot.status}


def profile_url(account: SavedAccount) -> str:
    if account.platform == "instagram":
        return f"https://www.instagram.com/{account.username}/"
    return f"https://www.tiktok.com/@{account.username}"


def account_view(account: SavedAccount) -> Json:
    return {
        "id": account.id,
        "username": account.username,
        "platform": account.platform,
        "country": account.country,
        "banned": account.banned,
        "profile_url": profile_url(account),
        "created_at": moment(account.created_at),
    }


def ban_view(ban: Ban) -> Json:
    return {
        "id": ban.id,
        "account_id": ban.saved_account_id,
        "username": ban.username,
        "platform": ban.platform,
        "bundle_id": ban.bundle_id,
        "order_id": ban.bundle_id,
        "status": ban.status,
        "reason": ban.reason,
        "reported_at": moment(ban.reported_at),
        "decided_at": moment(ban.decided_at),
        "updated_at": moment(ban.updated_at),
        "resolution": {
            "resolution": ban.resolution,
            "reason_code": ban.reason_code,
            "refund_credits": ban.refund_credits,
            "resolved_at": moment(ban.resolved_at),
        },
    }


def session_view(session: WarmingSession) -> Json:
    return {
        "id": session.id,
        "bundle_id": session.bundle_id,
        "saved_account_id": session.saved_account_id,
        "status": session.status,
        "terms_total": session.targets,
        "terms_configured": len(session.terms),
        "terms_verified": sum(term.verified_at is not None for term in session.terms),
        "terms": [
            {"term": term.term, "verified": term.verified_at is not None, "verified_at": moment(term.verified_at)}
            for term in session.terms
        ],
        "created_at": moment(session.created_at),
        "started_at": moment(session.started_at),
        "completed_at": moment(session.completed_at),
    }


def coverage_view(world: World, coverage: Coverage) -> Json:
    now = world.now()
    status, task_access = status_of(coverage, now)
    offer = quote(world, coverage)
    return {
        "saved_account_id": coverage.id,
        "status": status,
        "task_access": task_access,
        "recorded_status": coverage.recorded_status,
        "period_expired": now >= coverage.current_period_end,
        "current_period_end": moment(coverage.current_period_end),
        "auto_renew": coverage.auto_renew,
        "lock_version": coverage.lock_version,
        "reactivation_quote": None
        if offer is None
        else {
            "credits": offer,
            "current_period_end": moment(coverage.current_period_end),
            "lock_version": coverage.lock_version,
        },
    }


def credit_view(entry: CreditEntry) -> Json:
    return {
        "id": entry.id,
        "amount": entry.amount,
        "balance_after": entry.balance,
        "type": "charge" if entry.amount < 0 else "credit",
        "operation": entry.operation,
        "bundle_id": entry.bundle_id,
        "saved_account_id": entry.saved_account_id,
        "created_at": moment(entry.at),
    }


def endpoint_view(endpoint: Endpoint) -> dict[str, Any]:
    """Without the signing secret, which only the creation shows."""
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "events": endpoint.events,
        "description": endpoint.description,
        "enabled": endpoint.enabled,
        "created_at": moment(endpoint.created_at),
        "updated_at": moment(endpoint.updated_at),
    }


def delivery_view(delivery: Delivery) -> Json:
    return {
        "id": delivery.id,
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "success": delivery.success,
        "status_code": delivery.status_code,
        "error": delivery.error,
        "attempts": delivery.attempts,
        "created_at": moment(delivery.created_at),
        "last_attempt_at": moment(delivery.last_attempt_at),
    }
