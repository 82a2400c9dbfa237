"""What goes into a video slot (TokPortal's documentation of `PUT …/videos/{position}`)."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from orchestrator.sandbox.model import Bundle, Slot
from orchestrator.sandbox.rest.call import invalid
from orchestrator.sandbox.world import World

_Text = Annotated[str, Meta(min_length=1)]
_Percent = Annotated[int, Meta(ge=0, le=100)]

_OWN: Final = frozenset({"video_type", "target_publish_date", "description", "name", "external_ref", "auto_publish"})
_FREE_PREFIXES: Final = ("instagram_", "youtube_")


class Video(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A configuration. It replaces what the slot held, whole."""

    target_publish_date: str
    video_type: Literal["video", "carousel", "story"] = "video"
    description: str | None = None
    name: Annotated[str, Meta(max_length=255)] | None = None
    external_ref: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    auto_publish: bool = False

    video_url: _Text | None = None
    carousel_images: Annotated[list[_Text], Meta(min_length=1, max_length=20)] | None = None
    carousel_title: str | None = None
    story_image_url: _Text | None = None
    story_repost_url: _Text | None = None
    tiktok_sound_url: _Text | None = None
    volume_original_sound: _Percent | None = None
    volume_added_sound: _Percent | None = None
    editing_instructions: str | None = None
    instagram_content_type: Literal["reel", "post"] | None = None
    ai_content_disclaimer: bool | None = None
    disclose_as_ads: bool | None = None
    instant_repost_as_story: bool | None = None
    free: dict[str, Any] = {}
    """Further `instagram_` and `youtube_` members, which are documented by name only in part."""

    def content(self) -> dict[str, Any]:
        """The members that the slot keeps as they were sent."""
        members = {name: value for name, value in msgspec.to_builtins(self).items() if name not in _OWN | {"free"}}
        return {name: value for name, value in {**members, **self.free}.items() if value is not None}

    def extra_price(self, world: World, slot: Slot) -> int:
        """Credits beyond the slot's own: mixing sounds the first time, reposting a story."""
        prices = world.parameters.prices
        mixes = self.volume_original_sound is not None or self.volume_added_sound is not None
        price = prices.sound_volume if mixes and not slot.volume_paid else 0
        if self.story_repost_url is not None and slot.content.get("story_repost_url") != self.story_repost_url:
            price += prices.story_repost
        return price


def read_video(bundle: Bundle, body: Any) -> Video:
    """The configuration in `body`, checked against the bundle's platform.

    Raises:
        Refusal: VALIDATION_ERROR; the message names the member.
    """
    if not isinstance(body, dict):
        raise invalid("the body must be an object")
    free = {
        name: value
        for name, value in body.items()
        if name.startswith(_FREE_PREFIXES) and name != "instagram_content_type"
    }
    if "free" in body:
        raise invalid("Object contains unknown field `free`", field="free")
    known = {name: value for name, value in body.items() if name not in free}
    try:
        video = msgspec.convert({**known, "free": free}, Video)
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from None
    _check(bundle, video)
    return video


def _check(bundle: Bundle, video: Video) -> None:
    def need(there: object, name: str, where: str) -> None:
        if not there:
            raise invalid(f"{name} is required for a {where}", field=name)

    # Nobody knows what an adopted bundle was bought for.
    platform = None if bundle.adopted else bundle.platform
    if video.video_type == "video":
        need(video.video_url, "video_url", "video")
    elif video.video_type == "carousel":
        need(video.carousel_images, "carousel_images", "carousel")
        if platform == "tiktok":
            need(video.tiktok_sound_url, "tiktok_sound_url", "carousel on TikTok")
    else:
        need(video.story_image_url or video.story_repost_url, "story_image_url or story_repost_url", "story")
        if video.description is not None:
            raise invalid("a story has no description", field="description")
    if platform == "instagram" and video.video_type != "story":
        need(video.instagram_content_type, "instagram_content_type", "post on Instagram")
