"""Rows of TokPortal's lists as facts. Pure.

Field names and states are those of TokPortal's documentation. A row may lack any of them, and a word that is not known
here says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from orchestrator.dialects.reading import AHEAD, EARLIEST, is_identifier
from orchestrator.domain.countries import PLATFORMS, country_code
from orchestrator.domain.times import iso
from orchestrator.tokportal.hands.slots import Slot
from orchestrator.tokportal.reads import Answer, Kind, Reads, Row, text_of

Fact = dict[str, Any]
"""As a message of the kind `found` has it: `fact`, `bundle_id`, `account`, `country`, `platform`, `occurred_at`,
`data`, `video`. `is_latest`: it happened at `occurred_at` or before."""


class Readings(Reads, Protocol):
    def credits(self, kind: Kind) -> Answer:
        """`GET /credits/balance`."""
        ...


PUBLISHED: Final = frozenset({"published", "published_priority", "accepted"})
FINISHED: Final = frozenset({"finalized"})
UNFINISHED: Final = frozenset({"pending", "configured", "published", "accepted", "in_review", "pending_corrections"})
"""States of an account that is not delivered yet."""
CLOSED: Final[Mapping[str, str]] = {
    "cancelled": "BundleCancelled",
    "canceled": "BundleCancelled",
    "archived": "BundleArchived",
}
SLOTS: Final[Mapping[str, str]] = {
    "configured": "VideoScheduled",
    "published": "VideoHandedOver",
    "accepted": "VideoHandedOver",
    "in_review": "UploadCompleted",
    "pending_corrections": "CorrectionsRequested",
    "finalized": "VideoPosted",
}
DATED: Final = frozenset({"configured", "published", "accepted"})
"""States of a slot whose day has still a meaning."""
WARMED: Final = frozenset({"completed", "complete", "finished", "done"})
ACTIVE: Final = frozenset({"active", "in_progress", "running", "started"})
OVER: Final = frozenset({"cancelled", "canceled", "failed", "expired", "refunded", "withheld"})
"""Words for the state of a session. TokPortal documents none, so its times count first."""
SLACK: Final = timedelta(hours=1)
"""How far the times of a ban's webhook and of its row may be apart."""


def moment(row: Mapping[str, Any], asked_at: datetime, *names: str) -> str | None:
    """The first of these members that is a possible time, in UTC."""
    for name in names:
        said = text_of(row, name)
        if said is None:
            continue
        try:
            time = datetime.fromisoformat(said)
            if time.tzinfo is not None and EARLIEST <= (time := time.astimezone(UTC)) <= asked_at + AHEAD:
                return iso(time)
        except (ValueError, OverflowError):
            continue
    return None


def name_of(row: Mapping[str, Any], *names: str) -> str | None:
    """The first of these members that can name something."""
    found = text_of(row, *names)
    return found if is_identifier(found) else None


def _word(row: Mapping[str, Any], *names: str) -> str:
    return (text_of(row, *names) or "").strip().lower()


def _fact(name: str, place: Mapping[str, Any], occurred_at: str | None = None, **more: Any) -> Fact:
    return {"fact": name, **place, "occurred_at": occurred_at, **more}


def place_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Bundle, account, country and platform, as far as the row names them."""
    country, platform = text_of(row, "country"), _word(row, "platform")
    return {
        "bundle_id": name_of(row, "bundle_id", "id"),
        "account": name_of(row, "saved_account_id"),
        "country": country_code(country) if country is not None else None,
        "platform": platform if platform in PLATFORMS else None,
    }


def is_whole(row: Mapping[str, Any]) -> bool:
    """Whether the row of a list says all that the bundle's own page does of what matters here."""
    return all(name in row for name in ("saved_account_id", "account_status", "country", "platform"))


def is_delivered(row: Mapping[str, Any]) -> bool:
    """Whether the account is finished. Where its own state is not told, that it exists must do."""
    status = _word(row, "account_status")
    return status in FINISHED or (status not in UNFINISHED and name_of(row, "saved_account_id") is not None)


def bundle_facts(row: Row, asked_at: datetime, sessions: Sequence[Row] | None = None) -> list[Fact]:
    """What the row of a bundle says. That its account is ready is only said with its warming `sessions` beside it (none
    at all, if there were none): else an account might be warmed, and paid for, a second time."""
    place = place_of(row)
    if place["bundle_id"] is None:
        return []
    status = _word(row, "status")
    updated = moment(row, asked_at, "updated_at")
    latest: dict[str, Any] = {"is_latest": True} if updated is not None else {}
    found = [_fact("BundleMentioned", place)]
    created = moment(row, asked_at, "created_at")
    # The account that it has now need not be the one that it was created with.
    found.append(_fact("BundleCreated", {**place, "account": None}, created))
    if sessions is not None:
        found += session_facts(place, sessions, asked_at, created)
        if is_delivered(row):
            username = text_of(row, "username")
            data = {"data": {"username": username}} if username is not None else {}
            found.append(_fact("BundleReady", place, updated, **latest, **data))
    if status in CLOSED:
        found.append(_fact(CLOSED[status], place, updated, **latest))
    elif status in PUBLISHED:
        found.append(_fact("BundlePublished", place, updated, **latest))
    return found


def session_facts(
    place: Mapping[str, Any], sessions: Iterable[Row], asked_at: datetime, created: str | None = None
) -> list[Fact]:
    """When the account began to be warmed last, and when that was completed last; for a bundle that was `created` on an
    account which exists already, since then."""
    began: list[tuple[str, Fact]] = []
    ended: list[tuple[str, Fact]] = []
    for row in sessions:
        status = _word(row, "status")
        started, completed = moment(row, asked_at, "started_at"), moment(row, asked_at, "completed_at")
        if created is not None and (completed or started or created) < created:
            continue
        if (completed is not None and status not in OVER) or status in WARMED:
            ended.append((completed or "", _fact("WarmingCompleted", place, completed)))
        if (started is not None and status not in OVER) or status in ACTIVE:
            began.append((started or "", _fact("WarmingStarted", place, started)))
    last = [max(found, key=lambda one: one[0]) for found in (began, ended) if found]
    return [fact for _, fact in sorted(last, key=lambda one: one[0] or "~")]


def ban_facts(row: Row, bundle: Row | None, asked_at: datetime) -> list[Fact]:
    """What the row of a ban says. `bundle`: the bundle's own row. TokPortal's `account_id` of a ban is the saved
    account's, by the text of its filter; where it is the bundle's listing after all, it tells no account from the one
    that was remade from it."""
    named = name_of(row, "saved_account_id", "account_id")
    if bundle is not None and named is not None and named == text_of(bundle, "account_id"):
        named = name_of(bundle, "saved_account_id")
    place = {"bundle_id": name_of(row, "bundle_id"), "account": named, "country": None, "platform": None}
    if place["bundle_id"] is None and named is None:
        return []
    status = _word(row, "status")
    reported = moment(row, asked_at, "reported_at")
    decided = moment(row, asked_at, "decided_at")
    updated = moment(row, asked_at, "updated_at")
    said = {"id": name_of(row, "id"), "appeal_status": status, "username": text_of(row, "username")}
    data: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    if (reason := text_of(row, "reason")) is not None:
        data["reason"] = reason
    if status == "appeal_pending":
        return [_fact("AppealSubmitted", place, reported or updated, data=data)]
    if status == "appeal_accepted":
        return [_fact("AppealResolved", place, decided or updated, data={**data, "outcome": "accepted"})]
    if status in ("appeal_refused", "no_appeal_banned"):
        times = [datetime.fromisoformat(time) for time in (reported, decided, updated) if time is not None]
        if times:
            data["within"] = [iso(min(times) - SLACK), iso(max(times) + SLACK)]
        return [_fact("BundleBanned", place, decided or reported, data=data)]
    return []


def slot_facts(bundle_id: str, rows: Iterable[Row], asked_at: datetime) -> list[Fact]:
    """What the slots of a bundle say of the videos in them."""
    place = {"bundle_id": bundle_id, "account": None, "country": None, "platform": None}
    found: list[Fact] = []
    for row in rows:
        slot = Slot.of(row)
        if slot is None or slot.status not in SLOTS:
            continue
        vendor_id = slot.video_id if is_identifier(slot.video_id) else None
        reference = slot.external_ref if is_identifier(slot.external_ref) else None
        video = {"external_ref": reference, "vendor_id": vendor_id, "position": slot.position}
        updated = moment(row, asked_at, "updated_at")
        latest: dict[str, Any] = {"is_latest": True} if updated is not None else {}
        name = SLOTS[slot.status]
        if name == "VideoPosted" or slot.url is not None:
            review = "final" if slot.status == "finalized" else "open"
            posted = moment(row, asked_at, "posted_at")
            since = {} if posted is not None else latest
            data = {"url": slot.url, "review": review}
            found.append(_fact("VideoPosted", place, posted or updated, data=data, video=video, **since))
        if name not in ("VideoPosted", "UploadCompleted") or (slot.url is None and name != "VideoPosted"):
            day = {"target_day": slot.target_day} if slot.status in DATED and slot.target_day is not None else {}
            found.append(_fact(name, place, updated, data=day, video=video, **latest))
    return found


def account_facts(rows: Iterable[Row]) -> list[Fact]:
    """Where accounts are, and their names. What TokPortal's own scan says of bans is no ban (its documentation)."""
    found = []
    for row in rows:
        account = name_of(row, "id", "saved_account_id")
        username = text_of(row, "username")
        if account is not None:
            place = {**place_of({**row, "id": None, "bundle_id": None}), "account": account}
            found.append(_fact("BundleMentioned", place, data={"username": username} if username else {}))
    return found
