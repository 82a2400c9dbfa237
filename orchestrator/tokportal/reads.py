"""What can be read at TokPortal, for whoever compares it with what is known here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

Kind = Literal["recovery", "ordinary", "sweep"]
"""On whose account a request goes: a recovery that somebody waits for, ordinary work, or a routine sweep."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What TokPortal said. `asked_at` is the world's time when the request was sent: whatever it says was true then or
    later. `data` is the answer's member of that name, `body` the whole answer, since money stands beside `data`."""

    data: Row
    asked_at: datetime
    body: Row


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, by TokPortal's paging: numbered from 1, without a cursor, so that a list which changes
    meanwhile may repeat rows or skip them. `total` is None where the answer did not say."""

    rows: tuple[Row, ...]
    asked_at: datetime
    number: int
    is_last: bool
    total: int | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How TokPortal has been answering. `failing_since`: when the first request was sent of those that came to nothing
    since the last good answer; None while it answers. `seconds`: real ones since then. `why`: of the last of them.
    `has_answered`: whether there was any good answer yet."""

    has_answered: bool = False
    failing_since: datetime | None = None
    seconds: float = 0.0
    why: str = ""


class Reads(Protocol):
    """Every method raises `TryAgain` where TokPortal or the quota does not allow an answer now (`after` says how long
    that will last, in seconds of the world), and `Refused` for any other answer with an error. Each costs one request;
    a list that is asked for page by page costs one a page."""

    def standing(self) -> Standing:
        """By the requests of everybody who shares this; costs none."""
        ...

    def bundles(self, kind: Kind, page: int = 1, **filters: Any) -> Page:
        """`GET /bundles`. Filters by TokPortal's names: status, bundle_type, platform, external_ref, account_status."""
        ...

    def bundle(self, kind: Kind, bundle_id: str) -> Answer | None:
        """`GET /bundles/{id}`; None if TokPortal knows no such bundle."""
        ...

    def slots(self, kind: Kind, bundle_id: str) -> Page:
        """`GET /bundles/{id}/videos`: every slot of a bundle, as one page."""
        ...

    def accounts(self, kind: Kind, page: int = 1, **filters: Any) -> Page:
        """`GET /accounts`. Filters: platform, country, banned."""
        ...

    def bans(self, kind: Kind, page: int = 1, since: datetime | None = None, **filters: Any) -> Page:
        """`GET /account-bans`, with an `updated_at` of `since` or later. Filters: status, resolution, account_id."""
        ...

    def warming_sessions(self, kind: Kind, account: str) -> Page:
        """`GET /accounts/{id}/warming-sessions`."""
        ...

    def events(self, kind: Kind) -> Page:
        """`GET /webhooks/events`: the types of events that TokPortal sends."""
        ...

    def endpoints(self, kind: Kind, page: int = 1, **filters: Any) -> Page:
        """`GET /webhooks`. Filters: enabled, event."""
        ...

    def deliveries(self, kind: Kind, endpoint_id: str, page: int = 1, **filters: Any) -> Page:
        """`GET /webhooks/{id}/deliveries`. Filters: event_type, success."""
        ...

    def retry_delivery(self, kind: Kind, endpoint_id: str, delivery_id: str, key: str) -> Answer:
        """`POST /webhooks/{id}/deliveries/{delivery_id}/retry`: the stored payload is sent again, freshly signed, with
        the same event id, so that one too many does no harm. `key`: the idempotency key; another one for each time that
        a retry is wanted. Raises `TryAgain` also where the answer was lost."""
        ...

    def analytics(self, kind: Kind, video_id: str) -> Answer | None:
        """`GET /videos/{id}/analytics`, by TokPortal's id of the video; None if there is nothing (yet)."""
        ...


def text_of(row: Mapping[str, Any], *names: str) -> str | None:
    """The first of these members that is a text with something in it."""
    for name in names:
        value = row.get(name)
        if isinstance(value, str) and value:
            return value
    return None
