"""Carries webhooks to those who asked for them."""

from __future__ import annotations

import asyncio
import heapq
import logging
import secrets
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

import httpx2

from orchestrator.clock import instant_of
from orchestrator.sandbox.dialects import Subject, build, event_id
from orchestrator.sandbox.errors import Refusal
from orchestrator.sandbox.faults import WebhookFaults
from orchestrator.sandbox.habits import Sending
from orchestrator.sandbox.model import Delivery, Endpoint
from orchestrator.sandbox.world import World
from orchestrator.simulate.dialect import Dialect
from orchestrator.simulate.signing import sign

logger = logging.getLogger(__name__)

SECOND: Final = 1_000_000
AGENT: Final = "TokPortal-Webhooks (sandbox)"
TEST: Final = "webhook.test"


class WebhookSender:
    """Sends what is queued, at its time, a bounded number at once; what is left goes on after a restart.

    A delivery is queued as long as it has `next_attempt_at`. Its id and body stay the same at each try, its signature
    is made afresh. Use it within `async with`, and call `pump` from time to time: it starts what is due.
    """

    def __init__(
        self,
        world: World,
        habits: Callable[[], Sending],
        faults: Callable[[], WebhookFaults],
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        real: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            habits, faults: asked anew each time, since both may change while the world runs.
            transport: replaces the network.
            real: the real Unix time, which signatures carry: whoever checks their age has no other clock.
            monotonic: the real time that pauses between attempts are measured on.
        """
        self._world = world
        self._habits = habits
        self._faults = faults
        self._transport = transport
        self._real = real
        self._monotonic = monotonic
        self._queue: list[tuple[int, str]] = []
        self._resting: list[tuple[float, int, str]] = []
        """What waits for a moment of the real time before it may be queued again."""
        self._running: set[asyncio.Task[None]] = set()
        self._client: httpx2.AsyncClient | None = None
        for delivery in world.all(Delivery):
            if delivery.next_attempt_at is not None:
                self._enqueue(delivery, delivery.next_attempt_at)

    async def __aenter__(self) -> WebhookSender:
        self._client = httpx2.AsyncClient(
            transport=self._transport,
            follow_redirects=False,
            trust_env=False,
            timeout=None,  # each request has one time-out for all of it
            # Servers close idle connections after some 5 s, and a request must not meet the moment that they do.
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=2.0),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    # Queue

    def post(self, delivery: Delivery) -> None:
        """Queue a new delivery, under the faults of the world."""
        faults = self._faults()
        chance = self._world.random("delivery", delivery.id)
        rolls = {name: chance.random() for name in ("lost", "late", "duplicated", "reordered")}
        at = delivery.created_at
        if rolls["late"] < faults.late:
            at += int(chance.random() * faults.late_by * SECOND)
        if rolls["reordered"] < faults.reordered:
            at += int(chance.random() * faults.reordered_by * SECOND)
        if rolls["lost"] < faults.lost:
            delivery.attempts, delivery.last_attempt_at = 1, delivery.created_at
            delivery.error = "the connection was lost"
            self._world.put(delivery)
            return
        delivery.next_attempt_at = at
        self._world.put(delivery)
        self._enqueue(delivery, at)
        if rolls["duplicated"] < faults.duplicated:
            self._repeat(delivery, at + int(chance.random() * faults.late_by * SECOND))

    def _repeat(self, delivery: Delivery, at: int) -> None:
        again = Delivery(
            id=f"{delivery.id}-again",
            endpoint_id=delivery.endpoint_id,
            event_id=delivery.event_id,
            event_type=delivery.event_type,
            body=delivery.body,
            created_at=delivery.created_at,
            next_attempt_at=at,
        )
        self._world.put(again)
        self._enqueue(again, at)

    def _enqueue(self, delivery: Delivery, at: int) -> None:
        heapq.heappush(self._queue, (at, delivery.id))

    @property
    def due(self) -> int:
        """How many deliveries wait for their turn, though not all of them for their moment; 0 if none is due."""
        is_due = self._queue and self._queue[0][0] <= self._world.clock.microseconds()
        return len(self._queue) if is_due else 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._running

    def pump(self) -> int:
        """Start what is due, as far as there is room; returns how many deliveries that were.

        Whatever changed in the world is written first: nobody hears of what a crash could still undo.
        """
        real_now = self._monotonic()
        while self._resting and self._resting[0][0] <= real_now:
            _, at, id = heapq.heappop(self._resting)
            heapq.heappush(self._queue, (at, id))
        room = self._habits().concurrency - len(self._running)
        now = self._world.clock.microseconds()
        if room <= 0 or not self._queue or self._queue[0][0] > now:
            return 0
        self._world.save()
        started = 0
        while started < room and self._queue and self._queue[0][0] <= now:
            at, id = heapq.heappop(self._queue)
            delivery = self._world.find(Delivery, id)
            if delivery is not None and delivery.next_attempt_at == at:
                self._start(delivery)
                started += 1
        return started

    def _start(self, delivery: Delivery) -> None:
        task = asyncio.create_task(self._carry(delivery))
        self._running.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a webhook could not be sent: the sender failed", exc_info=error)
        self.pump()

    async def settle(self) -> None:
        """Send all that is due by now, and wait until it was answered."""
        while self.pump() or self._running:
            await asyncio.wait(self._running)

    async def _carry(self, delivery: Delivery) -> None:
        endpoint = self._world.find(Endpoint, delivery.endpoint_id)
        if endpoint is None or not endpoint.enabled:
            delivery.next_attempt_at = None
            delivery.error = "the endpoint is gone" if endpoint is None else "the endpoint is switched off"
            self._world.put(delivery)
            return
        await self._attempt(endpoint, delivery)
        # Meanwhile a request may have changed the endpoint, or deleted it and all its deliveries.
        current = self._world.find(Endpoint, endpoint.id)
        if current is None:
            return
        habits = self._habits()
        if delivery.success:
            if current.failed_in_a_row:
                current.failed_in_a_row = 0
                self._world.put(current)
        elif delivery.attempts <= len(habits.retry_after):
            pause = habits.retry_after[delivery.attempts - 1]
            delivery.next_attempt_at = at = self._world.clock.microseconds() + int(pause * SECOND)
            # The world's pause may be nothing to a receiver that takes real seconds to start.
            rest = self._monotonic() + habits.retry_pause * 2 ** (delivery.attempts - 1)
            heapq.heappush(self._resting, (rest, at, delivery.id))
        else:
            self._give_up(current)
        self._world.put(delivery)
        # At once: a request that is refused meanwhile undoes all that is not written.
        self._world.save()

    def _give_up(self, endpoint: Endpoint) -> None:
        endpoint.failed_in_a_row += 1
        limit = self._habits().disable_after
        if limit is not None and endpoint.failed_in_a_row >= limit:
            endpoint.enabled = False
            endpoint.updated_at = self._world.clock.microseconds()
        self._world.put(endpoint)

    # One request

    async def _attempt(self, endpoint: Endpoint, delivery: Delivery) -> None:
        """Send once, and note on the delivery what came of it."""
        delivery.next_attempt_at = None
        delivery.attempts += 1
        delivery.last_attempt_at = self._world.clock.microseconds()
        delivery.status_code, delivery.error, delivery.success = None, None, False
        body = delivery.body.encode()
        headers = sign(Dialect(endpoint.dialect), endpoint.signing_secret, body, self._real())
        answer = await self._ask("POST", endpoint.url, [("Content-Type", "application/json"), *headers], body)
        if isinstance(answer, str):
            delivery.error = answer
            return
        low, high = self._habits().success
        delivery.status_code = answer.status_code
        delivery.success = low <= answer.status_code <= high
        if not delivery.success:
            delivery.error = f"the endpoint answered {answer.status_code}"

    async def _ask(
        self, method: str, url: httpx2.URL | str, headers: list[tuple[str, str]], body: bytes = b""
    ) -> httpx2.Response | str:
        """The answer, or why there is none."""
        if self._client is None:
            raise RuntimeError("the sender is used outside of `async with`")
        timeout = self._habits().timeout
        try:
            async with asyncio.timeout(timeout):
                return await self._client.request(method, url, headers=[("User-Agent", AGENT), *headers], content=body)
        except TimeoutError:
            return f"no answer within {timeout:g} s"
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            return f"the endpoint cannot be reached: {str(error) or type(error).__name__}"

    # What the REST side asks for

    async def register(self, endpoint: Endpoint) -> None:
        """Called before a new endpoint, or one with a new URL, is accepted.

        Raises:
            Refusal: the URL may not be used, or did not echo the challenge.
        """
        self._check_url(endpoint.url)
        wanted = self._habits().challenge
        if wanted == "never" or (wanted == "article" and endpoint.dialect != Dialect.ARTICLE):
            return
        value = secrets.token_urlsafe(24)
        answer = await self._ask("GET", httpx2.URL(endpoint.url).copy_add_param("challenge", value), [])
        if isinstance(answer, str):
            problem = answer
        elif answer.status_code != 200:
            problem = f"the endpoint answered {answer.status_code}, not 200"
        elif answer.content != value.encode():
            problem = "the endpoint did not answer with exactly the value of `challenge`"
        else:
            return
        raise Refusal(422, "WEBHOOK_CHALLENGE_FAILED", f"The endpoint did not pass its challenge: {problem}.")

    def _check_url(self, url: str) -> None:
        try:
            parts = httpx2.URL(url)
        except httpx2.InvalidURL as error:
            raise Refusal(422, "INVALID_WEBHOOK_URL", f"That is no URL: {error}.", url=url) from None
        plain = self._habits().plain_http
        allows_plain = plain == "anywhere" or (plain == "loopback" and _is_loopback(parts.host))
        if not parts.host or parts.scheme not in ("https", "http" if allows_plain else "https"):
            message = "The URL of a webhook endpoint must begin with https:// and a host."
            raise Refusal(422, "INVALID_WEBHOOK_URL", message, url=url)

    async def test(self, endpoint: Endpoint) -> Delivery:
        """Send a signed `webhook.test` now; the delivery says what came of it."""
        world = self._world
        now = world.now()
        message = build(
            Dialect(endpoint.dialect),
            TEST,
            event_id=event_id(world.new_id("event")),
            at=instant_of(now),
            subject=Subject(bundle_id="bdl_test"),
        )
        delivery = Delivery(
            id=world.new_id("delivery"),
            endpoint_id=endpoint.id,
            event_id=message.event_id,
            event_type=TEST,
            body=message.body.decode(),
            created_at=now,
        )
        world.put(delivery)
        await self._attempt(endpoint, delivery)
        self._note(delivery)
        return delivery

    async def retry(self, delivery: Delivery) -> Delivery:
        """Send the stored body again, to the endpoint's current URL, under the same event id, signed afresh.

        One that still waits for an attempt of its own has it now instead. Raises `Refusal` when its endpoint is gone.
        """
        endpoint = self._world.find(Endpoint, delivery.endpoint_id)
        if endpoint is None:
            raise Refusal(404, "WEBHOOK_NOT_FOUND", "The endpoint of this delivery does not exist any more.")
        await self._attempt(endpoint, delivery)
        self._note(delivery)
        return delivery

    def _note(self, delivery: Delivery) -> None:
        """Keep what came of an attempt, unless the endpoint was deleted meanwhile, and all its deliveries with it."""
        if self._world.find(Endpoint, delivery.endpoint_id) is not None:
            self._world.put(delivery)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
