"""The webhooks that TokPortal sends, as far as their form goes: envelopes in both dialects, and the data of the public
one.

The vendor published samples of `bundle.published`, `account.finalized`, `account.banned` and `video.finalized`; the
other shapes follow them and its field notes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from orchestrator.simulate.dialect import Dialect

Data = dict[str, Any]

COUNTRY_CODES: Final[Mapping[str, str]] = {"US": "USA", "GB": "UK"}
"""Countries that the vendor's canonical list writes in codes of its own; the rest are ISO 3166 alpha-2."""
TEST: Final = "This is a test event"


class Named(Protocol):
    """A bundle and the account in it, under the names that TokPortal has for them."""

    @property
    def bundle_id(self) -> str: ...

    @property
    def account_id(self) -> str | None: ...

    @property
    def saved_account_id(self) -> str | None: ...

    @property
    def username(self) -> str | None: ...

    @property
    def platform(self) -> str: ...

    @property
    def country(self) -> str: ...


def iso(at: datetime) -> str:
    """`at` as the vendor writes times: UTC, milliseconds, `Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def envelope(dialect: Dialect, type: str, event_id: str, at: datetime, of: Named, data: Data) -> Data:
    if dialect is Dialect.PUBLIC:
        return {"id": event_id, "type": type, "api_version": dialect.value, "created_at": iso(at), "data": data}
    return {
        "id": event_id,
        "event": type,
        "timestamp": iso(at),
        "bundle_id": of.bundle_id,
        "platform": of.platform,
        "country": of.country,
        "data": data,
    }


def bundle(of: Named, status: str, external_ref: str | None, bundle_type: str) -> Data:
    return {
        "bundle_id": of.bundle_id,
        "external_ref": external_ref,
        "status": status,
        "platform": of.platform,
        "bundle_type": bundle_type,
    }


def listing(of: Named, status: str, previous: str, *, saved: bool) -> Data:
    """`saved`: whether the account has been through its first review, which gives it an id of its own."""
    return {
        "account_id": of.account_id,
        "saved_account_id": of.saved_account_id if saved else None,
        "bundle_id": of.bundle_id,
        "username": of.username,
        "platform": of.platform,
        "status": status,
        "previous_status": previous,
    }


def saved(of: Named) -> Data:
    return {
        "bundle_id": of.bundle_id,
        "saved_account_id": of.saved_account_id,
        "username": of.username,
        "platform": of.platform,
    }


def slot(
    of: Named, video_id: str | None, position: int | None, status: str, previous: str, platform_url: str | None
) -> Data:
    return {
        "video_id": video_id,
        "bundle_id": of.bundle_id,
        "position": position,
        "status": status,
        "previous_status": previous,
        "platform_url": platform_url,
    }


def session(of: Named, session_id: str | None, status: str, total: int, verified: int, at: datetime) -> Data:
    return {
        "session_id": session_id,
        "bundle_id": of.bundle_id,
        "saved_account_id": of.saved_account_id,
        "platform": of.platform,
        "status": status,
        "terms_total": total,
        "terms_verified": verified,
        "completed_at": iso(at) if status == "completed" else None,
    }


def coverage(of: Named, status: str, at: datetime) -> Data:
    """A period of coverage lasts 30 days (the vendor's price list)."""
    end = at + timedelta(days=30) if status == "active" else at
    return {"saved_account_id": of.saved_account_id, "status": status, "current_period_end": iso(end)}


def resolution(of: Named, decided: str, reason_code: str) -> Data:
    return saved(of) | {"resolution": decided, "reason_code": reason_code, "refund_credits": 0}


def restored(of: Named, at: datetime) -> Data:
    """Credits that are given back expire after 60 days (the vendor's skill on monitoring)."""
    return saved(of) | {"credits": 32, "expires_at": iso(at + timedelta(days=60))}
