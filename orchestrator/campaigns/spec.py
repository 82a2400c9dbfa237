"""What a campaign asks for, whatever it was written in."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from datetime import date
from typing import Any

import msgspec

NAMESPACE = uuid.UUID("d2a1f0a6-5f0e-5b39-9b0a-3d1c6e7f8a42")


class Content(msgspec.Struct, frozen=True):
    """One piece of content. `media`: a URL, or those of a carousel's images; `captions`: by country; `tiktok` and
    `instagram`: what only that platform knows."""

    ref: str
    type: str
    media: str | tuple[str, ...]
    caption: str | None = None
    captions: Mapping[str, str] = {}
    tiktok: Mapping[str, Any] = {}
    instagram: Mapping[str, Any] = {}


class Target(msgspec.Struct, frozen=True):
    """Where to: so many accounts of a market (None: all), or these bundles. `ref`: only this content."""

    country: str | None
    platform: str | None
    accounts: int | None = None
    bundles: tuple[str, ...] | None = None
    ref: str | None = None
    target_day: date | None = None


class CampaignSpec(msgspec.Struct, frozen=True):
    name: str
    group: str
    starts: date | None
    ends: date | None
    videos: tuple[Content, ...]
    targets: tuple[Target, ...]
    spread: str
    disclose_as_ads: bool
    ai_content_disclaimer: bool
    origin: Mapping[str, str] | None = None
    labels: Mapping[str, str] = {}

    @property
    def campaign_id(self) -> str:
        """Derived from the name: one name, one campaign."""
        return id_of(self.name)

    @property
    def digest(self) -> str:
        """Equal for equal content, whatever the format and the order of keys."""
        return hashlib.sha256(_encode(self.to_json())).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CampaignSpec:
        """Raises `msgspec.ValidationError` for what is none."""
        return msgspec.convert(value, cls)


def id_of(name: str) -> str:
    """The id of the campaign of this name."""
    return "cmp_" + uuid.uuid5(NAMESPACE, name).hex


def _encode(value: Any) -> bytes:
    return msgspec.json.encode(value, order="deterministic")
