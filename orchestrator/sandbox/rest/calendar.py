"""The days on which a video may be posted: lead time, and three a day per bundle (TokPortal's documentation)."""

from __future__ import annotations

import re
from datetime import date, timedelta

from orchestrator.sandbox.errors import Refusal
from orchestrator.sandbox.model import Bundle, Slot
from orchestrator.sandbox.world import World

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def day_of(text: str, name: str = "target_publish_date") -> date:
    """Raises Refusal INVALID_DATE for what is no day of the calendar."""
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise Refusal(400, "INVALID_DATE", f"{name} must be a day, as 2026-12-01, not {text!r}.", field=name)


def earliest_day(world: World, bundle: Bundle) -> date:
    """3 days from today while the account is being made, the next day for a delivered one."""
    listing = world.listing_of(bundle)
    exists = bundle.saved_account_id is not None and (
        listing is None or listing.status in {"in_review", "pending_corrections", "finalized"}
    )
    lead = world.parameters.lead_days_existing if exists else world.parameters.lead_days_new
    return world.today() + timedelta(days=lead)


def check_day(world: World, bundle: Bundle, slot: Slot, text: str) -> date:
    """The target day, if `slot` may be posted on it.

    Raises:
        Refusal: INVALID_DATE with `earliest_allowed`; VIDEOS_PER_DAY_EXCEEDED with `date` and `current_count`. The
            slot itself does not count.
    """
    day = day_of(text)
    earliest = earliest_day(world, bundle)
    if day < earliest:
        raise Refusal(
            400,
            "INVALID_DATE",
            f"{text} is too early; the earliest day is {earliest}.",
            earliest_allowed=earliest.isoformat(),
        )
    count = sum(
        other.target_publish_date == text and other.status != "cancelled" and other.id != slot.id
        for other in world.slots_of(bundle)
    )
    if count >= world.parameters.videos_per_day:
        raise Refusal(
            409,
            "VIDEOS_PER_DAY_EXCEEDED",
            f"{count} videos of the bundle have {text} already.",
            date=text,
            current_count=count,
        )
    return day


def set_day(world: World, slot: Slot, day: date) -> None:
    """The manager posts on `day` or, the window being two days long, on the next."""
    slot.target_publish_date = day.isoformat()
    slot.target_publish_end_date = (day + timedelta(days=world.parameters.window_days - 1)).isoformat()
