from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from random import Random
from typing import Any

import msgspec

from orchestrator.simulate import wire
from orchestrator.simulate.dialect import Dialect
from orchestrator.simulate.wire import Data

UNKNOWN_TYPE = "simulated.unknown"
"""A type that no catalogue of the vendor names; built on request, to see how a receiver takes news of tomorrow."""

FAILURES: tuple[tuple[str, str], ...] = (
    ("device_offline", "The device went offline"),
    ("upload_timeout", "The upload did not finish in time"),
    ("login_required", "The platform asked for a new login"),
    ("rate_limited", "The platform limits posting for now"),
    ("content_rejected", "The platform rejected the content"),
    ("copyright_claim", "The sound is claimed by its owner"),
)
BAN_REASONS: tuple[str, ...] = ("restricted", "spam", "community_guidelines")
WARMING_MODES: tuple[str, ...] = ("niche", "deep", "advanced")


class Account(msgspec.Struct):
    """A bundle and the account in it: `country` is ISO 3166 alpha-2; the saved id is `None` before its first review."""

    bundle_id: str
    account_id: str
    username: str
    platform: str
    country: str
    saved_account_id: str | None = None


class Video(msgspec.Struct):
    """A video slot: `position` counts from 1 within its bundle; `views` is the last number reported."""

    video_id: str
    position: int
    url: str
    views: int = 0


class Message(msgspec.Struct, frozen=True, gc=False):
    """One webhook as TokPortal would word it; `body` is the exact JSON to sign and send."""

    event_id: str
    type: str
    body: bytes


class _Scene(msgspec.Struct):
    at: datetime
    account: Account
    video: Video
    random: Random


_Builder = Callable[[_Scene], Data]


def post_url(account: Account, random: Random) -> str:
    """A link to a post on the account's platform, of the platform's usual shape."""
    if account.platform == "instagram":
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        return f"https://www.instagram.com/reel/C{''.join(random.choices(alphabet, k=10))}/"
    return f"https://www.tiktok.com/@{account.username}/video/7{random.randrange(10**18):018d}"


def _failure(scene: _Scene) -> Data:
    code, message = scene.random.choice(FAILURES)
    retry = {"attempt": 1, "max_attempts": 3, "will_retry": False}
    return {"video_id": scene.video.video_id, "error_code": code, "message": message, "retry": retry}


def _metrics(scene: _Scene) -> Data:
    views = scene.video.views = scene.video.views + scene.random.randint(50, 5000)
    return {
        "video_id": scene.video.video_id,
        "views": views,
        "likes": views // 14,
        "shares": views // 130,
        "comments": views // 300,
    }


def _warming_failed(scene: _Scene) -> Data:
    code, reason = scene.random.choice(FAILURES[:3])
    return {"code": code, "reason": reason}


def _upload(scene: _Scene) -> Data:
    return {"video_id": scene.video.video_id}


_ARTICLE: dict[str, _Builder] = {
    "bundle.created": lambda s: {"username": s.account.username},
    "bundle.ready": lambda s: {},
    "bundle.warming_started": lambda s: {"mode": s.random.choice(WARMING_MODES)},
    "bundle.warming_failed": _warming_failed,
    "bundle.warming_completed": lambda s: {},
    "video.upload_started": _upload,
    "video.upload_completed": _upload,
    "video.post_failed": _failure,
    "video.posted": lambda s: {"video_id": s.video.video_id, "url": s.video.url},
    "video.analytics_updated": _metrics,
    "bundle.banned": lambda s: {"reason": s.random.choice(BAN_REASONS)},
}


def _bundle(status: str) -> _Builder:
    return lambda scene: wire.bundle(scene.account, status, None, "account_and_videos")


def _bundle_created(scene: _Scene) -> Data:
    country = scene.account.country
    return _bundle("pending_setup")(scene) | {"country": wire.COUNTRY_CODES.get(country, country)}


def _listing(status: str, previous: str, *, saved: bool = True) -> _Builder:
    return lambda scene: wire.listing(scene.account, status, previous, saved=saved)


def _saved(scene: _Scene) -> Data:
    return wire.saved(scene.account)


def _ban(appeal: str, moment: str) -> _Builder:
    def build(scene: _Scene) -> Data:
        reason = scene.random.choice(BAN_REASONS)
        return _saved(scene) | {"reason": reason, "appeal_status": appeal, moment: wire.iso(scene.at)}

    return build


def _slot(status: str, previous: str, *, live: bool = False) -> _Builder:
    def build(scene: _Scene) -> Data:
        video = scene.video
        url = video.url if live else None
        return wire.slot(scene.account, video.video_id, video.position, status, previous, url)

    return build


def _session(status: str, verified: int) -> _Builder:
    def build(scene: _Scene) -> Data:
        session_id = f"ws_{scene.account.saved_account_id}"
        return wire.session(scene.account, session_id, status, 3, verified, scene.at)

    return build


def _coverage(status: str) -> _Builder:
    return lambda scene: wire.coverage(scene.account, status, scene.at)


# In the order of the life of an account.
_PUBLIC: dict[str, _Builder] = {
    "webhook.test": lambda s: {"message": wire.TEST},
    "bundle.created": _bundle_created,
    "account.configured": _listing("configured", "pending", saved=False),
    "bundle.published": _bundle("published"),
    "account.published": _listing("published", "configured", saved=False),
    "account.in_review": _listing("in_review", "accepted"),
    "account.pending_corrections": _listing("pending_corrections", "in_review"),
    "account.finalized": _listing("finalized", "in_review"),
    "warming.session_started": _session("in_progress", 0),
    "warming.term_verified": lambda s: _session("in_progress", 1)(s) | {"term": "home cooking"},
    "warming.session_completed": _session("completed", 3),
    "video.configured": _slot("configured", "pending"),
    "video.published": _slot("published", "configured"),
    "video.in_review": _slot("in_review", "accepted", live=True),
    "video.pending_corrections": _slot("pending_corrections", "in_review", live=True),
    "video.finalized": _slot("finalized", "in_review", live=True),
    "video.not_recommended": _slot("finalized", "finalized", live=True),
    "video.ai_labeled": _slot("finalized", "finalized", live=True),
    "video.sound_restricted": _slot("finalized", "finalized", live=True),
    "account.distribution_warning": lambda s: _saved(s) | {"reason": "low_distribution"},
    "subscription.renewed": _coverage("active"),
    "subscription.lapsed": _coverage("lapsed"),
    "subscription.cancelled": _coverage("cancelled"),
    "subscription.reactivated": _coverage("active"),
    "account.ban_appeal.submitted": _ban("appeal_pending", "submitted_at"),
    "account.ban_appeal.resolved": _ban("appeal_accepted", "resolved_at"),
    "account.banned": _ban("appeal_refused", "banned_at"),
    "bundle.cancelled": _bundle("cancelled"),
    "account.ban_resolution.decided": lambda s: wire.resolution(s.account, "remake", "cover_active"),
    "credits.restored": lambda s: wire.restored(s.account, s.at),
    "account.remade": _listing("pending", "banned"),
    "account.revealed": lambda s: _saved(s) | {"management_ended": False},
    "subscription.ended": _coverage("ended"),
    "bundle.archived": _bundle("archived"),
}

_CATALOGUE = {Dialect.ARTICLE: _ARTICLE, Dialect.PUBLIC: _PUBLIC}


def types(dialect: Dialect) -> tuple[str, ...]:
    """Every event type of `dialect`, in the order of an account's life.

    The public list is the newest that the vendor's documentation shows (34 types, developers.tokportal.com/webhooks).
    """
    return tuple(_CATALOGUE[dialect])


def build(
    dialect: Dialect,
    type: str,
    *,
    event_id: str,
    at: datetime,
    account: Account,
    video: Video,
    random: Random,
    data: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Message:
    """One message of `type` about `account` and, for video events, `video`; equal arguments give equal bytes.

    `data` replaces keys of the event's data. `overrides` reaches every field: `data.retry.attempt` walks down, a plain
    name is the envelope's field of that name or else one of `data`; an override of `id` or `type` counts for the
    headers too. Raises `KeyError` for a type that is neither in the catalogue nor `UNKNOWN_TYPE`.
    """
    builder = _saved if type == UNKNOWN_TYPE else _CATALOGUE[dialect][type]
    content = builder(_Scene(at, account, video, random))
    if data:
        content.update(data)
    envelope = wire.envelope(dialect, type, event_id, at, account, content)
    if overrides:
        _override(envelope, overrides)
        event_id = str(envelope["id"])
    return Message(event_id, type, msgspec.json.encode(envelope))


def _override(envelope: Data, overrides: Mapping[str, Any]) -> None:
    for path, value in overrides.items():
        first, *rest = path.split(".")
        if first not in envelope:
            first, rest = "data", [first, *rest]
        place, key = envelope, first
        for name in rest:
            inner = place.get(key)
            if not isinstance(inner, dict):
                inner = place[key] = {}
            place, key = inner, name
        place[key] = value
