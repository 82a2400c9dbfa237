"""Invariant 1 under the worst that can happen: what was answered 200 is in the journal, and took effect exactly once.

`CRASH_ROUNDS=100` and `CRASH_SEED=7` make a long night of it, the latter another one.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from orchestrator.simulate.dialect import Dialect
from orchestrator.simulate.storm import storm
from tests.blackbox.conftest import NewServer
from tests.blackbox.fold import FACTS, fold
from tests.blackbox.server import SECRET, Server, wait_for
from tests.blackbox.story import article, fresh

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "3"))
SEED = int(os.environ.get("CRASH_SEED", "1"))
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


class Storm:
    """Webhooks that come and come, some of them twice or late, whether anybody answers or not."""

    def __init__(self, url: str, seed: int, rate: float = 300) -> None:
        self.taken: Counter[str] = Counter()
        """How often each event was answered 200."""
        self._url, self._seed, self._rate = url, seed, rate
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._task: asyncio.Task[Any] | None = None
        self._error: BaseException | None = None

    @property
    def answers(self) -> int:
        return self.taken.total()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._blow())
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            self._error = error

    async def _blow(self) -> None:
        self._task = asyncio.current_task()
        await storm(
            f"{self._url}/webhooks/tokportal",
            SECRET,
            Dialect.ARTICLE,
            rate=self._rate,
            duration=3600,
            connections=8,
            bundles=20,
            duplicates=0.1,
            reordering=0.1,
            failures=0.2,
            seed=self._seed,
            record=self._record,
            timeout=5,
            patience=120,
        )

    def _record(self, event_id: str, status: int) -> None:
        if status == 200:
            self.taken[event_id] += 1

    def __enter__(self) -> Storm:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._task is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error

    def wait_for_answers(self, more: int) -> None:
        enough = self.answers + more
        wait_for(lambda: self.answers >= enough, 60, what=f"{more} more webhooks answered 200")


def check_that_everything_happened_once(server: Server, taken: Counter[str]) -> None:
    """The journal has all that was answered 200, the log each of its facts once, and the read models follow from it."""
    messages = server.items("/api/messages")
    webhooks = [item for item in messages if item["kind"] == "webhook"]
    journal = {item["event_id"]: item for item in webhooks}
    assert len(journal) == len(webhooks)
    assert taken.keys() <= journal.keys()
    assert {item["status"] for item in messages} == {"applied"}
    for event_id, times in taken.items():
        assert journal[event_id]["deliveries"] >= times

    log = server.items("/api/events")
    assert [event["position"] for event in log] == list(range(1, len(log) + 1))
    caused: defaultdict[str, list[int]] = defaultdict(list)
    facts: Counter[str] = Counter()
    versions: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for event in log:
        caused[event["cause"]["message_id"]].append(event["position"])
        versions[event["aggregate"]["kind"], event["aggregate"]["id"]].append(event["version"])
        if event["event"] in FACTS.values():
            facts[event["cause"]["event_id"]] += 1
    assert facts == Counter(journal.keys())
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in versions.values())
    assert {item["message_id"]: item["events"] for item in messages if item["events"]} == caused
    names = Counter(
        (event["event"], event["aggregate"]["id"]) for event in log if event["event"].endswith("Registered")
    )
    assert set(names.values()) <= {1}

    bundles, videos = fold(item["body"] for item in journal.values())
    assert shown(server, "bundles", bundles) == bundles
    assert shown(server, "videos", videos) == videos


def shown(server: Server, kind: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """What the API shows of all these, as far as they say anything."""
    name = f"{kind.removesuffix('s')}_id"
    items = {item[name]: item for item in server.items(f"/api/{kind}")}
    return {
        subject: {
            member: {part: item["metrics"][part] for part in wanted[subject]["metrics"]}
            if member == "metrics" and item["metrics"] is not None and wanted[subject]["metrics"] is not None
            else item[member]
            for member in wanted.get(subject, item)
        }
        for subject, item in items.items()
    }


def check_that_redeliveries_change_nothing(server: Server, chance: random.Random) -> None:
    head = server.api("/api/events", limit=1)["position"]
    webhooks = [item for item in server.items("/api/messages") if item["kind"] == "webhook"]
    for item in chance.sample(webhooks, 20):
        assert server.deliver_again(item["body"].encode()) == item["message_id"]
    server.wait_until_applied()
    assert server.api("/api/events", limit=1)["position"] == head


def test_kill_9_at_any_moment_of_a_storm(database_url: str, new_server: NewServer) -> None:
    chance = random.Random(SEED)
    server = new_server(database_url).start()
    with Storm(server.url, SEED) as storm:
        for _ in range(ROUNDS):
            storm.wait_for_answers(chance.randint(1, 500))
            if chance.random() < 0.5:
                # Not before the engine and the read models have moved, so that they are hit at their work too.
                head = server.api("/api/events", limit=1)["position"] + chance.randint(1, 300)
                wait_for(lambda head=head: min(positions(server)) >= head, what=f"read models at {head}")
            victim = chance.choice(["all", "all", "engine", "projections", "journal", "door"])
            if victim == "all":
                server.kill9()
                server.start()
            elif victim == "door":
                kill_the_first_process_alone(server)
                server.start()
            else:
                os.kill(server.worker(victim), signal.SIGKILL)
        storm.wait_for_answers(100)
    server.kill9()
    server.start()
    server.wait_until_applied(60)
    check_that_everything_happened_once(server, storm.taken)
    check_that_redeliveries_change_nothing(server, chance)
    assert server.stop() == 0


def positions(server: Server) -> list[int]:
    return [item["position"] for item in server.api("/api/projections")["items"]]


def kill_the_first_process_alone(server: Server) -> None:
    """Its workers see that they are orphans, and leave."""
    os.kill(server.pid, signal.SIGKILL)
    wait_for(lambda: not server.processes(), 15, what="the end of the workers")
    server.kill9()


@on_postgresql
def test_workers_leave_with_the_service_however_it_went(database_url: str, new_server: NewServer) -> None:
    server = new_server(database_url).start()
    assert len({server.worker("engine"), server.worker("projections"), server.pid}) == 3
    kill_the_first_process_alone(server)
    server.start()
    message_id = server.deliver(article("bundle.created", fresh("bdl")))
    assert server.judged(message_id)["status"] == "applied"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_killed_worker_is_started_again(database_url: str, new_server: NewServer) -> None:
    server = new_server(database_url).start()
    for name in ("engine", "projections"):
        before = server.worker(name)
        os.kill(before, signal.SIGKILL)
        wait_for(lambda name=name, before=before: server.worker(name) != before, what=f"another {name}")
        message = article("bundle.created", fresh("bdl"))
        server.deliver(message)
        server.wait_until_applied()
        assert server.api(f"/api/bundles/{message['bundle_id']}")["state"] == "created"
    wait_for(lambda: server.answers("/health/work"), what="work")


# Two services on one database


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    server.signal_all(signal.SIGSTOP)
    try:
        yield
    finally:
        server.signal_all(signal.SIGCONT)


TAKEOVER = 8.0


class Teller:
    """Webhooks one after the other, each answered 200."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()

    def tell(self, server: Server, count: int) -> None:
        for number in range(count):
            message = article("bundle.ready", fresh("bdl"), number)
            server.deliver(message)
            self.taken[message["id"]] += 1


@on_postgresql
def test_a_standby_takes_over(database_url: str, new_server: NewServer) -> None:
    teller = Teller()
    first = new_server(database_url, name="first").start()
    wait_for(lambda: first.answers("/health/work"), what="work of the first")
    second = new_server(database_url, name="second").start()

    # Both doors are open, one engine works.
    teller.tell(first, 50)
    teller.tell(second, 50)
    second.wait_until_applied()
    assert not [line for line in second.log_lines() if line["message"] == "working"]

    teller.tell(first, 100)
    first.kill9()
    teller.tell(second, 50)
    second.wait_until_applied(TAKEOVER)
    wait_for(lambda: second.answers("/health/work"), what="work of the second")

    # A clean stop hands over at once.
    first.start()
    assert second.stop() == 0
    teller.tell(first, 10)
    first.wait_until_applied(4)
    check_that_everything_happened_once(first, teller.taken)


@on_postgresql
def test_a_service_that_freezes_in_the_middle_of_its_work_is_overtaken(
    database_url: str, new_server: NewServer
) -> None:
    """As a virtual machine that is moved, or whose network is gone. It wakes up and believes that it still leads."""
    teller = Teller()
    first = new_server(database_url, name="first").start()
    wait_for(lambda: first.answers("/health/work"), what="work of the first")
    second = new_server(database_url, name="second").start()
    teller.tell(second, 300)
    with frozen(first):
        teller.tell(second, 50)
        second.wait_until_applied(TAKEOVER)
        teller.tell(second, 50)
        second.wait_until_applied()
    teller.tell(first, 50)
    teller.tell(second, 50)
    first.wait_until_applied()
    for server in (first, second):
        wait_for(lambda server=server: server.answers("/health/work"), what="work of both")
    check_that_everything_happened_once(first, teller.taken)


@on_postgresql
def test_the_same_webhooks_at_two_doors_at_once(database_url: str, new_server: NewServer) -> None:
    """As while TokPortal redelivers to another machine what the first was slow to answer."""
    first = new_server(database_url, name="first").start()
    second = new_server(database_url, name="second").start()
    with Storm(first.url, SEED) as one, Storm(second.url, SEED) as other:
        one.wait_for_answers(500)
        other.wait_for_answers(500)
        second.kill9()
        one.wait_for_answers(300)
        second.start()
        other.wait_for_answers(100)
    second.wait_until_applied(60)
    check_that_everything_happened_once(first, one.taken + other.taken)
