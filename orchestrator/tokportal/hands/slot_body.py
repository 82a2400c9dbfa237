"""A video as TokPortal's slots take it. Fields and rules: its documentation of `PUT /bundles/{id}/videos/{position}`,
which replaces the whole slot, so that what is left out is empty afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.outbox import Command
from orchestrator.tokportal.reads import Row

CONTENT_TYPES: Final = {"video": "reel", "carousel": "post"}
"""What Instagram is told where the campaign says nothing. A story needs none."""


def name_of(command: Command) -> str:
    """What people see at TokPortal; and what tells a slot that was filled again from one that was not."""
    tries = tries_of(command)
    return str(command.body["content"]["ref"]) + (f" (try {tries})" if tries > 1 else "")


def tries_of(command: Command) -> int:
    return int(command.body.get("try") or 1)


def images_of(command: Command) -> tuple[str, ...]:
    """The URLs of its images, which TokPortal wants to fetch before a slot can name them."""
    content = command.body["content"]
    if content["type"] == "carousel":
        media = content["media"]
        return (media,) if isinstance(media, str) else tuple(media)
    return (content["media"],) if content["type"] == "story" else ()


def slot_body(command: Command, images: Mapping[str, str]) -> Row:
    """What a `configure_video` command puts into a slot. `images`: where TokPortal keeps each image, by its URL; one
    that it has not fetched stays a URL."""
    body = command.body
    content = body["content"]
    kind = content["type"]
    found: Row = {
        "video_type": kind,
        "name": name_of(command),
        "external_ref": body["external_ref"],
        "target_publish_date": body["target_day"],
        "disclose_as_ads": body["disclose_as_ads"],
        "ai_content_disclaimer": body["ai_content_disclaimer"],
    }
    kept = [images.get(url, url) for url in images_of(command)]
    if kind == "carousel":
        found["carousel_images"] = kept
    elif kind == "story":
        found["story_image_url"] = kept[0]
    else:
        found["video_url"] = content["media"]
    if kind != "story" and content.get("caption") is not None:
        found["description"] = content["caption"]
    if command.platform == "instagram":
        found |= _instagram(kind, content.get("instagram") or {})
    elif command.platform == "tiktok" and (sound := (content.get("tiktok") or {}).get("sound_url")):
        found["tiktok_sound_url"] = sound
    return found


def _instagram(kind: str, settings: Mapping[str, Any]) -> Row:
    content_type = settings.get("content_type") or CONTENT_TYPES.get(kind)
    return {} if content_type is None else {"instagram_content_type": content_type}
