"""Webhook endpoints and their deliveries. What is sent, and how, is the sender's business."""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from orchestrator.sandbox.dialects import types
from orchestrator.sandbox.errors import Refusal
from orchestrator.sandbox.model import Delivery, Endpoint
from orchestrator.sandbox.rest.call import Answer, Call, invalid
from orchestrator.sandbox.rest.views import delivery_view, endpoint_view
from orchestrator.simulate.dialect import Dialect

_Url = Annotated[str, Meta(min_length=1, max_length=2048)]
_Description = Annotated[str, Meta(max_length=500)]


class _Create(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    url: _Url
    events: list[str] = []
    description: _Description | None = None
    enabled: bool = True


class _Update(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    url: _Url | UnsetType = UNSET
    events: list[str] | UnsetType = UNSET
    description: _Description | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET


def events(call: Call) -> Answer:
    """The catalogue; public. TokPortal's own answer was never seen: only its members are documented."""
    catalogue = [
        {"type": type, "description": type.replace(".", " ").replace("_", " "), "emitted": True}
        for type in types(Dialect(call.world.parameters.webhook_dialect))
    ]
    return Answer(
        {
            "events": catalogue,
            "envelope": {"fields": ["id", "type", "api_version", "created_at", "data"]},
            "delivery": {"method": "POST", "content_type": "application/json"},
            "signature": {"header": "TokPortal-Signature", "algorithm": "hmac-sha256", "tolerance_seconds": 300},
        }
    )


def listed(call: Call) -> Answer:
    enabled, event = call.flag("enabled"), call.choice("event")
    rows = [
        endpoint
        for endpoint in call.world.all(Endpoint)
        if enabled in (None, endpoint.enabled) and (event is None or not endpoint.events or event in endpoint.events)
    ]
    return call.page(rows, endpoint_view)


async def create(call: Call) -> Answer:
    """The answer shows the signing secret this once."""
    world = call.world
    wanted = call.read(_Create)
    _check_events(call, wanted.events)
    id = world.new_id("endpoint")
    endpoint = Endpoint(
        id=id,
        url=wanted.url,
        events=wanted.events,
        description=wanted.description,
        enabled=wanted.enabled,
        signing_secret=sha256(f"{world.seed}/signing secret/{id}".encode()).hexdigest(),
        dialect=world.parameters.webhook_dialect,
        created_at=world.now(),
        updated_at=world.now(),
    )
    if not call.dry:
        await world.sender.register(endpoint)
    world.put(endpoint)
    world.changed("endpoint.created", endpoint)
    call.took_effect()
    return Answer({**endpoint_view(endpoint), "signing_secret": endpoint.signing_secret}, status=201)


def shown(call: Call) -> Answer:
    return Answer(endpoint_view(_endpoint(call)))


async def update(call: Call) -> Answer:
    world, endpoint = call.world, _endpoint(call)
    wanted = call.read(_Update)
    if wanted.events is not UNSET:
        _check_events(call, wanted.events)
    members = {name: value for name in wanted.__struct_fields__ if (value := getattr(wanted, name)) is not UNSET}
    if wanted.url not in (UNSET, endpoint.url) and not call.dry:
        await world.sender.register(msgspec.structs.replace(endpoint, url=wanted.url))
        endpoint = _endpoint(call)
    for name, value in members.items():
        setattr(endpoint, name, value)
    endpoint.updated_at = world.now()
    world.put(endpoint)
    world.changed("endpoint.changed", endpoint)
    call.took_effect()
    return Answer(endpoint_view(endpoint))


def delete(call: Call) -> Answer:
    world, endpoint = call.world, _endpoint(call)
    for delivery in world.deliveries_of(endpoint):
        world.remove(delivery)
    world.remove(endpoint)
    world.changed("endpoint.deleted", endpoint)
    call.took_effect()
    return Answer(status=204)


def deliveries(call: Call) -> Answer:
    """Newest first."""
    type, success = call.choice("event_type"), call.flag("success")
    rows = [
        delivery
        for delivery in call.world.deliveries_of(_endpoint(call))
        if type in (None, delivery.event_type) and success in (None, delivery.success)
    ]
    return call.page(rows[::-1], delivery_view)


async def retry(call: Call) -> Answer:
    """The stored body once more, to the endpoint's current URL, signed afresh, under the same event id."""
    world, endpoint = call.world, _endpoint(call)
    delivery = world.find(Delivery, call.path["delivery_id"])
    if delivery is None or delivery.endpoint_id != endpoint.id:
        raise Refusal(404, "WEBHOOK_DELIVERY_NOT_FOUND", f"There is no delivery {call.path['delivery_id']}.")
    if not call.dry:
        delivery = await world.sender.retry(delivery)
    call.took_effect()
    return Answer(delivery_view(delivery))


async def test(call: Call) -> Answer:
    endpoint = _endpoint(call)
    if call.dry:
        return Answer({"endpoint_id": endpoint.id, "event_type": "webhook.test"})
    delivery = await call.world.sender.test(endpoint)
    call.took_effect()
    return Answer(delivery_view(delivery))


def _endpoint(call: Call) -> Endpoint:
    endpoint = call.world.find(Endpoint, call.path["id"])
    if endpoint is None:
        raise Refusal(404, "WEBHOOK_ENDPOINT_NOT_FOUND", f"There is no webhook endpoint {call.path['id']}.")
    return endpoint


def _check_events(call: Call, wanted: list[str]) -> None:
    known = types(Dialect(call.world.parameters.webhook_dialect))
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise invalid(f"events names types that do not exist: {', '.join(unknown)}", field="events", unknown=unknown)
