"""What nobody can ask the real TokPortal: the truth, and events, bans and faults on request. For loopback only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator.clock import instant_of
from orchestrator.sandbox.dialects import Subject, UnknownEventError
from orchestrator.sandbox.errors import Refusal
from orchestrator.sandbox.faults import FaultSettings
from orchestrator.sandbox.founding import Founding
from orchestrator.sandbox.habits import Habits, Managing, Sending
from orchestrator.sandbox.life import Life
from orchestrator.sandbox.model import Ban, Bundle, Delivery, Row, SavedAccount, Slot
from orchestrator.sandbox.parameters import Parameters
from orchestrator.sandbox.rest.views import ban_view, bundle_view, slot_view
from orchestrator.simulate.dialect import Dialect
from orchestrator.simulate.wire import iso

T = TypeVar("T")
Json = dict[str, Any]
Advance = Callable[[float], None]

_TIMES: Final = frozenset({"at", "created_at", "updated_at", "posted_at"})


class EventOrder(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An event to be sent, true or not. What a known bundle or slot says is taken from it; the rest is as given."""

    type: str
    dialect: str | None = None
    """None: to endpoints of either dialect that has the event."""
    endpoint_id: str | None = None
    event_id: str | None = None
    at: datetime | None = None
    bundle_id: str | None = None
    video_id: str | None = None
    position: int | None = None
    external_ref: str | None = None
    saved_account_id: str | None = None
    country: str | None = None
    platform: str | None = None
    data: Json = {}


class BanOrder(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Bans now: a number of accounts of a country, or the account of one bundle."""

    country: str | None = None
    platform: str | None = None
    count: int = 1
    bundle_id: str | None = None
    saved_account_id: str | None = None
    appeal: bool = False
    reason: str | None = None


class Behaviour(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    parameters: Parameters
    managers: Managing
    webhooks: Sending


class Advancing(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    seconds: float


class Admin:
    """The routes under /sandbox. They are no part of TokPortal."""

    def __init__(self, life: Life, advance: Advance | None = None) -> None:
        """
        Args:
            advance: moves a clock that moves by hand.
        """
        self._life = life
        self._world = life.world
        self._advance = advance

    def routes(self) -> list[Route]:
        return [
            self._route("GET", "/sandbox/truth", self.truth),
            self._route("GET", "/sandbox/faults", self.faults),
            self._route("PATCH", "/sandbox/faults", self.change_faults),
            self._route("GET", "/sandbox/parameters", self.parameters),
            self._route("PATCH", "/sandbox/parameters", self.change_parameters),
            self._route("POST", "/sandbox/events", self.send_event),
            self._route("POST", "/sandbox/bans", self.ban),
            self._route("POST", "/sandbox/bundles", self.found),
            self._route("POST", "/sandbox/advance", self.advance),
        ]

    def _route(self, method: str, path: str, handler: Callable[[Request, bytes], Json]) -> Route:
        async def endpoint(request: Request) -> Response:
            body = await request.body()
            try:
                _require_loopback(request)
                # Whoever asks for the truth wants that of now.
                self._world.run_due()
                self._world.save()
                content = handler(request, body)
            except Refusal as refusal:
                self._world.undo()
                return _answer(refusal.body(), refusal.status)
            self._world.save()
            self._life.sender.pump()
            return _answer(content)

        async_endpoint: Callable[[Request], Awaitable[Response]] = endpoint
        return Route(path, async_endpoint, methods=[method])

    def truth(self, request: Request, body: bytes) -> Json:
        """Everything that is so, whatever anybody was told. `?bundle_id=` narrows bundles, slots and posts."""
        world = self._world
        only = request.query_params.get("bundle_id")
        bundles = [bundle for bundle in world.bundles() if only in (None, bundle.id)]
        return {
            "now": iso(instant_of(world.now())),
            "seed": world.seed,
            "dialect": world.parameters.webhook_dialect,
            "credits": world.credits,
            "counters": dict(world.counters),
            "bundles": [bundle_view(world, bundle) for bundle in bundles],
            "slots": [
                slot_view(slot) for bundle in bundles for slot in world.slots_of(bundle) if slot.status != "pending"
            ],
            "posts": [_plain(post) for post in self._life.posts if only in (None, post.bundle_id)],
            "bans": [ban_view(ban) for ban in world.all(Ban)],
            "effects": [_plain(effect) for effect in world.effects],
            "doubles": [[_plain(effect) for effect in group] for group in world.doubles()],
            "violations": [_plain(violation) for violation in world.violations],
            "deliveries": self._delivered(),
        }

    def _delivered(self) -> Json:
        deliveries = list(self._world.all(Delivery))
        return {
            "total": len(deliveries),
            "delivered": sum(delivery.success for delivery in deliveries),
            "waiting": sum(delivery.next_attempt_at is not None for delivery in deliveries),
        }

    def faults(self, request: Request, body: bytes) -> Json:
        return _builtins(self._life.fault_settings)

    def change_faults(self, request: Request, body: bytes) -> Json:
        """Members that are given replace those that were; lists as a whole."""
        self._life.fault_settings = _patched(self._life.fault_settings, body, FaultSettings)
        return self.faults(request, body)

    def parameters(self, request: Request, body: bytes) -> Json:
        return _builtins(self._behaviour())

    def change_parameters(self, request: Request, body: bytes) -> Json:
        """`parameters`, `managers` and `webhooks`: members that are given replace those that were."""
        wanted = _patched(self._behaviour(), body, Behaviour)
        self._life.parameters = wanted.parameters
        self._life.habits = Habits(managers=wanted.managers, webhooks=wanted.webhooks)
        return self.parameters(request, body)

    def _behaviour(self) -> Behaviour:
        habits = self._life.habits
        return Behaviour(parameters=self._life.parameters, managers=habits.managers, webhooks=habits.webhooks)

    def send_event(self, request: Request, body: bytes) -> Json:
        order = _read(body, EventOrder)
        if order.at is not None and order.at.tzinfo is None:
            raise _invalid("at needs an offset from UTC, such as a Z at its end")
        try:
            dialect = Dialect(order.dialect) if order.dialect is not None else None
        except ValueError:
            raise _invalid(f"dialect must be article or 2026-05-25, not {order.dialect!r}") from None
        try:
            deliveries = self._life.herald.request(
                order.type,
                self._subject(order),
                order.data,
                dialect=dialect,
                endpoint_id=order.endpoint_id,
                event_id=order.event_id,
                at=order.at.astimezone(UTC) if order.at is not None else None,
            )
        except UnknownEventError as error:
            raise _invalid(str(error)) from None
        return {
            "deliveries": [
                {"id": delivery.id, "endpoint_id": delivery.endpoint_id, "event_id": delivery.event_id}
                for delivery in deliveries
            ]
        }

    def _subject(self, order: EventOrder) -> Subject:
        slot = self._world.find(Slot, order.video_id)
        bundle = self._world.find(Bundle, slot.bundle_id if slot is not None else order.bundle_id)
        if slot is None and bundle is not None and order.position is not None:
            slot = self._world.slot(bundle, order.position)
        known = self._life.herald.subject(bundle, slot) if bundle is not None else Subject(bundle_id="bdl_unknown")
        names = ("bundle_id", "video_id", "position", "external_ref", "saved_account_id", "country", "platform")
        given = {name: value for name in names if (value := getattr(order, name)) is not None}
        return msgspec.structs.replace(known, **given)

    def ban(self, request: Request, body: bytes) -> Json:
        order = _read(body, BanOrder)
        bans = self._life.managers.bans
        bundle = self._world.find(Bundle, order.bundle_id)
        account = self._world.find(SavedAccount, bundle.saved_account_id if bundle else order.saved_account_id)
        if account is not None:
            ban = bans.ban(account, appeal=order.appeal, reason=order.reason)
            done = [ban] if ban is not None else []
        elif order.country is not None and order.bundle_id is None and order.saved_account_id is None:
            done = bans.ban_some(order.country, order.count, platform=order.platform, appeal=order.appeal)
        else:
            raise _invalid("name a country, or a bundle or account that exists and is delivered")
        return {"banned": len(done), "bans": [ban_view(ban) for ban in done]}

    def found(self, request: Request, body: bytes) -> Json:
        founding = _read(body, Founding)
        try:
            bundle_ids = self._life.founder.found(founding)
        except ValueError as error:
            raise _invalid(str(error)) from None
        self._world.run_due()
        return {"bundle_ids": bundle_ids}

    def advance(self, request: Request, body: bytes) -> Json:
        seconds = _read(body, Advancing).seconds
        if self._advance is None:
            raise Refusal(409, "CLOCK_RUNS", "This world's clock runs by itself.")
        if seconds < 0:
            raise _invalid("seconds must not be below 0")
        self._advance(seconds)
        self._world.run_due()
        return {"now": iso(instant_of(self._world.now()))}


def _require_loopback(request: Request) -> None:
    """Another machine must not get here, and neither must a page in a browser that was given another name for it."""
    peer = request.client.host if request.client is not None else ""
    host = request.url.hostname or ""
    if not (_is_loopback(peer) and _is_loopback(host)):
        raise Refusal(403, "LOOPBACK_ONLY", "These routes answer to this machine only, by a loopback address.")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _answer(content: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def _plain(row: Row) -> Json:
    """A row with its times as people read them."""
    return {
        name: iso(instant_of(value)) if name in _TIMES and isinstance(value, int) else value
        for name, value in msgspec.to_builtins(row).items()
    }


def _builtins(value: Any) -> Json:
    content: Json = msgspec.to_builtins(value)
    return content


def _read(body: bytes, form: type[T]) -> T:
    try:
        return msgspec.json.decode(body or b"{}", type=form)
    except (msgspec.DecodeError, ValueError) as error:
        raise _invalid(str(error)) from None


def _patched(known: Any, body: bytes, form: type[T]) -> T:
    change = _read(body, dict[str, Any])
    try:
        return msgspec.convert(_merged(_builtins(known), change), form)
    except ValueError as error:
        raise _invalid(str(error)) from None


def _merged(known: Mapping[str, Any], change: Mapping[str, Any]) -> Json:
    merged = dict(known)
    for name, value in change.items():
        before = merged.get(name)
        merged[name] = _merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged


def _invalid(message: str) -> Refusal:
    return Refusal(400, "VALIDATION_ERROR", message)
