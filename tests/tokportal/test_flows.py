"""Whole flows, judged by the look-alike: what counts is what it has in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from orchestrator.commands.executor import Outcome, TryAgain
from orchestrator.database import Database
from orchestrator.outbox import Command
from orchestrator.sandbox.hooks import Fault
from orchestrator.sandbox.model import Slot
from orchestrator.sandbox.world import World
from orchestrator.secrets import Secret
from orchestrator.tokportal.budget import Budget
from orchestrator.tokportal.client import Client
from orchestrator.tokportal.hands import Hands
from orchestrator.tokportal.registration import Registrar
from orchestrator.tokportal.transport import Transport
from tests.sandbox.house import KEY, House, StandingClock, request
from tests.tokportal.fake import command, configure

BASE = "https://sandbox.example/api/ext"
BEFORE = {"drop", "timeout", "late_error"}


@dataclass
class Town:
    """The look-alike behind the real gateway. `trouble`: what befalls the next writes, one after the other."""

    house: House
    database: Database
    trouble: list[Fault | None] = field(default_factory=list)
    before: Callable[[str, str], None] = lambda method, path: None
    """Called before a request arrives: somebody else's hand."""
    requests: list[str] = field(default_factory=list)
    client: Client = field(init=False)
    hands: Hands = field(init=False)

    def __post_init__(self) -> None:
        self.house.world.faults = self
        http = httpx2.Client(transport=httpx2.MockTransport(self._carry))
        budget = Budget(self.database, self.house.clock.microseconds)
        key = Secret(KEY)
        self.client = Client(
            BASE, key, budget, self.house.clock, transport=Transport(BASE, key, client=http), sleep=self._sleep
        )
        self.hands = Hands(self.client, budget)

    def on_request(self, method: str, path: str) -> Fault | None:
        return self.trouble.pop(0) if method != "GET" and self.trouble else None

    def _sleep(self, seconds: float) -> None:
        self.house.clock.forward(seconds=seconds)

    def _carry(self, asked: httpx2.Request) -> httpx2.Response:
        path = asked.url.raw_path.decode()
        self.before(asked.method, path)
        dry = "dry " if "x-tokportal-dry-run" in asked.headers else ""
        self.requests.append(f"{dry}{asked.method} {path.removeprefix('/api/ext')}")
        reply = request(self.house.app, asked.method, path, dict(asked.headers), asked.read())
        if not reply.complete:
            raise httpx2.RemoteProtocolError("the server hung up", request=asked)
        return httpx2.Response(reply.status, headers=reply.headers, content=reply.content)

    def slots(self, bundle_id: str) -> list[Slot]:
        bundle = self.house.world.bundle(bundle_id)
        assert bundle is not None
        return self.house.world.slots_of(bundle)

    def carrying(self, ref: str, bundle_id: str) -> list[int]:
        return [slot.position for slot in self.slots(bundle_id) if slot.external_ref == ref]

    def until_known(self, given: Command) -> Outcome:
        """As the dispatcher does it: what is unknown is looked up before it is sent again."""
        outcome = self.hands.execute(given)
        for _ in range(10):
            if outcome.outcome != "unknown":
                return outcome
            outcome = self.hands.look_up(given) or self.hands.execute(given)
        raise AssertionError("it stays unknown")


@pytest.fixture
def town(database: Database) -> Iterator[Town]:
    clock = StandingClock()
    with closing(World(clock)) as world:
        yield Town(House(world, clock), database)


def handing(town: Town, bundle_id: str, ref: str = "vid_1", distance: int = 3, **more: Any) -> Command:
    return configure(ref, bundle_id, day=town.house.day(distance), **more)


def test_a_video_is_handed_over(town: Town) -> None:
    bundle = town.house.active()
    outcome = town.hands.execute(handing(town, bundle))
    assert (outcome.outcome, outcome.data["position"], outcome.data["status"]) == ("done", 1, "published")
    assert outcome.data["slots"] == {"bundle_id": bundle, "total": 6, "free": 5}
    slot = town.house.slot(bundle)
    assert (slot.id, slot.external_ref, slot.name) == (outcome.data["video_id"], "vid_1", "teaser-1")
    assert slot.content["disclose_as_ads"] is True and slot.content["ai_content_disclaimer"] is False


@pytest.mark.parametrize(
    ("platform", "content"),
    [
        ("tiktok", {}),
        (
            "tiktok",
            {"type": "carousel", "media": ["https://cdn.example.com/1.jpg"], "tiktok": {"sound_url": "https://t/s"}},
        ),
        ("tiktok", {"type": "story", "media": "https://cdn.example.com/1.jpg"}),
        ("instagram", {}),
        ("instagram", {"instagram": {"content_type": "post"}}),
        ("instagram", {"type": "carousel", "media": ["https://cdn.example.com/1.jpg"], "instagram": {}}),
        ("instagram", {"type": "story", "media": "https://cdn.example.com/1.jpg", "instagram": {}}),
    ],
)
def test_every_content_is_accepted(town: Town, platform: str, content: dict[str, Any]) -> None:
    bundle = town.house.active(platform=platform)
    assert town.hands.execute(handing(town, bundle, platform=platform, content=content)).outcome == "done"


@pytest.mark.parametrize("kind", ["drop", "timeout", "late_error", "error"])
def test_a_lost_answer_fills_one_slot(town: Town, kind: Any) -> None:
    bundle = town.house.active()
    town.trouble = [Fault(kind=kind), Fault(kind=kind)]
    outcome = town.until_known(handing(town, bundle))
    assert outcome.outcome == "done"
    assert town.carrying("vid_1", bundle) == [outcome.data["position"]] == [1]
    assert not town.house.world.violations


def test_a_lost_second_try_fills_the_same_slot(town: Town) -> None:
    bundle = town.house.active()
    town.hands.execute(handing(town, bundle))
    town.trouble = [Fault(kind="drop"), Fault(kind="late_error")]
    given = handing(town, bundle, distance=5, tries=2)
    assert town.until_known(msgspec.structs.replace(given, idempotency_key="cmd_2")).outcome == "done"
    assert town.carrying("vid_1", bundle) == [1]
    assert town.house.slot(bundle).target_publish_date == town.house.day(5)


def test_a_slot_that_was_taken_in_between_is_never_doubled(town: Town) -> None:
    """Between two attempts somebody fills the slot that the first one had chosen."""
    bundle = town.house.active()
    town.trouble = [Fault(kind="error")]
    given = handing(town, bundle)
    assert town.hands.execute(given).outcome == "unknown"
    town.house.ask("PUT", f"/bundles/{bundle}/videos/1", town.house.video(3, external_ref="theirs"))
    assert town.hands.look_up(given) is None
    assert town.hands.execute(given).data["position"] == 2
    assert (town.carrying("vid_1", bundle), town.carrying("theirs", bundle)) == ([2], [1])


def test_an_answer_that_tokportal_remembers_is_no_proof(town: Town) -> None:
    """Handed over, the answer lost, taken back by somebody: the key is the same, the slot is not."""
    bundle = town.house.active()
    town.trouble = [Fault(kind="drop")]
    given = handing(town, bundle)
    assert town.hands.execute(given).outcome == "unknown"
    town.house.ask("POST", f"/bundles/{bundle}/videos/1/unschedule")
    assert town.hands.look_up(given) is None
    assert town.hands.execute(given).outcome == "done"
    assert town.carrying("vid_1", bundle) == [1]


def test_refusals_have_tokportals_codes(town: Town) -> None:
    bundle = town.house.active()
    assert town.hands.execute(handing(town, bundle, distance=0)).code == "INVALID_DATE"
    assert "earliest_allowed" in town.hands.execute(handing(town, bundle, distance=0)).data["details"]
    for number in range(3):
        assert town.hands.execute(handing(town, bundle, f"vid_{number}")).outcome == "done"
    refused = town.hands.execute(handing(town, bundle, "vid_9"))
    assert (refused.code, refused.data["details"]["current_count"]) == ("VIDEOS_PER_DAY_EXCEEDED", 3)
    assert town.hands.execute(handing(town, "nowhere")).code == "BUNDLE_NOT_FOUND"


def test_no_slot_is_left(town: Town) -> None:
    bundle = town.house.active(videos_quantity=1)
    town.hands.execute(handing(town, bundle))
    refused = town.hands.execute(handing(town, bundle, "vid_2"))
    assert (refused.code, refused.data["slots"]["free"]) == ("NO_FREE_SLOT", 0)


# Batches.


def test_a_batch_with_one_that_is_refused(town: Town) -> None:
    bundle = town.house.active()
    commands = [handing(town, bundle, f"vid_{number}", number) for number in (3, 0, 5)]
    outcomes = town.hands.execute_together(commands)
    assert {name: outcome.code or outcome.outcome for name, outcome in outcomes.items()} == {
        "cmd_vid_3": "done",
        "cmd_vid_0": "INVALID_DATE",
        "cmd_vid_5": "done",
    }
    assert [request.partition(" ")[0] for request in town.requests] == ["GET", "PUT", "GET"]
    for given in (commands[0], commands[2]):
        assert len(town.carrying(given.body["external_ref"], bundle)) == 1
    assert town.carrying("vid_0", bundle) == []


@pytest.mark.parametrize("kind", ["drop", "late_error", "error"])
def test_a_lost_batch_is_looked_up_one_by_one(town: Town, kind: Any) -> None:
    bundle = town.house.active()
    commands = [handing(town, bundle, f"vid_{number}", number) for number in (3, 4, 5)]
    town.trouble = [Fault(kind=kind)]
    outcomes = town.hands.execute_together(commands)
    assert {outcome.outcome for outcome in outcomes.values()} == {"unknown"}
    for given in commands:
        outcome = town.hands.look_up(given) or town.hands.execute(given)
        assert outcome.outcome == "done"
        assert len(town.carrying(given.body["external_ref"], bundle)) == 1
    assert not town.house.world.violations


# Taking back.


def freeing(bundle_id: str, ref: str = "vid_1") -> Command:
    return command("look_up_slot", {"external_ref": ref, "bundle_id": bundle_id, "free_it": True})


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({}, "free"),
        ({"unschedule_to": "configured"}, "free"),
        ({"unschedule_to": "cancelled"}, "free"),
        ({"unschedule_from": ()}, "free"),
        ({"unschedule_from": (), "reset_from": ()}, "busy"),
        ({"unschedule_to": "configured", "reset_from": ()}, "busy"),
    ],
)
def test_taking_back_whatever_tokportal_makes_of_it(town: Town, parameters: dict[str, Any], found: str) -> None:
    town.house.world.parameters = msgspec.structs.replace(town.house.world.parameters, **parameters)
    bundle = town.house.active()
    town.hands.execute(handing(town, bundle))
    outcome = town.hands.execute(freeing(bundle))
    assert outcome.data["slot"] == found
    live = [
        slot
        for slot in town.slots(bundle)
        if slot.external_ref == "vid_1" and slot.status not in ("pending", "cancelled")
    ]
    assert (live == []) == (found == "free")


def test_a_manager_who_is_quicker_has_posted_it(town: Town) -> None:
    bundle = town.house.active()
    town.hands.execute(handing(town, bundle))

    def post(method: str, path: str) -> None:
        slot = town.house.slot(bundle)
        if path.endswith("/unschedule") and slot.posted_at is None:
            slot.platform_url, slot.posted_at = "https://www.tiktok.com/@acme/video/1", town.house.world.now()
            town.house.world.move_slot(slot, "in_review")
            town.house.world.save()

    town.before = post
    outcome = town.hands.execute(freeing(bundle))
    assert (outcome.data["slot"], outcome.data["url"]) == ("posted", "https://www.tiktok.com/@acme/video/1")
    assert outcome.data["posted_at"].startswith("2026-12-01T09:00:00")


@pytest.mark.parametrize("kind", ["drop", "late_error", "error"])
def test_a_lost_unscheduling(town: Town, kind: Any) -> None:
    bundle = town.house.active()
    town.hands.execute(handing(town, bundle))
    town.trouble = [Fault(kind=kind)]
    outcome = town.until_known(freeing(bundle))
    assert outcome.data["slot"] == "free"
    assert town.carrying("vid_1", bundle) == []


def test_what_was_never_there_is_free_and_what_cannot_be_seen_is_not(town: Town) -> None:
    bundle = town.house.active()
    assert town.hands.execute(freeing(bundle)).data["slot"] == "free"
    assert town.hands.execute(freeing("nowhere")).outcome == "refused"


# Money.


def test_slots_are_bought_at_their_price(town: Town) -> None:
    bundle = town.house.active()
    given = command("add_slots", {"bundle_id": bundle, "quantity": 4, "had": 6})
    before = town.house.world.credits
    outcome = town.hands.execute(given)
    assert (outcome.outcome, outcome.code, outcome.data) == ("again", "PRICE", {"price": 8})
    assert (town.house.world.credits, len(town.slots(bundle))) == (before, 6)
    outcome = town.hands.execute(msgspec.structs.replace(given, price=8))
    assert outcome.data["credits_charged"] == 8
    assert (town.house.world.credits, len(town.slots(bundle))) == (before - 8, 10)
    assert outcome.data["slots"] == {"bundle_id": bundle, "total": 10, "free": 10}


@pytest.mark.parametrize("kind", ["drop", "late_error", "error"])
def test_a_lost_purchase_is_made_once(town: Town, kind: Any) -> None:
    bundle = town.house.active()
    before = town.house.world.credits
    town.trouble = [None, Fault(kind=kind)]
    given = command("add_slots", {"bundle_id": bundle, "quantity": 4, "had": 6}, price=8)
    assert town.until_known(given).outcome == "done"
    assert (town.house.world.credits, len(town.slots(bundle))) == (before - 8, 10)


def warming(bundle: str, account: str | None, price: int | None = None) -> Command:
    body = {"bundle_id": bundle, "account": account, "mode": "advanced", "terms": ["ramen", "udon", "soba"], "try": 1}
    return command("start_warming", body, price=price, created_at=StandingClock().microseconds())


@pytest.mark.parametrize("kind", [None, "drop", "late_error", "error"])
def test_an_account_is_warmed_again(town: Town, kind: Any) -> None:
    bundle = town.house.active()
    account = town.house.account_of(bundle).id
    before = town.house.world.credits
    assert town.hands.execute(warming(bundle, account)).data == {"price": 15}
    assert town.house.world.credits == before
    town.trouble = [None, Fault(kind=kind) if kind else None]
    assert town.until_known(warming(bundle, account, 15)).outcome == "done"
    assert len(town.house.world.sessions_of(account)) == 1
    assert town.house.world.credits == before - 15
    town.hands.execute(warming(bundle, account, 15))
    assert town.house.world.credits == before - 15, "it is being warmed"


def test_terms_that_were_bought_with_the_bundle_are_set(town: Town) -> None:
    bundle = town.house.bundle(wants_advanced_warming=True, advanced_warming_terms_count=3)
    before = town.house.world.credits
    town.trouble = [Fault(kind="drop")]
    assert town.until_known(warming(bundle, None)).outcome == "done"
    assert town.house.world.credits == before
    found = town.house.world.bundle(bundle)
    assert found is not None and found.warming_terms == ["ramen", "udon", "soba"]


# Reviews, metrics, the quota.


def test_a_review(town: Town) -> None:
    bundle = town.house.active(auto_finalize_videos=False)
    town.hands.execute(handing(town, bundle))
    slot = town.house.slot(bundle)
    slot.platform_url, slot.posted_at = "https://www.tiktok.com/@acme/video/1", town.house.world.now()
    town.house.world.move_slot(slot, "in_review")
    slot.in_review_at = town.house.world.now()
    town.house.world.save()
    body = {"bundle_id": bundle, "external_ref": "vid_1"}
    metrics = town.hands.execute(command("read_metrics", {**body, "vendor_id": slot.id}))
    assert metrics.outcome == "done"
    corrections = command("request_corrections", {**body, "comment": "louder", "fields": {}})
    town.trouble = [Fault(kind="drop")]
    assert town.until_known(corrections).data["status"] == "pending_corrections"
    assert town.house.slot(bundle).corrections == {"comment": "louder", "fields": {}}
    town.house.world.move_slot(slot, "in_review")
    town.trouble = [Fault(kind="late_error")]
    assert town.until_known(command("finalize_video", body)).data["status"] == "finalized"


@pytest.mark.parametrize("migrated_url", ["sqlite"], indirect=True)
def test_the_quota_is_never_exceeded(town: Town) -> None:
    """Ten minutes with more commands than can be sent: TokPortal refuses none, and most of it is used for them."""
    bundle = town.house.active()
    clock, end = town.house.clock, town.house.clock.microseconds() + 600_000_000
    number = 0
    while clock.microseconds() < end:
        if town.hands.room(1) == 0:
            clock.forward(seconds=1)
            continue
        number += 1
        try:
            town.hands.execute(
                command("look_up_slot", {"external_ref": f"vid_{number}", "bundle_id": bundle, "free_it": False})
            )
        except TryAgain as error:
            assert error.after is not None
            clock.forward(seconds=error.after)
    counters = town.house.world.counters
    assert counters.get("rate_limited", 0) == 0
    assert 0.8 * (120 + 2 * 600) <= counters["requests"] <= 120 + 2 * 600


def test_a_quota_that_others_use_too(town: Town) -> None:
    """Another program has the same key: TokPortal's headers, and at the latest its refusal, say what is left."""
    bundle = town.house.active()
    for _ in range(100):
        town.house.ask("GET", "/me")
    town.client.bundle("ordinary", bundle)
    assert town.hands.room(0) < 15
    for _ in range(30):
        town.house.ask("GET", "/me")
    with pytest.raises(TryAgain) as raised:
        town.client.bundle("recovery", bundle)
    assert raised.value.after is not None
    town.house.clock.forward(seconds=raised.value.after)
    town.client.bundle("recovery", bundle)


def test_reading_everything(town: Town) -> None:
    bundles = {town.house.active(title=f"t{number}") for number in range(3)}
    assert {row["id"] for row in town.client.walk(lambda page: town.client.bundles("sweep", page))} >= bundles
    page = town.client.bundles("sweep", 1, status="accepted")
    assert (page.is_last, page.total, page.asked_at) == (True, 3, town.house.clock.now())
    accounts = town.client.accounts("sweep", banned=False)
    assert len(accounts.rows) == 3
    since = town.house.clock.now() - timedelta(days=1)
    assert town.client.bans("sweep", since=since).rows == ()
    assert "account.banned" in {row["type"] for row in town.client.events("sweep").rows}
    assert town.client.bundle("sweep", "nowhere") is None


# Webhooks.


def test_registration_and_rotation(town: Town, tmp_path: Path) -> None:
    registrar = Registrar(town.client, tmp_path)
    url = "https://hooks.example.com/webhooks/tokportal"
    town.trouble = [Fault(kind="drop")]
    endpoint, is_new = registrar.register(url, [])
    assert is_new
    assert [known.endpoint_id for known in registrar.endpoints()] == [endpoint.endpoint_id], "the lost one is gone"
    again, is_new = registrar.register(url, [])
    assert (again.endpoint_id, is_new) == (endpoint.endpoint_id, False)
    second, is_new = registrar.register(url, ["account.banned"], another=True)
    assert is_new and second.events == ("account.banned",)
    assert second.secret != endpoint.secret
    assert registrar.test(second.endpoint_id)["event_type"] == "webhook.test"
    town.trouble = [Fault(kind="drop")]
    assert registrar.delete(endpoint.endpoint_id)
    assert [known.secret for known in registrar.endpoints()] == [second.secret]
    assert [path.name for path in (tmp_path / "secrets").iterdir()] == [f"webhook-{second.endpoint_id}"]
