"""The dialect of TokPortal's public API, version 2026-05-25.

Samples exist for four of its events; the rest of the payloads is unknown. So everything but the ids that a fact
needs is optional here, under every name that the vendor's own clients use.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from orchestrator.dialects.reading import (
    Reading,
    Unreadable,
    Unrecognised,
    check_event_id,
    country,
    identifier,
    instant,
    members,
    optional_identifier,
    platform,
    text,
)
from orchestrator.domain import facts
from orchestrator.domain.facts import Fact, VideoFact

EVENTS: Mapping[str, type[Fact] | None] = {
    "webhook.test": None,
    "bundle.created": facts.BundleCreated,
    "bundle.published": facts.BundlePublished,
    "bundle.cancelled": facts.BundleCancelled,
    "bundle.archived": facts.BundleArchived,
    "account.configured": facts.AccountConfigured,
    "account.published": facts.AccountOffered,
    "account.in_review": facts.AccountInReview,
    "account.pending_corrections": facts.AccountCorrectionsRequested,
    "account.finalized": facts.BundleReady,
    "account.remade": facts.AccountRemade,
    "account.banned": facts.BundleBanned,
    "account.ban_appeal.submitted": facts.AppealSubmitted,
    "account.ban_appeal.resolved": facts.AppealResolved,
    "account.ban_resolution.decided": facts.BanResolutionDecided,
    "account.revealed": facts.AccountRevealed,
    "account.distribution_warning": facts.DistributionWarned,
    "video.configured": facts.VideoScheduled,
    "video.published": facts.VideoHandedOver,
    "video.in_review": facts.UploadCompleted,
    "video.pending_corrections": facts.CorrectionsRequested,
    "video.finalized": facts.VideoPosted,
    "video.not_recommended": facts.NotRecommended,
    "video.ai_labeled": facts.AiLabeled,
    "video.sound_restricted": facts.SoundRestricted,
    "warming.session_started": facts.WarmingStarted,
    "warming.term_verified": facts.TermVerified,
    "warming.session_completed": facts.WarmingCompleted,
    "subscription.renewed": facts.CoverageRenewed,
    "subscription.lapsed": facts.CoverageLapsed,
    "subscription.cancelled": facts.CoverageCancelled,
    "subscription.reactivated": facts.CoverageReactivated,
    "subscription.ended": facts.CoverageEnded,
    "credits.restored": facts.CreditsRestored,
}
"""`video.in_review` is a post where it comes with the post's URL."""

STATELESS = frozenset(
    {
        facts.AccountConfigured,
        facts.AccountOffered,
        facts.AccountInReview,
        facts.AccountCorrectionsRequested,
        facts.TermVerified,
        facts.BanResolutionDecided,
        facts.CreditsRestored,
    }
)
"""Facts that change no state: they need not name anything."""

OUTCOMES = ("appeal_status", "outcome", "result", "resolution", "status", "decision")
"""Where the outcome of an appeal may stand; the vendor documents none of them for this event."""


def read(message: Mapping[str, Any], received_at: datetime) -> Reading:
    """Raises `Unreadable` or `Unrecognised`."""
    text(message, "type", "", required=True)
    if message["type"] not in EVENTS:
        raise Unrecognised(f"the event type {message['type'][:80]!r} is not known")
    kind = EVENTS[message["type"]]
    check_event_id(message.get("id"))
    occurred_at = instant(message, "created_at", received_at)
    if kind is None:
        return Reading(None, occurred_at)
    data = members(message, "data")
    for name in ("username", "reason", "platform_url"):
        text(data, name, "data.")
    bundle_id = optional_identifier(data, "bundle_id", "data.")
    account = optional_identifier(data, "saved_account_id", "data.")
    video_id = None
    if issubclass(kind, VideoFact):
        video_id, bundle_id = identifier(data, "video_id", "data."), identifier(data, "bundle_id", "data.")
        text(data, "external_ref", "data.")
        position = data.get("position")
        if position is not None and (type(position) is not int or position < 1):
            raise Unreadable("data.position must be a whole number of at least 1")
        kind, data = _post(kind, data)
    elif bundle_id is None and account is None:
        if kind in STATELESS:
            return Reading(None, occurred_at)
        raise Unreadable("data names neither bundle_id nor saved_account_id")
    elif kind is facts.BundleBanned and data.get("banned_at") is not None:
        occurred_at = instant(data, "banned_at", received_at, "data.")
    elif kind is facts.AppealResolved:
        data = {**data, "outcome": _outcome(data)}
    elif kind is facts.AccountRevealed and type(data.get("management_ended")) not in (bool, type(None)):
        raise Unreadable("data.management_ended must be true or false")
    return Reading(
        kind,
        occurred_at,
        bundle_id=bundle_id,
        video_id=video_id,
        account=account,
        country=country(data, "data.", required=False),
        platform=platform(data, "data.", required=False),
        data=data,
    )


def _post(kind: type[Fact], data: dict[str, Any]) -> tuple[type[Fact], dict[str, Any]]:
    url = data.get("platform_url")
    if kind is facts.UploadCompleted and url:
        return facts.VideoPosted, {**data, "url": url, "review": "open"}
    if kind is facts.VideoPosted:
        return kind, {**data, "url": url, "review": "final"}
    return kind, data


ACCEPTED = frozenset("accepted approved granted successful succeeded success won reinstated lifted".split())
REFUSED = frozenset("refused rejected not_accepted not_approved denied declined unsuccessful failed lost".split())


def _outcome(data: Mapping[str, Any]) -> str | None:
    """`accepted`, `refused`, or None for what cannot be read: only whole words that leave no doubt are taken, and only
    where they do not contradict each other."""
    said = {data.get("accepted")} if type(data.get("accepted")) is bool else set()
    for name in OUTCOMES:
        word = data.get(name)
        if type(word) is not str:
            continue
        word = word.strip().lower().replace(" ", "_").replace("-", "_").removeprefix("appeal_")
        if word in ACCEPTED or word in REFUSED:
            said.add(word in ACCEPTED)
    if len(said) != 1:
        return None
    return "accepted" if said == {True} else "refused"
