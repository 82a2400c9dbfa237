"""Video slots: what they carry, when, and how far they are."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from orchestrator.sandbox.coverage import require_tasks
from orchestrator.sandbox.errors import Refusal
from orchestrator.sandbox.model import Bundle, Json, Slot
from orchestrator.sandbox.rest.bundles import ACTIVE, invalid_status, require_open
from orchestrator.sandbox.rest.calendar import check_day, day_of, set_day
from orchestrator.sandbox.rest.call import Answer, Call, find_slot, invalid
from orchestrator.sandbox.rest.content import Video, read_video
from orchestrator.sandbox.rest.listing import Corrections, review_is_over
from orchestrator.sandbox.rest.views import slot_status_view, slot_view

_RESCHEDULABLE = frozenset({"configured", "published"})
_FINALIZABLE = frozenset({"accepted", "in_review"})
_FIXABLE = frozenset({"configured", "published", "accepted", "pending_corrections"})


class _Patch(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    external_ref: Annotated[str, Meta(min_length=1, max_length=255)] | UnsetType | None = UNSET
    name: Annotated[str, Meta(max_length=255)] | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    target_publish_date: str | UnsetType = UNSET
    target_publish_start_date: str | UnsetType = UNSET
    target_publish_end_date: str | UnsetType = UNSET


class _Batch(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    videos: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=500)]
    auto_publish: bool = False


class _Download(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    video_url: Annotated[str, Meta(min_length=1)] | None = None
    carousel_images: Annotated[list[str], Meta(min_length=1, max_length=20)] | None = None


def listed(call: Call) -> Answer:
    return Answer([slot_view(slot) for slot in call.world.slots_of(call.bundle())])


def shown(call: Call) -> Answer:
    return Answer(slot_view(call.slot(call.bundle())))


def configure(call: Call) -> Answer:
    bundle = call.bundle()
    slot = call.slot(bundle)
    require_open(bundle)
    call.charged += require_tasks(call.world, bundle)
    _configure(call, bundle, slot, read_video(bundle, call.body))
    return Answer(slot_view(slot), call.money())


def configure_batch(call: Call) -> Answer:
    """Each position on its own: what is wrong with one does not hold up the others."""
    world, bundle = call.world, call.bundle()
    batch = call.read(_Batch)
    require_open(bundle)
    call.charged += require_tasks(world, bundle)
    results: list[Json] = []
    for body in batch.videos:
        position = body.get("position")
        try:
            slot = _configure_one(call, bundle, {"auto_publish": batch.auto_publish, **body})
            results.append({"success": True, **slot_status_view(slot)})
        except Refusal as refusal:
            results.append({"position": position, "success": False, **refusal.body()})
    done = sum(result["success"] for result in results)
    data = {"bundle_id": bundle.id, "configured": done, "failed": len(results) - done, "results": results}
    return Answer(data, call.money())


def _configure_one(call: Call, bundle: Bundle, body: Json) -> Slot:
    position = body.pop("position", None)
    if type(position) is not int or position < 1:
        raise invalid("position must be a whole number from 1 on", field="position")
    slot = find_slot(call.world, bundle, position)
    _configure(call, bundle, slot, read_video(bundle, body))
    return slot


def _configure(call: Call, bundle: Bundle, slot: Slot, video: Video) -> None:
    world = call.world
    if slot.status not in world.parameters.configure_from:
        raise _invalid_transition(slot, "configured")
    day = check_day(world, bundle, slot, video.target_publish_date)
    price = video.extra_price(world, slot)
    call.charge(price, bundle_id=bundle.id)
    set_day(world, slot, day)
    slot.video_type = video.video_type
    slot.description = video.description
    slot.name = video.name
    slot.external_ref = video.external_ref
    slot.volume_paid |= video.volume_original_sound is not None or video.volume_added_sound is not None
    slot.content = video.content()
    slot.corrections = slot.error = None
    slot.revision += 1
    world.move_slot(slot, "configured")
    world.changed("slot.configured", slot)
    _watch_for_doubles(call, slot)
    if video.auto_publish and bundle.status in ACTIVE:
        _publish(call, slot)
    call.took_effect(bundle_id=bundle.id, external_ref=slot.external_ref, position=slot.position, credits=price)


def _watch_for_doubles(call: Call, slot: Slot) -> None:
    """A video on two live slots is posted twice: TokPortal does not mind, whoever pays does."""
    if slot.external_ref is None or call.dry:
        return
    live = [
        other
        for other in call.world.live_slots(slot.external_ref)
        if not call.world.get(Bundle, other.bundle_id).adopted
    ]
    if len(live) > 1:
        places = ", ".join(f"{other.bundle_id}/{other.position} ({other.status})" for other in live)
        call.world.violate("VIDEO_ON_TWO_SLOTS", f"{slot.external_ref} is on several live slots: {places}")


def patch(call: Call) -> Answer:
    world, bundle = call.world, call.bundle()
    slot = call.slot(bundle)
    change = call.read(_Patch)
    require_open(bundle)
    call.charged += require_tasks(world, bundle)
    target = change.target_publish_date
    if target is UNSET:
        target = change.target_publish_start_date
    elif change.target_publish_start_date not in (UNSET, target):
        raise invalid("target_publish_date and target_publish_start_date differ", field="target_publish_start_date")
    if target is UNSET and change.target_publish_end_date is not UNSET:
        raise invalid("target_publish_end_date needs a start date", field="target_publish_end_date")
    if target is not UNSET and target != slot.target_publish_date:
        if slot.status not in _RESCHEDULABLE:
            raise _invalid_transition(slot, slot.status)
        set_day(world, slot, check_day(world, bundle, slot, target))
        slot.revision += 1
    if change.target_publish_end_date is not UNSET:
        _set_end(slot, change.target_publish_end_date)
    for name in ("external_ref", "name", "description"):
        value = getattr(change, name)
        if value is not UNSET:
            setattr(slot, name, value)
    world.put(slot)
    _watch_for_doubles(call, slot)
    world.changed("slot.rescheduled", slot)
    call.took_effect(bundle_id=bundle.id, external_ref=slot.external_ref, position=slot.position)
    return Answer(slot_view(slot))


def _set_end(slot: Slot, text: str) -> None:
    end = day_of(text, "target_publish_end_date").isoformat()
    if slot.target_publish_date is None or end < slot.target_publish_date:
        raise Refusal(
            400, "INVALID_DATE", f"The window ends on {end}, before it begins.", field="target_publish_end_date"
        )
    slot.target_publish_end_date = end


def publish(call: Call) -> Answer:
    bundle = call.bundle()
    slot = call.slot(bundle)
    _require_active(bundle)
    if slot.status != "configured" or slot.target_publish_date is None:
        raise _invalid_transition(slot, "published")
    call.charged += require_tasks(call.world, bundle)
    _publish(call, slot)
    call.took_effect(bundle_id=bundle.id, external_ref=slot.external_ref, position=slot.position)
    return Answer(slot_status_view(slot))


def publish_all(call: Call) -> Answer:
    world, bundle = call.world, call.bundle()
    _require_active(bundle)
    call.charged += require_tasks(world, bundle)
    slots = [slot for slot in world.slots_of(bundle) if slot.status == "configured" and slot.target_publish_date]
    for slot in slots:
        _publish(call, slot)
        call.took_effect(bundle_id=bundle.id, external_ref=slot.external_ref, position=slot.position)
    return Answer(
        {"bundle_id": bundle.id, "videos_published": len(slots), "video_ids": [slot.id for slot in slots]},
    )


def _publish(call: Call, slot: Slot) -> None:
    call.world.move_slot(slot, "published")
    call.world.changed("slot.published", slot)


def finalize(call: Call) -> Answer:
    world, bundle = call.world, call.bundle()
    slot = call.slot(bundle)
    if slot.status not in _FINALIZABLE:
        raise _invalid_transition(slot, "finalized")
    world.move_slot(slot, "finalized")
    world.changed("slot.finalized", slot)
    call.took_effect(bundle_id=bundle.id, external_ref=slot.external_ref, position=slot.position)
    return Answer(slot_status_view(slot))


def request_corrections(call: Call) -> Answer:
    """Within 72 hours from the review's beginning; then TokPortal finalizes the video itself."""
    world, bundle = call.world, call.bundle()
    slot = call.slot(bundle)
    corrections = call.read(Corrections)
    if corrections.comment is None and not corrections.fields:
        raise invalid("corrections need a comment or fields")
    if slot.status != "in_review" or review_is_over(call, slot.in_review_at):
        raise _invalid_transition(slot, "pending_corrections")
    slot.corrections = {"comment": corrections.comment, "fields": corrections.fields}
    world.move_slot(slot, "pending_corrections")
    world.changed("slot.corrections", slot)
    call.took_effect(bundle_id=bundle.id, external_ref=slot.external_ref, position=slot.position)
    return Answer(slot_status_view(slot))


def reset(call: Call) -> Answer:
    parameters = call.world.parameters
    return _release(call, "slot.reset", parameters.reset_from, parameters.reset_to)


def unschedule(call: Call) -> Answer:
    parameters = call.world.parameters
    return _release(call, "slot.unscheduled", parameters.unschedule_from, parameters.unschedule_to)


def _release(call: Call, change: str, allowed: tuple[str, ...], status: str) -> Answer:
    """Take the slot out of the calendar; what becomes of it is a parameter."""
    world, bundle = call.world, call.bundle()
    slot = call.slot(bundle)
    if not world.parameters.release_in_closed_bundles:
        require_open(bundle)
    if slot.status not in allowed or world.is_uploading(slot):
        raise _invalid_transition(slot, status)
    external_ref = slot.external_ref
    if status == "pending":
        slot.external_ref = slot.name = slot.description = slot.video_type = None
        slot.content = {}
    if status != "cancelled":
        slot.target_publish_date = slot.target_publish_end_date = None
    slot.corrections = slot.error = None
    slot.configured_at = slot.configured_at if status != "pending" else None
    slot.published_at = slot.accepted_at = None
    slot.revision += 1
    slot.status = status
    world.put(slot)
    world.changed(change, slot)
    call.took_effect(bundle_id=bundle.id, external_ref=external_ref, position=slot.position)
    return Answer(slot_status_view(slot))


def fix_download(call: Call) -> Answer:
    """Another address for media that the manager cannot fetch."""
    world, bundle = call.world, call.bundle()
    slot = call.slot(bundle)
    media = call.read(_Download)
    if (media.video_url is None) == (media.carousel_images is None):
        raise invalid("give either video_url or carousel_images")
    if slot.status not in _FIXABLE:
        raise _invalid_transition(slot, slot.status)
    wrong = "video_url" if slot.video_type == "carousel" else "carousel_images"
    if getattr(media, wrong) is not None:
        raise invalid(f"{wrong} does not fit a {slot.video_type}", field=wrong)
    slot.content = {**slot.content, **{k: v for k, v in msgspec.to_builtins(media).items() if v is not None}}
    slot.error = None
    world.put(slot)
    world.changed("slot.download_fixed", slot)
    call.took_effect(bundle_id=bundle.id, external_ref=slot.external_ref, position=slot.position)
    return Answer(slot_status_view(slot))


def _require_active(bundle: Bundle) -> None:
    if bundle.status not in ACTIVE:
        raise invalid_status(bundle, f"Videos of a bundle that is {bundle.status} cannot be published.")


def _invalid_transition(slot: Slot, status: str) -> Refusal:
    return Refusal(
        409,
        "INVALID_STATUS_TRANSITION",
        f"The video at position {slot.position} is {slot.status} and cannot become {status}.",
        current_status=slot.status,
        position=slot.position,
    )
