"""TokPortal's API as this program uses it: each call counted, sent through the SDK, and its answer made plain."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from tokportal.client import TokPortal, TokPortalApiError

from orchestrator.clock import Clock
from orchestrator.commands.executor import TryAgain
from orchestrator.domain.times import iso
from orchestrator.secrets import Secret
from orchestrator.tokportal.budget import Budget
from orchestrator.tokportal.operations import Cost, operation
from orchestrator.tokportal.reads import Answer, Kind, Page, Row, Standing, text_of
from orchestrator.tokportal.transport import AnswerLost, Call, NotSent, Transport, calling

logger = logging.getLogger(__name__)

PER_PAGE: Final = 100
"""Rows a page: the most that TokPortal gives (its documentation)."""
PATIENCE: Final = 1.0
"""Seconds of real time that a call waits for the quota itself. Whoever has longer to wait comes back later."""
RATE_LIMIT_WAIT: Final = 2.0
"""Seconds, where TokPortal refused a request for its rate and did not say for how long."""
COOLDOWN_WAIT: Final = 60.0
"""Seconds, where it refused one with `capacity_cooldown` and did not say for how long."""
KEY_WAIT: Final = 60.0
"""Seconds after which a key that TokPortal did not accept is tried again: somebody may be mending it."""
LONGEST_OUTAGE_WAIT: Final = 60.0
FEW: Final = 3
LONGEST_MESSAGE: Final = 500
"""Characters."""
LONGEST_DETAILS: Final = 8_000
"""Characters as JSON. More is no explanation, and every refusal is kept for ever."""
MOST_WALKS: Final = 3
TOO_EARLY: Final = 425

Path = Mapping[str, str | int]


class Refused(Exception):
    """TokPortal answered with an error: nothing happened, and the same request would get the same answer.

    `code` is TokPortal's, or `HTTP_` and the status where it gave none; `details` as it sent them.
    """

    def __init__(self, code: str, message: str, status: int, details: Row, asked_at: datetime) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.details = details
        self.asked_at = asked_at


class KeyRefused(TryAgain):
    """TokPortal does not accept the key. `code`: AUTH_MISSING_KEY, AUTH_INVALID_KEY, AUTH_REVOKED_KEY."""

    def __init__(self, code: str) -> None:
        super().__init__(f"TokPortal does not accept the key ({code})", after=KEY_WAIT)
        self.code = code


class Unreachable(TryAgain):
    """The request could not even be sent."""


class Client:
    """Safe to share by threads. Implements `orchestrator.tokportal.reads.Reads`.

    Args:
        base_url: of the API.
        key: TokPortal's.
        budget: None: requests are not counted, for a few that a person asks for.
        speed: seconds of the world in a real one, for waits.
    """

    def __init__(
        self,
        base_url: str,
        key: Secret,
        budget: Budget | None,
        clock: Clock,
        *,
        speed: float = 1.0,
        transport: Transport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._transport = transport or Transport(base_url, key)
        self._sdk = TokPortal(key.reveal(), base_url, self._transport)
        self._budget = budget
        self._clock = clock
        self._speed = speed
        self._sleep = sleep
        self._outage = 0
        self._standing = Standing()
        self._lock = threading.Lock()

    def close(self) -> None:
        self._transport.close()

    # Calls.

    def call(
        self,
        name: str,
        kind: Kind,
        path: Path | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        body: Row | None = None,
        key: str | None = None,
        dry_run: bool = False,
    ) -> tuple[Answer, Call]:
        """One request. `key`: what the idempotency key is derived from, for a write that takes one: the same request
        for the same `key` carries the same idempotency key, and any other request another one.

        Raises:
            TryAgain: nothing happened.
            AnswerLost: a write was sent, and nobody knows what came of it. (A read is `TryAgain` then.)
            Refused: TokPortal does not do it.
            ForbiddenOperation: this program does not do it.
        """
        known = operation(name)
        if known.cost is not Cost.FREE and not dry_run and key is None:
            raise ValueError(f"{name} is {known.cost}, and goes out with an idempotency key only")
        self._await_quota(kind, name)
        asked_at = self._clock.now()
        call = Call(name, _request_id(key, name, asked_at), dry_run)
        idempotency_key = None
        if key is not None and known.takes_key and not dry_run:
            idempotency_key = derived_key(key, name, path, body)
        try:
            with calling(call):
                if self._budget is None:
                    said = self._send(name, path, query, body, idempotency_key)
                else:
                    with self._budget.under_way():
                        try:
                            said = self._send(name, path, query, body, idempotency_key)
                        finally:
                            if call.remaining is not None:
                                self._budget.correct(call.remaining)
        except NotSent as error:
            self._note_trouble(asked_at, said := f"TokPortal cannot be reached: {error}")
            raise Unreachable(said, after=self._outage_wait()) from None
        except AnswerLost as error:
            self._note_trouble(asked_at, said := f"TokPortal did not answer: {error}")
            if known.writes and not dry_run:
                raise
            raise TryAgain(said, after=self._trouble_wait()) from None
        except TokPortalApiError as error:
            raise self._meaning(error, call, asked_at, writes=known.writes and not dry_run) from None
        self._end_outage()
        answer = said if isinstance(said, dict) else {}
        data = answer.get("data")
        return Answer(data if isinstance(data, dict) else {}, asked_at, answer), call

    def _send(
        self, name: str, path: Path | None, query: Mapping[str, Any] | None, body: Row | None, key: str | None
    ) -> Row | str:
        # By its id, never by the SDK's helpers: only this way does the SDK quote what stands in a path, and it has no
        # helper at all for bans, warming and a page of slots.
        return self._sdk.request_operation(name, path, query, body, idempotency_key=key)

    def _await_quota(self, kind: Kind, name: str) -> None:
        if self._budget is None:
            return
        patience = PATIENCE
        while (wait := self._take(self._budget, kind, name)) > 0:
            real = wait / self._speed
            if real > patience:
                raise TryAgain("the quota of requests at TokPortal is used up", after=wait)
            # A fast world's wait may be shorter than any sleep: it must come to an end all the same.
            real = max(real, 0.001)
            self._sleep(real)
            patience -= real

    @staticmethod
    def _take(budget: Budget, kind: Kind, name: str) -> float:
        try:
            return budget.take(kind, name)
        except sa.exc.SQLAlchemyError as error:
            raise TryAgain(f"the quota cannot be counted: {type(error).__name__}") from error

    def _meaning(self, error: TokPortalApiError, call: Call, asked_at: datetime, *, writes: bool) -> Exception:
        status = error.status
        details = error.details or {}
        code = error.code or f"HTTP_{status}"
        message = " ".join(str(error).split())[:LONGEST_MESSAGE]
        if status == 429:
            return self._limited(code, call, details)
        if status == 401:
            logger.error("TokPortal does not accept the key: %s", code, extra={"request_id": call.answered_id})
            refusal = KeyRefused(code)
            self._note_trouble(asked_at, str(refusal))
            return refusal
        if status == TOO_EARLY:
            return TryAgain(f"TokPortal asks for another try ({code})")
        is_in_flight = writes and status in (409, 422) and code.upper().startswith("IDEMPOTENCY")
        if status == 408 or status >= 500 or status < 400 or is_in_flight:
            said = f"TokPortal answered {status} ({code}): {message}"
            if not is_in_flight:
                self._note_trouble(asked_at, said)
            return AnswerLost(said) if writes else TryAgain(said, after=_seconds(call, details) or self._trouble_wait())
        self._end_outage()
        return Refused(code, message, status, _short(details), asked_at)

    def _limited(self, code: str, call: Call, details: Mapping[str, Any]) -> TryAgain:
        wait = _seconds(call, details)
        if code.lower() == "capacity_cooldown":
            wait = wait or COOLDOWN_WAIT
            if self._budget is not None:
                self._budget.cool_down(call.what, wait)
            return TryAgain("TokPortal's capacity is used up for now (capacity_cooldown)", after=wait)
        wait = wait or RATE_LIMIT_WAIT
        if self._budget is not None:
            self._budget.close(wait)
        return TryAgain(f"TokPortal takes no more requests for now ({code})", after=wait)

    def _outage_wait(self) -> float:
        """Seconds of the world. That a request cannot even be sent is no fault of the request's, so that it is not
        counted against it; the wait doubles instead."""
        with self._lock:
            self._outage += 1
            return float(min(2.0 ** min(self._outage, 10), LONGEST_OUTAGE_WAIT)) * self._speed

    def _trouble_wait(self) -> float | None:
        """The same for a read that was sent and not answered well. The first few may be about what was asked for, and
        count as attempts; where nothing else is answered in between either, it is TokPortal that is out of order."""
        wait = self._outage_wait()
        return wait if self._outage > FEW else None

    def _end_outage(self) -> None:
        with self._lock:
            self._outage = 0
            self._standing = Standing(has_answered=True)

    def _note_trouble(self, asked_at: datetime, why: str) -> None:
        with self._lock:
            since = self._standing.failing_since or asked_at
            self._standing = replace(self._standing, failing_since=since, why=why)

    def standing(self) -> Standing:
        known = self._standing
        if known.failing_since is None:
            return known
        lasted = (self._clock.now() - known.failing_since).total_seconds() / self._speed
        return replace(known, seconds=lasted)

    def price(self, name: str, kind: Kind, path: Path | None, body: Row | None) -> int:
        """What a call would cost, in credits, by a dry run: TokPortal checks and prices it, and does nothing.

        Raises `TryAgain`, also where the answer names no price; `Refused`; `AnswerLost` where something on the way took
        the header away, so that it was carried out.
        """
        answer, _ = self.call(name, kind, path, body=body, dry_run=True)
        said = {**answer.data, **answer.body}
        charged = said.get("credits_charged")
        if said.get("dry_run") is not True or (isinstance(charged, int) and charged > 0):
            raise AnswerLost("TokPortal did not take it for a dry run: it may have been carried out")
        price = said.get("credits_would_charge")
        if isinstance(price, bool) or not isinstance(price, int | float) or price < 0:
            raise TryAgain("TokPortal's dry run names no price")
        return int(-(-price // 1))

    # Reads.

    def me(self, kind: Kind) -> tuple[Answer, Call]:
        """`GET /me`, and the call, whose headers show the clock and the quota."""
        return self.call("getCurrentUser", kind)

    def credits(self, kind: Kind) -> Answer:
        """`GET /credits/balance`."""
        return self.call("getCreditBalance", kind)[0]

    def bundles(self, kind: Kind, page: int = 1, **filters: Any) -> Page:
        return self._page("listBundles", kind, None, page, filters)

    def bundle(self, kind: Kind, bundle_id: str) -> Answer | None:
        return self._one("getBundle", kind, bundle_id)

    def slots(self, kind: Kind, bundle_id: str) -> Page:
        """The SDK's table gives this list no pages. Should TokPortal page it all the same, it is read page by page,
        from the first one again: how long that was is not known."""
        first = self._page("listBundleVideos", kind, {"id": bundle_id}, None, {})
        if first.is_last and (first.total is None or len(first.rows) >= first.total):
            return first
        pages = [self._page("listBundleVideos", kind, {"id": bundle_id}, 1, {})]
        while not pages[-1].is_last:
            pages.append(self._page("listBundleVideos", kind, {"id": bundle_id}, len(pages) + 1, {}))
        rows = tuple(_distinct(row for page in pages for row in page.rows))
        return Page(rows, first.asked_at, 1, True, len(rows))

    def accounts(self, kind: Kind, page: int = 1, **filters: Any) -> Page:
        return self._page("listAccounts", kind, None, page, filters)

    def bans(self, kind: Kind, page: int = 1, since: datetime | None = None, **filters: Any) -> Page:
        """The SDK has no helper for this one."""
        if since is not None:
            filters["since"] = iso(since)
        return self._page("listAccountBans", kind, None, page, filters)

    def warming_sessions(self, kind: Kind, account: str) -> Page:
        """The SDK has no helper for this one."""
        return self._page("listAccountWarmingSessions", kind, {"id": account}, None, {})

    def events(self, kind: Kind) -> Page:
        return self._page("listWebhookEvents", kind, None, None, {})

    def endpoints(self, kind: Kind, page: int = 1, **filters: Any) -> Page:
        return self._page("listWebhookEndpoints", kind, None, page, filters)

    def deliveries(self, kind: Kind, endpoint_id: str, page: int = 1, **filters: Any) -> Page:
        return self._page("listWebhookDeliveries", kind, {"id": endpoint_id}, page, filters)

    def retry_delivery(self, kind: Kind, endpoint_id: str, delivery_id: str, key: str) -> Answer:
        path = {"id": endpoint_id, "delivery_id": delivery_id}
        try:
            return self.call("retryWebhookDelivery", kind, path, key=key)[0]
        except AnswerLost as error:
            raise TryAgain(f"TokPortal did not answer: {error}") from None

    def analytics(self, kind: Kind, video_id: str) -> Answer | None:
        return self._one("getVideoAnalytics", kind, video_id)

    def walk(self, page: Callable[[int], Page]) -> Iterator[Row]:
        """Every row of a list, each once, read page by page; `page` reads the one of a number.

        A list that changes meanwhile moves rows from page to page. What comes twice is given once; where rows are
        missing at the end, or the total has changed, it is walked again, a few times at most.
        """
        seen: set[str] = set()
        for _ in range(MOST_WALKS):
            totals: set[int | None] = set()
            number, is_last = 1, False
            while not is_last:
                found = page(number)
                totals.add(found.total)
                for row in found.rows:
                    if (name := _name(row)) not in seen:
                        seen.add(name)
                        yield row
                number, is_last = number + 1, found.is_last
            total = totals.pop() if len(totals) == 1 else -1
            if total is None or (total >= 0 and len(seen) >= total):
                return

    def _one(self, name: str, kind: Kind, found: str) -> Answer | None:
        try:
            return self.call(name, kind, {"id": found})[0]
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def _page(self, name: str, kind: Kind, path: Path | None, number: int | None, filters: Mapping[str, Any]) -> Page:
        query = {key: str(value).lower() if isinstance(value, bool) else value for key, value in filters.items()}
        if number is not None:
            query |= {"page": number, "per_page": PER_PAGE}
        answer, _ = self.call(name, kind, path, query=query)
        rows = _rows(answer.body)
        paging = answer.body.get("pagination")
        paging = paging if isinstance(paging, dict) else {}
        pages, total = _whole(paging, "total_pages"), _whole(paging, "total")
        is_last = not rows or (number or 1) >= pages if pages is not None else number is None or len(rows) < PER_PAGE
        return Page(rows, answer.asked_at, number or 1, is_last, total)


def derived_key(key: str, name: str, path: Path | None, body: Row | None) -> str:
    """TokPortal takes an idempotency key for the identical request only (its documentation), and which slot a command
    goes to is found out anew at each attempt: so the request is part of the key."""
    said = json.dumps([name, dict(path or {}), body], sort_keys=True, separators=(",", ":"))
    return f"{key}-{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def _request_id(key: str | None, name: str, at: datetime) -> str:
    """In TokPortal's own form. That of a write can be found again by whoever knows its command and the moment."""
    if key is None:
        return f"req_{secrets.token_hex(16)}"
    return f"req_{hashlib.sha256(f'{key} {name} {at.isoformat()}'.encode()).hexdigest()[:32]}"


def _rows(body: Mapping[str, Any]) -> tuple[Row, ...]:
    """The rows of a list: `data`, or the one list in it (`GET /webhooks/events` has `data.events`)."""
    data = body.get("data")
    if isinstance(data, dict):
        lists = [value for value in data.values() if isinstance(value, list)]
        data = lists[0] if len(lists) == 1 else data.get("events")
    return tuple(row for row in data if isinstance(row, dict)) if isinstance(data, list) else ()


def _distinct(rows: Iterator[Row]) -> Iterator[Row]:
    """Rows of slots: a slot is told from the others of its bundle by its position."""
    seen: set[object] = set()
    for row in rows:
        if (name := row.get("position") or _name(row)) not in seen:
            seen.add(name)
            yield row


def _name(row: Row) -> str:
    """What tells a row from the others of its list."""
    return text_of(row, "id", "bundle_id", "video_id", "type") or json.dumps(row, sort_keys=True, default=str)


def _short(details: Mapping[str, Any]) -> Row:
    if len(json.dumps(details, default=str)) <= LONGEST_DETAILS:
        return dict(details)
    return {"request_id": details.get("request_id"), "shortened": True}


def _whole(members: Mapping[str, Any], name: str) -> int | None:
    value = members.get(name)
    return value if type(value) is int and value >= 0 else None


def _seconds(call: Call, details: Mapping[str, Any]) -> float | None:
    """How long TokPortal wants to be left alone: by the header first, which its documentation prefers."""
    if call.retry_after is not None:
        return float(call.retry_after)
    value = details.get("retry_after_seconds")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else None
