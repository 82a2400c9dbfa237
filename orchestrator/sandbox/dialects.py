"""How TokPortal words what happens: webhook bodies in both of its dialects.

The article dialect is that of INTERFACE sections 3 and 4. Of the public one (2026-05-25) the vendor's documentation
shows 34 event types and samples of four: `bundle.published`, `account.finalized`, `account.banned`, `video.finalized`.
The other payloads follow those samples and the vendor's field notes; what the samples leave out is left out here too,
unless `Wording` asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final, Literal

import msgspec

from orchestrator.simulate import wire
from orchestrator.simulate.dialect import Dialect
from orchestrator.simulate.wire import Data


class News(StrEnum):
    """What can happen in the world, whatever a dialect calls it."""

    BUNDLE_CREATED = "bundle_created"
    BUNDLE_PUBLISHED = "bundle_published"
    BUNDLE_CANCELLED = "bundle_cancelled"
    BUNDLE_ARCHIVED = "bundle_archived"
    ACCOUNT_CONFIGURED = "account_configured"
    ACCOUNT_OFFERED = "account_offered"
    ACCOUNT_IN_REVIEW = "account_in_review"
    ACCOUNT_CORRECTIONS = "account_corrections"
    ACCOUNT_READY = "account_ready"
    ACCOUNT_REMADE = "account_remade"
    BANNED = "banned"
    APPEAL_SUBMITTED = "appeal_submitted"
    APPEAL_RESOLVED = "appeal_resolved"
    BAN_DECIDED = "ban_decided"
    CREDITS_RESTORED = "credits_restored"
    WARMING_STARTED = "warming_started"
    TERM_VERIFIED = "term_verified"
    WARMING_COMPLETED = "warming_completed"
    WARMING_FAILED = "warming_failed"
    SLOT_CONFIGURED = "slot_configured"
    SLOT_PUBLISHED = "slot_published"
    UPLOAD_STARTED = "upload_started"
    UPLOAD_COMPLETED = "upload_completed"
    POSTED = "posted"
    POST_FAILED = "post_failed"
    CORRECTIONS = "corrections"
    FINALIZED = "finalized"
    METRICS = "metrics"
    COVERAGE_RENEWED = "coverage_renewed"
    COVERAGE_LAPSED = "coverage_lapsed"
    COVERAGE_CANCELLED = "coverage_cancelled"
    COVERAGE_REACTIVATED = "coverage_reactivated"
    COVERAGE_ENDED = "coverage_ended"


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a webhook speaks of, as it stood when it happened. `country` is ISO 3166 alpha-2."""

    bundle_id: str
    platform: str = "tiktok"
    country: str = "US"
    bundle_type: str = "account_and_videos"
    bundle_status: str = "accepted"
    bundle_ref: str | None = None
    account_id: str | None = None
    saved_account_id: str | None = None
    username: str | None = None
    account_status: str = "finalized"
    video_id: str | None = None
    position: int | None = None
    external_ref: str | None = None
    slot_status: str = "configured"
    platform_url: str | None = None


class Wording(msgspec.Struct, frozen=True, kw_only=True):
    """What the vendor leaves open about the bodies."""

    external_ref: Literal["always", "sometimes", "never"] = "sometimes"
    """Whether `data` of video events names our `external_ref`; sometimes: in about half of them, told by event id."""
    country: bool = True
    """Whether `bundle.created` of the public dialect names the country, which no sample shows."""


class Message(msgspec.Struct, frozen=True):
    """One webhook: `body` is the exact JSON to sign and send."""

    event_id: str
    type: str
    body: bytes


class UnknownEventError(LookupError):
    """No dialect has an event of this name."""


class _Scene(msgspec.Struct):
    at: datetime
    subject: Subject
    data: Mapping[str, Any]


_Builder = Callable[[_Scene], Data]


def event_id(*parts: object) -> str:
    """An id of the vendor's form, `evt_` and 32 hex digits; equal parts give equal ids."""
    return "evt_" + sha256("/".join(map(str, parts)).encode()).hexdigest()[:32]


def types(dialect: Dialect) -> tuple[str, ...]:
    """Every event type of `dialect`."""
    return tuple(_CATALOGUE[dialect])


def word(
    dialect: Dialect,
    news: News,
    *,
    event_id: str,
    at: datetime,
    subject: Subject,
    data: Mapping[str, Any] | None = None,
    wording: Wording | None = None,
) -> Message | None:
    """The webhook that reports `news`; None where the dialect has no word for it.

    The public dialect does not report a failed post (vendor's documentation: no event type names one): it shows as
    corrections asked for, a ban, a cancelled bundle, or silence.
    """
    type = TYPES[dialect].get(news)
    if type is None:
        return None
    return build(dialect, type, event_id=event_id, at=at, subject=subject, data=data, wording=wording)


def build(
    dialect: Dialect,
    type: str,
    *,
    event_id: str,
    at: datetime,
    subject: Subject,
    data: Mapping[str, Any] | None = None,
    wording: Wording | None = None,
) -> Message:
    """The webhook of `type`; `data` replaces members of the event's own.

    Raises `UnknownEventError` for a type that the dialect does not have.
    """
    builder = _CATALOGUE[dialect].get(type)
    if builder is None:
        raise UnknownEventError(f"the dialect {dialect.value} has no event {type!r}")
    wording = wording or Wording()
    given = data or {}
    content = builder(_Scene(at, subject, given)) | dict(given)
    if type.startswith("video."):
        content.setdefault("position", subject.position)
        if subject.external_ref is not None and _names_ref(wording, event_id):
            content.setdefault("external_ref", subject.external_ref)
    if type == "bundle.created" and dialect is Dialect.PUBLIC and wording.country:
        content.setdefault("country", wire.COUNTRY_CODES.get(subject.country, subject.country))
    return Message(event_id, type, msgspec.json.encode(wire.envelope(dialect, type, event_id, at, subject, content)))


def _names_ref(wording: Wording, event_id: str) -> bool:
    if wording.external_ref == "sometimes":
        return sha256(event_id.encode()).digest()[0] < 128
    return wording.external_ref == "always"


# The article dialect.


def _own(scene: _Scene) -> Data:
    return {}


def _account_name(scene: _Scene) -> Data:
    return {"username": scene.subject.username} if scene.subject.username else {}


def _video(scene: _Scene) -> Data:
    return {"video_id": scene.subject.video_id}


def _post(scene: _Scene) -> Data:
    return _video(scene) | {"url": scene.subject.platform_url}


def _failure(scene: _Scene) -> Data:
    retry = {"attempt": 1, "max_attempts": 1, "will_retry": False}
    return _video(scene) | {"error_code": "network_error", "message": "The upload did not go through", "retry": retry}


def _metrics(scene: _Scene) -> Data:
    return _video(scene) | {"views": 0, "likes": 0, "shares": 0, "comments": 0}


_ARTICLE: Final[dict[str, _Builder]] = {
    "bundle.created": _account_name,
    "bundle.ready": _account_name,
    "bundle.warming_started": lambda scene: {"mode": "advanced"},
    "bundle.warming_completed": _own,
    "bundle.warming_failed": lambda scene: {"code": "warming_interrupted", "reason": "The session was interrupted"},
    "bundle.banned": lambda scene: {"reason": "community_guidelines"},
    "video.upload_started": _video,
    "video.upload_completed": _video,
    "video.posted": _post,
    "video.post_failed": _failure,
    "video.analytics_updated": _metrics,
    "webhook.test": lambda scene: {"message": wire.TEST},
}


# The public dialect.


def _bundle(status: str) -> _Builder:
    return lambda scene: wire.bundle(scene.subject, status, scene.subject.bundle_ref, scene.subject.bundle_type)


def _listing(status: str, previous: str, *, saved: bool = True) -> _Builder:
    return lambda scene: wire.listing(scene.subject, status, previous, saved=saved)


def _saved(scene: _Scene) -> Data:
    return wire.saved(scene.subject)


def _ban(appeal: str, moment: str) -> _Builder:
    return lambda scene: (
        _saved(scene) | {"reason": "community_guidelines", "appeal_status": appeal, moment: wire.iso(scene.at)}
    )


def _slot(status: str, previous: str, *, live: bool = False) -> _Builder:
    def build(scene: _Scene) -> Data:
        subject = scene.subject
        url = subject.platform_url if live else None
        return wire.slot(subject, subject.video_id, subject.position, status, previous, url)

    return build


def _session(status: str) -> _Builder:
    return lambda scene: wire.session(scene.subject, None, status, 0, 0, scene.at)


def _coverage(status: str) -> _Builder:
    return lambda scene: wire.coverage(scene.subject, status, scene.at)


_PUBLIC: Final[dict[str, _Builder]] = {
    "webhook.test": lambda scene: {"message": wire.TEST},
    "bundle.created": _bundle("pending_setup"),
    "bundle.published": _bundle("published"),
    "bundle.cancelled": _bundle("cancelled"),
    "bundle.archived": _bundle("archived"),
    "account.configured": _listing("configured", "pending", saved=False),
    "account.published": _listing("published", "configured", saved=False),
    "account.in_review": _listing("in_review", "accepted"),
    "account.pending_corrections": _listing("pending_corrections", "in_review"),
    "account.finalized": _listing("finalized", "in_review"),
    "account.remade": _listing("pending", "banned"),
    "account.banned": _ban("appeal_refused", "banned_at"),
    "account.ban_appeal.submitted": _ban("appeal_pending", "submitted_at"),
    "account.ban_appeal.resolved": _ban("appeal_accepted", "resolved_at"),
    "account.ban_resolution.decided": lambda scene: wire.resolution(scene.subject, "no_remake", "tos_ban"),
    "account.revealed": lambda scene: _saved(scene) | {"management_ended": False},
    "account.distribution_warning": _saved,
    "video.configured": _slot("configured", "pending"),
    "video.published": _slot("published", "configured"),
    "video.in_review": _slot("in_review", "accepted", live=True),
    "video.pending_corrections": _slot("pending_corrections", "accepted"),
    "video.finalized": _slot("finalized", "in_review", live=True),
    "video.not_recommended": _slot("finalized", "finalized", live=True),
    "video.ai_labeled": _slot("finalized", "finalized", live=True),
    "video.sound_restricted": _slot("finalized", "finalized", live=True),
    "warming.session_started": _session("in_progress"),
    "warming.term_verified": _session("in_progress"),
    "warming.session_completed": _session("completed"),
    "subscription.renewed": _coverage("active"),
    "subscription.lapsed": _coverage("lapsed"),
    "subscription.cancelled": _coverage("cancelled"),
    "subscription.reactivated": _coverage("active"),
    "subscription.ended": _coverage("ended"),
    "credits.restored": lambda scene: wire.restored(scene.subject, scene.at),
}

_CATALOGUE: Final = {Dialect.ARTICLE: _ARTICLE, Dialect.PUBLIC: _PUBLIC}

TYPES: Final[dict[Dialect, dict[News, str]]] = {
    Dialect.ARTICLE: {
        News.BUNDLE_CREATED: "bundle.created",
        News.ACCOUNT_READY: "bundle.ready",
        News.WARMING_STARTED: "bundle.warming_started",
        News.WARMING_COMPLETED: "bundle.warming_completed",
        News.WARMING_FAILED: "bundle.warming_failed",
        News.BANNED: "bundle.banned",
        News.UPLOAD_STARTED: "video.upload_started",
        News.UPLOAD_COMPLETED: "video.upload_completed",
        News.POSTED: "video.posted",
        News.POST_FAILED: "video.post_failed",
        News.METRICS: "video.analytics_updated",
    },
    Dialect.PUBLIC: {
        News.BUNDLE_CREATED: "bundle.created",
        News.BUNDLE_PUBLISHED: "bundle.published",
        News.BUNDLE_CANCELLED: "bundle.cancelled",
        News.BUNDLE_ARCHIVED: "bundle.archived",
        News.ACCOUNT_CONFIGURED: "account.configured",
        News.ACCOUNT_OFFERED: "account.published",
        News.ACCOUNT_IN_REVIEW: "account.in_review",
        News.ACCOUNT_CORRECTIONS: "account.pending_corrections",
        News.ACCOUNT_READY: "account.finalized",
        News.ACCOUNT_REMADE: "account.remade",
        News.BANNED: "account.banned",
        News.APPEAL_SUBMITTED: "account.ban_appeal.submitted",
        News.APPEAL_RESOLVED: "account.ban_appeal.resolved",
        News.BAN_DECIDED: "account.ban_resolution.decided",
        News.CREDITS_RESTORED: "credits.restored",
        News.WARMING_STARTED: "warming.session_started",
        News.TERM_VERIFIED: "warming.term_verified",
        News.WARMING_COMPLETED: "warming.session_completed",
        News.SLOT_CONFIGURED: "video.configured",
        News.SLOT_PUBLISHED: "video.published",
        # A post's URL is first known when the manager submits it.
        News.POSTED: "video.in_review",
        News.CORRECTIONS: "video.pending_corrections",
        News.FINALIZED: "video.finalized",
        News.COVERAGE_RENEWED: "subscription.renewed",
        News.COVERAGE_LAPSED: "subscription.lapsed",
        News.COVERAGE_CANCELLED: "subscription.cancelled",
        News.COVERAGE_REACTIVATED: "subscription.reactivated",
        News.COVERAGE_ENDED: "subscription.ended",
    },
}
