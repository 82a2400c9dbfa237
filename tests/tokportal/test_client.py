from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from orchestrator.commands.executor import TryAgain
from orchestrator.database import Database
from orchestrator.settings import Settings
from orchestrator.tokportal import Gateway, connect
from orchestrator.tokportal.budget import CAPACITY, Budget
from orchestrator.tokportal.client import COOLDOWN_WAIT, Refused, derived_key
from orchestrator.tokportal.reads import Page, Standing
from orchestrator.tokportal.transport import AnswerLost
from tests.tokportal.fake import NOW, Asked, Fake, listed, no, slot

ME = "GET /me"
ADD = "POST /bundles/b/add-video-slots"


@pytest.fixture
def drained(database: Database) -> tuple[Fake, Budget]:
    fake = Fake({ME: {"data": {}}})
    budget = Budget(database, fake.clock.microseconds)
    while budget.take("recovery") == 0:
        pass
    return fake, budget


def test_a_short_wait_for_the_quota_is_waited(drained: tuple[Fake, Budget]) -> None:
    fake, budget = drained
    fake.client(budget).me("recovery")
    assert fake.waited == [pytest.approx(0.5)]


def test_a_long_wait_is_somebody_elses(drained: tuple[Fake, Budget]) -> None:
    fake, budget = drained
    with pytest.raises(TryAgain, match="used up") as raised:
        fake.client(budget).me("ordinary")
    assert raised.value.after == pytest.approx(6.5)
    assert fake.asked == [] and fake.waited == []


def test_a_fast_world_waits_less(drained: tuple[Fake, Budget]) -> None:
    fake, budget = drained
    fake.client(budget, speed=600).me("ordinary")
    assert sum(fake.waited) < 1


def test_429_closes_the_budget_for_everybody(database: Database) -> None:
    fake = Fake({ME: (*no(429, "RATE_LIMIT_EXCEEDED", retry_after_seconds=1), {"Retry-After": "2"})})
    budget = Budget(database, fake.clock.microseconds)
    with pytest.raises(TryAgain) as raised:
        fake.client(budget).me("recovery")
    assert raised.value.after == 2, "the header comes first, as TokPortal's documentation says"
    assert budget.take("recovery") == 2


def test_a_cooldown_is_another_thing(database: Database) -> None:
    fake = Fake({ADD: no(429, "capacity_cooldown"), ME: {"data": {}}})
    budget = Budget(database, fake.clock.microseconds)
    client = fake.client(budget)
    for _ in range(2):
        with pytest.raises(TryAgain) as raised:
            client.call("addVideoSlots", "recovery", {"id": "b"}, body={"quantity": 1}, key="k")
        assert raised.value.after == COOLDOWN_WAIT
    assert fake.whats() == [ADD], "the second one was not even sent"
    client.me("ordinary")


def test_what_tokportal_has_left_is_believed(database: Database) -> None:
    fake = Fake({ME: (200, {"data": {}}, {"X-RateLimit-Remaining": "30"})})
    budget = Budget(database, fake.clock.microseconds)
    fake.client(budget).me("ordinary")
    assert budget.room("recovery") == 30
    assert CAPACITY > 30


def test_the_same_request_has_the_same_key() -> None:
    body = {"b": 1, "a": [1, 2]}
    known = derived_key("cmd_1", "x", {"id": "b"}, body)
    assert known == derived_key("cmd_1", "x", {"id": "b"}, {"a": [1, 2], "b": 1})
    others = [("cmd_2", "x", {"id": "b"}, body), ("cmd_1", "y", {"id": "b"}, body), ("cmd_1", "x", {"id": "c"}, body)]
    assert known not in {derived_key(*other) for other in [*others, ("cmd_1", "x", {"id": "b"}, {"b": 1})]}


# How it stands.


@pytest.mark.parametrize(
    "trouble",
    [httpx2.ConnectError("refused"), httpx2.ReadTimeout("slow"), no(503, "UNAVAILABLE"), no(401, "AUTH_REVOKED_KEY")],
)
def test_what_comes_to_nothing_is_trouble_until_the_next_good_answer(trouble: Any) -> None:
    fake = Fake({ME: [trouble, trouble, {"data": {}}]})
    client = fake.client(speed=10)
    assert client.standing() == Standing()
    for _ in range(2):
        with pytest.raises(TryAgain):
            client.me("ordinary")
        fake.clock.pass_(600)
    known = client.standing()
    assert (known.failing_since, known.seconds, known.has_answered) == (NOW, 120.0, False)
    assert "TokPortal" in known.why
    client.me("ordinary")
    assert client.standing() == Standing(has_answered=True)


@pytest.mark.parametrize("refusal", [no(404, "NOT_FOUND"), no(422, "INVALID")])
def test_a_refusal_is_an_answer(refusal: Any) -> None:
    client = Fake({ME: refusal}).client()
    with pytest.raises(Refused):
        client.me("ordinary")
    assert client.standing() == Standing(has_answered=True)


@pytest.mark.parametrize("limit", [no(429, "RATE_LIMIT_EXCEEDED"), no(425, "TOO_EARLY")])
def test_to_be_asked_to_wait_is_no_trouble(limit: Any) -> None:
    client = Fake({ME: limit}).client()
    with pytest.raises(TryAgain):
        client.me("ordinary")
    assert client.standing().failing_since is None


# Dry runs.


def price(said: Any) -> int:
    return Fake({ADD: said}).client().price("addVideoSlots", "ordinary", {"id": "b"}, {"quantity": 4})


def test_a_dry_run_names_the_price() -> None:
    fake = Fake({ADD: {"data": {}, "dry_run": True, "credits_charged": 0, "credits_would_charge": 8}})
    assert fake.client().price("addVideoSlots", "ordinary", {"id": "b"}, {"quantity": 4}) == 8
    assert fake.asked[0].is_dry and fake.asked[0].key is None
    assert price({"data": {"dry_run": True, "credits_would_charge": 7.2}}) == 8


def test_a_dry_run_that_was_none() -> None:
    with pytest.raises(AnswerLost, match="may have been carried out"):
        price({"data": {}, "credits_charged": 8})
    with pytest.raises(AnswerLost):
        price({"data": {}, "dry_run": True, "credits_charged": 8, "credits_would_charge": 8})
    with pytest.raises(TryAgain, match="names no price"):
        price({"data": {}, "dry_run": True})
    with pytest.raises(Refused, match="INSUFFICIENT_CREDITS"):
        price(no(402, "INSUFFICIENT_CREDITS", required=8))
    with pytest.raises(TryAgain):
        price((503, ""))


# Reads.


def test_rows_say_when_they_were_asked_for() -> None:
    fake = Fake({"GET /bundles": {"data": [{"id": "a"}], "pagination": {"page": 2, "total_pages": 3, "total": 201}}})
    page = fake.client().bundles("sweep", 2, status="published", platform=None)
    assert page == Page(({"id": "a"},), NOW, 2, False, 201)
    assert fake.asked[0].query == {"page": ["2"], "per_page": ["100"], "status": ["published"]}


def test_reads_ask_as_documented() -> None:
    empty = listed()
    fake = Fake(
        {
            "GET /accounts": empty,
            "GET /account-bans": empty,
            "GET /accounts/s/warming-sessions": empty,
            "GET /webhooks": empty,
            "GET /webhooks/w/deliveries": empty,
            "GET /webhooks/events": {"data": {"events": [{"type": "bundle.created"}], "envelope": {}, "fields": []}},
            "POST /webhooks/w/deliveries/d/retry": {"data": {"success": True}},
            "GET /videos/tp_1/analytics": no(404, "VIDEO_NOT_FOUND"),
            "GET /bundles/b": no(403, "BUNDLE_NOT_OWNED"),
        }
    )
    client = fake.client()
    client.accounts("sweep", banned=True)
    client.bans("sweep", since=datetime(2026, 12, 1, tzinfo=UTC), status="appeal_refused")
    client.warming_sessions("ordinary", "s")
    client.endpoints("ordinary")
    client.deliveries("ordinary", "w", 3, success=False)
    assert client.events("ordinary").rows == ({"type": "bundle.created"},)
    assert client.retry_delivery("ordinary", "w", "d", "key").data == {"success": True}
    assert client.analytics("ordinary", "tp_1") is None
    with pytest.raises(Refused):
        client.bundle("ordinary", "b")
    queries = [asked.query for asked in fake.asked]
    assert queries[0]["banned"] == ["true"]
    assert queries[1]["since"] == ["2026-12-01T00:00:00Z"]
    assert queries[4] == {"page": ["3"], "per_page": ["100"], "success": ["false"]}


def test_a_lost_answer_to_a_retry_of_a_delivery_does_no_harm() -> None:
    with pytest.raises(TryAgain):
        Fake({"POST /webhooks/w/deliveries/d/retry": (500, "")}).client().retry_delivery("sweep", "w", "d", "key")


def test_slots_that_come_in_pages_all_the_same() -> None:
    def page(asked: Asked) -> Any:
        number = int(asked.query.get("page", ["1"])[0])
        return {"data": [slot(number)], "pagination": {"page": number, "total_pages": 3, "total": 3}}

    fake = Fake({"GET /bundles/b/videos": page})
    assert [row["position"] for row in fake.client().slots("ordinary", "b").rows] == [1, 2, 3]
    fake = Fake({"GET /bundles/b/videos": listed(*(slot(n) for n in range(1, 301)))})
    assert len(fake.client().slots("ordinary", "b").rows) == 300
    assert len(fake.asked) == 1


@pytest.mark.parametrize("says_pages", [True, False])
def test_no_slot_is_missed_where_pages_are_smaller_unless_asked_otherwise(says_pages: bool) -> None:
    rows = [{**slot(n), "video_id": None, "bundle_id": "b"} for n in range(1, 131)]

    def page(asked: Asked) -> Any:
        number, per_page = int(asked.query.get("page", ["1"])[0]), int(asked.query.get("per_page", ["20"])[0])
        pages = {"total_pages": -(-len(rows) // per_page)} if says_pages else {}
        shown = rows[(number - 1) * per_page : number * per_page]
        return {"data": shown, "pagination": {"page": number, "total": len(rows), **pages}}

    fake = Fake({"GET /bundles/b/videos": page})
    assert [row["position"] for row in fake.client().slots("ordinary", "b").rows] == list(range(1, 131))


def walk(*walks: list[list[str]]) -> list[str]:
    """What a walk gives, where the list looks like this at each of the walks."""
    pages = [page for walk in walks for page in walk]
    totals = [len({name for page in walk for name in page}) for walk in walks for _ in walk]
    last = [number == len(walk) - 1 for walk in walks for number in range(len(walk))]
    said = iter(zip(pages, totals, last, strict=True))

    def read(number: int) -> Page:
        names, total, is_last = next(said)
        return Page(tuple({"id": name} for name in names), NOW, number, is_last, total)

    return [row["id"] for row in Fake({}).client().walk(read)]


def test_a_list_is_walked_once_where_nothing_changes() -> None:
    assert walk([["a", "b"], ["c"]]) == ["a", "b", "c"]


def test_a_row_that_comes_twice_is_given_once() -> None:
    assert walk([["a", "b"], ["b", "c"]]) == ["a", "b", "c"]


def test_a_row_that_was_skipped_is_found_at_the_next_walk() -> None:
    # `a` went away after page 1 was read, so that `c` moved to where nobody looked again.
    said = [([{"id": "a"}, {"id": "b"}], 4, False), ([{"id": "d"}], 3, True), ([{"id": "b"}, {"id": "c"}], 3, False)]
    pages = iter([*said, ([{"id": "d"}], 3, True)])

    def read(number: int) -> Page:
        rows, total, is_last = next(pages)
        return Page(tuple(rows), NOW, number, is_last, total)

    assert [row["id"] for row in Fake({}).client().walk(read)] == ["a", "b", "d", "c"]


def test_a_list_that_never_rests_ends_all_the_same() -> None:
    count = 0

    def read(number: int) -> Page:
        nonlocal count
        count += 1
        return Page(({"id": str(count)},), NOW, number, number == 2, count * 100)

    assert len(list(Fake({}).client().walk(read))) == 6


def test_without_a_key_there_is_no_gateway(database: Database, tmp_path: Path) -> None:
    def connected(**environment: str) -> Gateway | None:
        return connect(Settings.load(environment, tmp_path), database, Fake({}).clock)

    key = "sk_" + "1" * 64
    assert connected() is None
    gateway = connected(TOKPORTAL_API_KEY=key)
    assert gateway is not None and gateway.hands.room(0) == 60
    gateway.close()
    assert connected(ORCHESTRATOR_MODE="sandbox", TOKPORTAL_API_KEY=key) is None, "a sandbox never speaks to TokPortal"
