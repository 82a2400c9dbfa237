"""What the life of a world gives to its REST side: a sender of webhooks, and faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from orchestrator.sandbox.model import Delivery, Endpoint

if TYPE_CHECKING:
    from orchestrator.sandbox.world import World


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """How one request goes wrong.

    `error`: answered with `status`, nothing happens. `drop`: takes effect, then the connection breaks without an
    answer. `timeout`: takes effect, then nothing is answered for `seconds` and the connection breaks. `late_error`:
    takes effect and is answered with `status` all the same. `slow`: answered well, `seconds` later.
    Seconds are of the real time: time-outs of clients are, too.
    """

    kind: Literal["error", "drop", "timeout", "late_error", "slow"]
    status: int = 503
    seconds: float = 0.0


class Faults(Protocol):
    """Decides which requests go wrong."""

    def on_request(self, method: str, path: str) -> Fault | None:
        """Asked once per authenticated request, before it is looked at; `path` is below the API's base."""
        ...


class Sender(Protocol):
    """Sends webhooks. Called with rows that are in the world already; changes and puts them itself."""

    async def register(self, endpoint: Endpoint) -> None:
        """Called before a new endpoint, or one with a new URL, is accepted.

        Raises:
            Refusal: the URL is not allowed, or did not answer the challenge of its dialect.
        """
        ...

    async def test(self, endpoint: Endpoint) -> Delivery:
        """Send a signed `webhook.test` now; the delivery says what came of it."""
        ...

    async def retry(self, delivery: Delivery) -> Delivery:
        """Send the stored body again, to the endpoint's current URL, under the same event id, signed afresh."""
        ...


class NoFaults:
    """Nothing goes wrong."""

    def on_request(self, method: str, path: str) -> Fault | None:
        return None


class Unsent:
    """Keeps deliveries without sending them: a world without a network."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def register(self, endpoint: Endpoint) -> None:
        return None

    async def test(self, endpoint: Endpoint) -> Delivery:
        world = self._world
        event_id = f"evt_{world.new_id('event').replace('-', '')}"
        delivery = Delivery(
            id=world.new_id("delivery"),
            endpoint_id=endpoint.id,
            event_id=event_id,
            event_type="webhook.test",
            body=f'{{"id":"{event_id}","type":"webhook.test","data":{{}}}}',
            created_at=world.now(),
        )
        return self._attempt(delivery)

    async def retry(self, delivery: Delivery) -> Delivery:
        return self._attempt(delivery)

    def _attempt(self, delivery: Delivery) -> Delivery:
        delivery.attempts += 1
        delivery.last_attempt_at = self._world.now()
        delivery.error = "this world sends nothing"
        self._world.put(delivery)
        return delivery
