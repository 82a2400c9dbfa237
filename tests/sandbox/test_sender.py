"""Webhooks on their way to a small receiver on this machine."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from tokportal import verify_webhook_signature

from orchestrator.sandbox.errors import Refusal
from orchestrator.sandbox.faults import FaultSettings, WebhookFaults
from orchestrator.sandbox.life import Life
from orchestrator.sandbox.model import Delivery, Endpoint
from orchestrator.sandbox.rest import create_app as create_rest
from tests.sandbox.house import KEY
from tests.sandbox.town import ARTICLE, DAY, PUBLIC, Town
from tests.simulate.receiver import Receiver, Reply, Request, answer, receiving

OK = answer(200, {"status": "accepted"})
FAULTY = answer(503)
SECRET = "town"


def tell(
    reply: Reply, story: Callable[[Town, Receiver], Awaitable[None]], path: Path | None = None, **town: Any
) -> Receiver:
    """Runs a story in a town whose endpoints are at one receiver."""

    async def run() -> Receiver:
        async with receiving(reply) as receiver:
            place = Town(path, **town)
            for endpoint in place.world.all(Endpoint):
                endpoint.url = receiver.url
            async with place.life.sender:
                await story(place, receiver)
            return receiver

    return asyncio.run(run())


async def _found(town: Town, receiver: Receiver) -> None:
    town.found(state="published", age_days=0, warming_targets=0)
    await town.life.sender.settle()


def _dialect(request: Request) -> str:
    return PUBLIC if "tokportal-signature" in request.headers else ARTICLE


def test_the_vendors_sdk_accepts_what_the_public_dialect_signs() -> None:
    receiver = tell(lambda request: OK, _found)
    requests = [request for request in receiver.requests if _dialect(request) == PUBLIC]
    assert len(requests) == 3
    for request in requests:
        assert verify_webhook_signature(request.body, request.headers["tokportal-signature"], SECRET)
        assert not verify_webhook_signature(request.body, request.headers["tokportal-signature"], "another")
        body = json.loads(request.body)
        assert request.headers["tokportal-event-id"] == body["id"]
        assert request.headers["tokportal-event-type"] == body["type"]
        assert request.method == "POST" and request.headers["content-type"] == "application/json"


def test_the_article_dialect_signs_the_raw_body() -> None:
    receiver = tell(lambda request: OK, _found)
    (request,) = [request for request in receiver.requests if _dialect(request) == ARTICLE]
    expected = hmac.digest(SECRET.encode(), request.body, "sha256").hex()
    assert request.headers["x-tokportal-signature"] == f"sha256={expected}"
    assert set(json.loads(request.body)) == {"id", "event", "timestamp", "bundle_id", "platform", "country", "data"}


def test_what_arrived_is_recorded_so() -> None:
    towns: list[Town] = []

    async def story(town: Town, receiver: Receiver) -> None:
        towns.append(town)
        await _found(town, receiver)

    tell(lambda request: OK, story)
    deliveries = towns[0].deliveries()
    assert len(deliveries) == 4
    for delivery in deliveries:
        assert delivery.success and delivery.status_code == 200 and delivery.attempts == 1
        assert delivery.next_attempt_at is None and delivery.error is None


def test_a_failed_delivery_is_tried_again_on_schedule_under_its_id_with_a_fresh_signature() -> None:
    real = [1_800_000_000.0]
    pauses = [0.0]
    towns: list[Town] = []

    async def story(town: Town, receiver: Receiver) -> None:
        towns.append(town)
        town.world.remove(town.world.get(Endpoint, ARTICLE))
        town.found(state="bought", age_days=0)
        for seconds in (0, 59, 1, 299, 1):
            town.clock.time += timedelta(seconds=seconds)
            real[0] += seconds
            pauses[0] += 10
            await town.life.sender.settle()

    receiver = tell(
        lambda request: FAULTY if request.number < 2 else OK,
        story,
        sending={"retry_after": (60, 300)},
        sender={"real": lambda: real[0], "monotonic": lambda: pauses[0]},
    )
    assert len(receiver.requests) == 3
    assert len({request.headers["tokportal-event-id"] for request in receiver.requests}) == 1
    assert len({request.body for request in receiver.requests}) == 1
    stamps = [request.headers["tokportal-signature"].split(",")[0] for request in receiver.requests]
    assert stamps == ["t=1800000000", "t=1800000060", "t=1800000360"]
    (delivery,) = towns[0].deliveries()
    assert delivery.success and delivery.attempts == 3


def test_in_a_fast_world_real_time_passes_between_attempts_too() -> None:
    pauses = [0.0]

    async def story(town: Town, receiver: Receiver) -> None:
        town.world.remove(town.world.get(Endpoint, ARTICLE))
        town.found(state="bought", age_days=0)
        await town.life.sender.settle()
        town.clock.time += DAY
        await town.life.sender.settle()
        assert len(receiver.requests) == 1
        pauses[0] = 0.25
        await town.life.sender.settle()
        assert len(receiver.requests) == 2

    sending = {"retry_after": (60, 300), "retry_pause": 0.25}
    tell(lambda request: FAULTY, story, sending=sending, sender={"monotonic": lambda: pauses[0]})


def test_after_the_last_attempt_a_delivery_is_listed_as_failed_and_can_be_asked_for() -> None:
    async def story(town: Town, receiver: Receiver) -> None:
        town.world.remove(town.world.get(Endpoint, ARTICLE))
        town.found(state="bought", age_days=0)
        await town.life.sender.settle()
        (delivery,) = town.deliveries()
        assert not delivery.success and delivery.next_attempt_at is None and delivery.status_code == 503
        receiver.reply = lambda request: OK
        again = await town.life.sender.retry(delivery)
        assert again.success and again.attempts == 2 and again.id == delivery.id

    receiver = tell(lambda request: FAULTY, story, sending={"retry_after": ()})
    first, second = receiver.requests
    assert first.body == second.body
    assert first.headers["tokportal-event-id"] == second.headers["tokportal-event-id"]


def test_an_endpoint_that_hangs_up_or_hangs_is_an_error_in_words() -> None:
    async def story(town: Town, receiver: Receiver) -> None:
        town.found(state="bought", age_days=0)
        await town.life.sender.settle()
        errors = sorted(delivery.error or "" for delivery in town.deliveries())
        assert errors[0] == "no answer within 0.05 s"
        assert errors[1].startswith("the endpoint cannot be reached: ")

    def reply(request: Request) -> bytes | list[bytes] | None:
        return [] if _dialect(request) == PUBLIC else None

    tell(reply, story, sending={"retry_after": (), "timeout": 0.05})


def test_what_counts_as_success_is_a_parameter() -> None:
    async def story(town: Town, receiver: Receiver) -> None:
        town.found(state="bought", age_days=0)
        await town.life.sender.settle()
        assert {delivery.success for delivery in town.deliveries()} == {False}

    tell(lambda request: answer(202), story, sending={"retry_after": (), "success": (200, 200)})


def test_an_endpoint_that_fails_too_often_is_switched_off() -> None:
    async def story(town: Town, receiver: Receiver) -> None:
        town.world.remove(town.world.get(Endpoint, ARTICLE))
        for number in range(4):
            town.found(state="bought", age_days=0)
            await town.life.sender.settle()
            assert town.world.get(Endpoint, PUBLIC).enabled == (number < 2)

    receiver = tell(lambda request: FAULTY, story, sending={"retry_after": (), "disable_after": 3})
    assert len(receiver.requests) == 3


def test_an_endpoint_hears_only_what_it_subscribed_to() -> None:
    async def story(town: Town, receiver: Receiver) -> None:
        town.world.get(Endpoint, PUBLIC).events = ["bundle.published"]
        town.world.get(Endpoint, ARTICLE).enabled = False
        await _found(town, receiver)

    receiver = tell(lambda request: OK, story)
    assert [json.loads(request.body)["type"] for request in receiver.requests] == ["bundle.published"]


def test_no_more_than_so_many_are_under_way_at_once() -> None:
    async def story(town: Town, receiver: Receiver) -> None:
        for _ in range(20):
            town.found(state="bought", age_days=0)
        assert town.life.sender.pump() == 3
        assert town.life.sender.pump() == 0
        await town.life.sender.settle()

    receiver = tell(lambda request: OK, story, sending={"concurrency": 3})
    assert len(receiver.requests) == 40
    assert receiver.connections == 3


def test_what_was_not_sent_before_a_restart_is_sent_after_it(tmp_path: Path) -> None:
    before = Town(tmp_path / "world.db")
    before.found(state="bought", age_days=0)
    before.world.save()

    async def story(town: Town, receiver: Receiver) -> None:
        await town.life.sender.settle()
        assert all(delivery.success for delivery in town.deliveries())

    # The endpoints lie in the file with an address of nobody; `tell` gives them the receiver's.
    receiver = tell(lambda request: OK, story, tmp_path / "world.db", clock=before.clock)
    assert {json.loads(request.body)["id"] for request in receiver.requests} == {
        delivery.event_id for delivery in before.deliveries()
    }


# Faults


def _with(faults: WebhookFaults) -> dict[str, Any]:
    return {"faults": FaultSettings(webhooks=faults)}


def test_a_lost_delivery_does_not_arrive_and_is_listed_as_failed() -> None:
    async def story(town: Town, receiver: Receiver) -> None:
        await _found(town, receiver)
        assert receiver.requests == []
        assert all(not delivery.success and delivery.attempts == 1 for delivery in town.deliveries())
        assert len(town.deliveries()) == 4
        delivery = await town.life.sender.retry(town.deliveries()[0])
        assert delivery.success

    assert len(tell(lambda request: OK, story, **_with(WebhookFaults(lost=1.0))).requests) == 1


def test_a_forgotten_event_is_listed_nowhere() -> None:
    async def story(town: Town, receiver: Receiver) -> None:
        await _found(town, receiver)
        assert town.deliveries() == []

    assert tell(lambda request: OK, story, **_with(WebhookFaults(forgotten=1.0))).requests == []


def test_a_late_delivery_comes_within_its_time() -> None:
    async def story(town: Town, receiver: Receiver) -> None:
        await _found(town, receiver)
        assert receiver.requests == []
        town.clock.time += timedelta(seconds=100)
        await town.life.sender.settle()

    faults = WebhookFaults(late=1.0, late_by=100.0)
    assert len(tell(lambda request: OK, story, **_with(faults)).requests) == 4


def test_a_duplicate_is_the_same_event_again() -> None:
    async def story(town: Town, receiver: Receiver) -> None:
        await _found(town, receiver)
        town.clock.time += timedelta(hours=2)
        await town.life.sender.settle()

    receiver = tell(lambda request: OK, story, **_with(WebhookFaults(duplicated=1.0)))
    bodies = [request.body for request in receiver.requests]
    assert len(bodies) == 8 and len(set(bodies)) == 4


def test_reordered_deliveries_overtake_each_other() -> None:
    async def story(town: Town, receiver: Receiver) -> None:
        town.world.remove(town.world.get(Endpoint, ARTICLE))
        for _ in range(10):
            town.found(state="published", age_days=0)
            town.clock.time += timedelta(seconds=10)
        town.clock.time += timedelta(hours=1)
        await town.life.sender.settle()

    faults = WebhookFaults(reordered=0.5, reordered_by=100.0)
    receiver = tell(lambda request: OK, story, sending={"concurrency": 1}, **_with(faults))
    times = [json.loads(request.body)["created_at"] for request in receiver.requests]
    assert times != sorted(times) and len(times) == 30


# Registration


def register(reply: Reply, *, dialect: str = ARTICLE, url: str | None = None, **town: Any) -> list[Request]:
    async def story(place: Town, receiver: Receiver) -> None:
        endpoint = Endpoint(id="new", url=url or receiver.url, dialect=dialect, signing_secret="x")
        await place.life.sender.register(endpoint)

    return tell(reply, story, **town).requests


def _echo(request: Request) -> bytes:
    value = parse_qs(urlsplit(request.path).query)["challenge"][0]
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(value), value.encode())


def test_an_article_endpoint_must_echo_its_challenge() -> None:
    (request,) = register(_echo)
    assert request.method == "GET"
    query = parse_qs(urlsplit(request.path).query)
    assert query["x"] == ["1"] and len(query["challenge"][0]) >= 32


@pytest.mark.parametrize(
    "reply",
    [
        lambda request: OK,
        lambda request: FAULTY,
        lambda request: None,
        lambda request: _echo(request).replace(b"Length: 32", b"Length: 33") + b"\n",
    ],
)
def test_another_answer_to_the_challenge_is_refused(reply: Reply) -> None:
    with pytest.raises(Refusal, match="challenge") as refused:
        register(reply)
    assert refused.value.code == "WEBHOOK_CHALLENGE_FAILED"


def test_the_public_dialect_has_no_challenge() -> None:
    assert register(lambda request: FAULTY, dialect=PUBLIC) == []
    assert len(register(_echo, dialect=PUBLIC, sending={"challenge": "always"})) == 1


@pytest.mark.parametrize(
    ("url", "plain_http"),
    [
        ("http://example.com/hook", "loopback"),
        ("http://127.0.0.1:8080/hook", "never"),
        ("ftp://127.0.0.1/hook", "anywhere"),
        ("https://", "loopback"),
        ("no url at all", "loopback"),
        ("http://127.0.0.1.example.com/", "loopback"),
    ],
)
def test_only_https_is_registered_but_for_loopback(url: str, plain_http: str) -> None:
    with pytest.raises(Refusal) as refused:
        register(_echo, url=url, dialect=PUBLIC, sending={"plain_http": plain_http})
    assert refused.value.code == "INVALID_WEBHOOK_URL"


@pytest.mark.parametrize("url", ["https://example.com/hook", "http://localhost:8080/hook", "http://[::1]:1/hook"])
def test_https_and_loopback_are_registered(url: str) -> None:
    assert register(_echo, url=url, dialect=PUBLIC) == []


@pytest.mark.parametrize(("reply", "status"), [(_echo, 201), (lambda request: OK, 422)])
def test_over_the_api_an_endpoint_is_registered_after_its_challenge(reply: Reply, status: int) -> None:
    async def story(town: Town, receiver: Receiver) -> None:
        before = len(list(town.world.all(Endpoint)))
        transport = httpx2.ASGITransport(create_rest(town.world))
        async with httpx2.AsyncClient(transport=transport, base_url="http://sandbox.example") as client:
            answered = await client.post("/api/ext/webhooks", json={"url": receiver.url}, headers={"X-API-Key": KEY})
        assert answered.status_code == status
        assert len(list(town.world.all(Endpoint))) == before + (status == 201)

    assert len(tell(reply, story, dialect=ARTICLE).requests) == 1


@pytest.mark.parametrize("dialect", [ARTICLE, PUBLIC])
def test_a_test_is_a_signed_delivery(dialect: str) -> None:
    async def story(town: Town, receiver: Receiver) -> None:
        delivery = await town.life.sender.test(town.world.get(Endpoint, dialect))
        assert delivery.success and delivery.event_type == "webhook.test"
        assert town.world.get(Delivery, delivery.id) is delivery

    (request,) = tell(lambda request: OK, story).requests
    body = json.loads(request.body)
    assert body["event" if dialect == ARTICLE else "type"] == "webhook.test"
    if dialect == PUBLIC:
        assert verify_webhook_signature(request.body, request.headers["tokportal-signature"], SECRET)


def test_a_sender_without_its_network_says_so() -> None:
    life: Life = Town().life
    with pytest.raises(RuntimeError, match="async with"):
        asyncio.run(life.sender.test(life.world.get(Endpoint, PUBLIC)))


def test_an_endpoint_that_is_deleted_while_it_is_told_stays_deleted() -> None:
    async def story(town: Town, receiver: Receiver) -> None:
        town.world.remove(town.world.get(Endpoint, ARTICLE))
        town.found(state="bought", age_days=0)
        endpoint = town.world.get(Endpoint, PUBLIC)

        def reply(request: Request) -> bytes:
            for delivery in town.world.deliveries_of(endpoint):
                town.world.remove(delivery)
            town.world.remove(endpoint)
            return FAULTY

        receiver.reply = reply
        await town.life.sender.settle()
        assert town.deliveries() == [] and list(town.world.all(Endpoint)) == []

    assert len(tell(lambda request: OK, story).requests) == 1
