"""The service and the sandbox in one process, on a clock that stands still until it is moved: engine, dispatcher,
gateway, reconciliation and read models against TokPortal's look-alike, with people, lost answers and sudden deaths.

What runs side by side in the real service is interleaved here by chance: while a request is under way time passes,
managers go on, webhooks come in and the engine takes them.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import sqlalchemy as sa
from starlette.types import Message as AsgiMessage

from orchestrator import reconcile
from orchestrator.api.queries.bundles import list_bundles
from orchestrator.api.queries.campaigns import list_campaigns
from orchestrator.api.queries.commands import list_commands
from orchestrator.api.queries.videos import list_videos
from orchestrator.campaigns import read_document
from orchestrator.clock import Clock
from orchestrator.commands import Dispatcher
from orchestrator.database import Database
from orchestrator.dialects import identify
from orchestrator.engine import Engine
from orchestrator.journal import Journal, Message, message_id_of
from orchestrator.journal.journal import LIVE, WEBHOOK
from orchestrator.outbox.outbox import ALERT
from orchestrator.planning import draft
from orchestrator.sandbox.life import Life, open_world
from orchestrator.sandbox.model import Endpoint
from orchestrator.sandbox.rest import create_app
from orchestrator.secrets import Secret
from orchestrator.simulate.dialect import Dialect
from orchestrator.timers import Ringer
from orchestrator.tokportal.budget import Budget
from orchestrator.tokportal.client import Client
from orchestrator.tokportal.hands import Hands
from orchestrator.tokportal.transport import Transport
from orchestrator.webhooks.signature import Verifier
from projections import Follower
from tests.brain.stage import MONDAY, Stage, microseconds
from tests.soak import log, there
from tests.soak.checks import Told, check
from tests.soak.people import People, campaigns_of, is_over
from tests.soak.truth import Truth, truth_of

BASE_URL = "http://127.0.0.1:1/api/ext"
DOOR = "http://127.0.0.1:2/webhooks/tokportal"
BEGIN = MONDAY


class Death(BaseException):
    """The process of the service is gone at this very moment."""


class Fate:
    """Ends the service after so many further points at which it could end."""

    def __init__(self) -> None:
        self._left: int | None = None

    def is_set(self, after: int | None) -> None:
        self._left = after

    def point(self) -> None:
        """Raises `Death`, once."""
        if self._left is None:
            return
        self._left -= 1
        if self._left < 0:
            self._left = None
            raise Death


class MortalDatabase(Database):
    """The service may die before and after each of its commits."""

    fate = Fate()

    @contextmanager
    def transaction(self, connection: sa.Connection) -> Iterator[None]:
        with super().transaction(connection):
            yield
            self.fate.point()
        self.fate.point()


class StageClock(Clock):
    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def microseconds(self) -> int:
        return microseconds(self._stage.now)


class Wire(httpx2.BaseTransport):
    """From the gateway to the sandbox, and back."""

    def __init__(self, world: SoakWorld) -> None:
        self._world = world

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        world = self._world
        world.fate.point()
        world.meanwhile()
        response = world.loop.run_until_complete(self._ask(request))
        world.meanwhile()
        world.fate.point()
        return response

    async def _ask(self, request: httpx2.Request) -> httpx2.Response:
        said: list[AsgiMessage] = []

        async def receive() -> AsgiMessage:
            return {"type": "http.request", "body": request.read(), "more_body": False}

        async def send(message: AsgiMessage) -> None:
            said.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "scheme": "http",
            "path": request.url.path,
            "raw_path": request.url.raw_path.partition(b"?")[0],
            "query_string": request.url.query,
            "server": ("127.0.0.1", 1),
            "client": ("127.0.0.1", 3),
            "root_path": "",
        }
        await self._world.app(scope, receive, send)
        bodies = [message for message in said if message["type"] == "http.response.body"]
        if not bodies or bodies[-1].get("more_body"):
            self._world.lost += 1
            raise httpx2.RemoteProtocolError("the connection broke", request=request)
        content = b"".join(message.get("body", b"") for message in bodies)
        return httpx2.Response(said[0]["status"], headers=said[0]["headers"], content=content, request=request)


class Door(httpx2.AsyncBaseTransport):
    """From the sandbox's sender to the journal."""

    def __init__(self, world: SoakWorld) -> None:
        self._world = world
        self._verifier = Verifier([there.SECRET])

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        body = await request.aread()
        headers = [(name.lower(), value) for name, value in request.headers.raw]
        signed = self._verifier.verify(headers, body, self._world.real)
        if signed is None:
            return httpx2.Response(401, request=request)
        if self._world.is_down or self._world.rng.random() < 0.02:
            raise httpx2.ConnectError("nobody is there", request=request)
        self._world.take(signed.dialect, body)
        if self._world.rng.random() < 0.02:
            raise httpx2.ReadError("the answer was lost", request=request)
        return httpx2.Response(200, request=request)


class SoakWorld:
    """One world from its seed. `make` makes an empty migrated database."""

    def __init__(
        self,
        make: Callable[[], Database],
        seed: int,
        *,
        accounts: int = 7,
        countries: int = 2,
        videos: int = 24,
        days: int = 16,
        dialect: Dialect | None = None,
    ) -> None:
        self.rng = random.Random(seed)
        self.seed = seed
        self.make = make
        self.dialect = dialect or self.rng.choice(list(Dialect))
        self.fate = Fate()
        self.is_down = False
        self.real = 1_000_000.0
        self.deaths = 0
        self.loop = asyncio.new_event_loop()
        self.database = make()
        self._inside = False
        self._has_calm = False
        self.stage = Stage(self.database, now=BEGIN, policies=None, mode=None)
        self.clock = StageClock(self.stage)
        file = there.world_file(
            seed, self.dialect, accounts=accounts, countries=countries, slots=8 + videos // accounts
        )
        if self.rng.random() < 0.7:
            file = there.unknowns(self.rng, file)
        world = open_world(self.clock, seed=seed, parameters=file.parameters)
        self.life = Life(
            world,
            parameters=file.parameters,
            habits=file.habits,
            faults=file.faults,
            transport=Door(self),
            real=lambda: self.real,
            monotonic=lambda: self.real,
        )
        world.sleep = self._sleep_there
        world.put(
            Endpoint(id=world.new_id("webhook"), url=DOOR, signing_secret=there.SECRET, dialect=self.dialect.value)
        )
        for founding in file.accounts:
            self.life.founder.found(founding)
        self.app = create_app(world)
        self.loop.run_until_complete(self.life.sender.__aenter__())
        self.until = BEGIN + timedelta(days=days)
        self.stage.order({"command": "mode", "mode": "sandbox", "reads": True})
        self.stage.policies(self.rng.choice(POLICIES))
        self._take_up()
        self.people = People(self.rng, self._give)
        self.size = (accounts, countries, videos)
        self.given_up = 0
        self.lost = 0
        self._unheard: list[str] = []

    def close(self) -> None:
        self._put_down()
        self.stage.close()
        self.loop.run_until_complete(self.life.sender.__aexit__(None, None, None))
        self.life.world.close()
        self.loop.close()
        self.database.close()

    # The service.

    def _take_up(self) -> None:
        """Everything that a process has in memory, new."""
        service = MortalDatabase(self.database.url.render_as_string(hide_password=False), connections=CONNECTIONS)
        service.fate = self.fate
        self.service = service
        self.engine = Engine(service, max_batch=self.rng.choice([1, 20, 500]))
        budget = Budget(service, self.clock.microseconds)
        transport = Transport(BASE_URL, Secret(there.KEY), client=httpx2.Client(transport=Wire(self)))
        self.client = Client(BASE_URL, Secret(there.KEY), budget, self.clock, transport=transport, sleep=self._sleep)
        self.dispatcher = Dispatcher(service, self.clock.microseconds, Hands(self.client, budget))
        self.ringer = Ringer(service, self.clock.microseconds)
        self.reconciliation = reconcile.build(service, self.clock, self.client)
        self.follower = Follower(service, page=self.rng.choice([7, 100, 20_000]))
        self.journal = Journal(service)

    def _put_down(self) -> None:
        self.fate.is_set(None)
        self.dispatcher.close()
        self.ringer.close()
        self.reconciliation.close()
        self.journal.close()
        self.client.close()
        self.service.close()

    def _die(self) -> None:
        self.deaths += 1
        self._inside = False
        self._put_down()
        self.is_down = True
        self.pass_time(self.rng.choice([0, 1, 60, 1_800, 20_000]) * self.rng.random())
        self.is_down = False
        self._take_up()

    def work(self) -> None:
        """Each of the service's parts does a little, in any order; or it dies on the way."""
        if not self._has_calm and self.rng.random() < 0.08:
            self.fate.is_set(self.rng.randrange(25))
        parts = [self._engine, self.dispatcher.step, self.ringer.step, self.reconciliation.step, self.follower.step]
        chances = dict(zip(parts, [6, 6, 2, 2, 1], strict=True))
        busy = list(parts)
        try:
            for _ in range(self.rng.choice([3, 10, 30])):
                part = self.rng.choices(busy, [chances[part] for part in busy])[0]
                if part():
                    busy = list(parts)
                else:
                    busy.remove(part)
                if not busy:
                    break
        except Death:
            self._die()
        finally:
            self.fate.is_set(None)

    def _engine(self) -> int:
        done = 0
        for _ in range(self.rng.choice([1, 3, 1_000])):
            if not (step := self.engine.step()):
                break
            done += step
        return done

    # Time.

    def pass_time(self, seconds: float) -> None:
        """Time passes, and what happens at TokPortal happens, in its order."""
        until = self.stage.now + timedelta(seconds=seconds)
        world = self.life.world
        while True:
            due = world.next_due()
            moment = EPOCH + timedelta(microseconds=due) if due is not None else until
            self.stage.now = max(self.stage.now, min(moment, until))
            world.run_due()
            self.real += 100
            self.loop.run_until_complete(self.life.sender.settle())
            if moment >= until:
                break
        self.stage.now = until

    def meanwhile(self) -> None:
        """What happens while a request is under way."""
        if self._inside or self.rng.random() < 0.7:
            return
        self._inside = True
        try:
            self.pass_time(self.rng.choice([0.05, 0.05, 2, 30]) * self.rng.random())
            if self.rng.random() < 0.5:
                self.engine.step()
        finally:
            self._inside = False

    def _sleep(self, seconds: float) -> None:
        self.pass_time(seconds)

    async def _sleep_there(self, seconds: float) -> None:
        pass

    def take(self, dialect: str, body: bytes) -> None:
        """A webhook that the door lets in."""
        identity = identify(dialect, body)
        self.stage.journal.append(
            [
                Message(
                    message_id=message_id_of(dialect, identity.event_id, identity.digest),
                    kind=WEBHOOK,
                    endpoint="",
                    mode=LIVE,
                    dialect=dialect,
                    event_id=identity.event_id,
                    id_source=identity.id_source,
                    digest=identity.digest,
                    body=body,
                    headers="{}",
                    actor='{"kind":"vendor","name":"tokportal"}',
                    received_at=microseconds(self.stage.now),
                )
            ]
        )

    # The story.

    def run(self) -> list[str]:
        """Everything that broke."""
        self._settle(hours=6)
        while self.stage.now < self.until:
            self.pass_time(self.rng.choice([30, 600, 3_600, 3 * 3_600]) * self.rng.random())
            self._start()
            if self.rng.random() < 0.002:
                self.life.managers.bans.ban_some(self.rng.choice(there.COUNTRIES[: self.size[1]]), 1)
            if self.rng.random() < 0.04:
                self.people.act(self._told())
            if self.rng.random() < 0.01:
                self._decree()
            for _ in range(self.rng.randrange(1, 4)):
                self.work()
        self._calm_down()
        while self.engine.step():
            pass
        return [*self.check(), *self._unheard]

    def _start(self) -> None:
        """Starts the campaigns whose day has come."""
        begun = len(self.people.campaigns)
        if begun == CAMPAIGNS or self.stage.now < BEGIN + (self.until - BEGIN) * begun / (CAMPAIGNS + 2):
            return
        first = self.stage.now.date() + timedelta(days=self.rng.randrange(5))
        for text in self.rng.sample(campaigns_of(f"c{begun}", *self.size, CAMPAIGNS, first, self.until.date()), 2):
            spec = read_document(text)
            with self.database.read() as connection:
                planned = draft(connection, self.database, spec, self.stage.now)
            self.stage.order(planned.order(spec), run=False)
            self.stage.order({"command": "campaign.start", "campaign_id": spec.campaign_id}, run=False)
            self.people.campaigns.append(spec.campaign_id)

    def _decree(self) -> None:
        """Something changes for everybody."""
        mode = {"command": "mode", "mode": self.rng.choice(["observe", "sandbox", "sandbox"]), "reads": True}
        policies = {"command": "policies.apply", "text": self.rng.choice(POLICIES)}
        self.stage.order(self.rng.choice([mode, policies]), run=False)

    def _give(self, kind: str, name: Any, action: str, **body: Any) -> None:
        about = {f"{kind}_id": name} if kind != "service" else {}
        if kind == "market":
            about = {"country": name[0], "platform": name[1]}
        more = {"bundle_id": None} if (kind, action) == ("video", "reroute") else {}
        self.stage.order({"command": f"{kind}.{action}", **about, **more, **body}, run=False)

    def _calm_down(self) -> None:
        """Nothing goes wrong any more, people tidy up, and after a while nothing is left to be done."""
        self._has_calm = True
        self.life.fault_settings = there.NO_FAULTS
        self.stage.order({"command": "mode", "mode": "sandbox", "reads": True}, run=False)
        for _ in range(14):
            self.people.tidy(self._told())
            self._settle(hours=24)
        self._give_up()
        for _ in range(14):
            if is_over(self._told().videos):
                break
            self.people.tidy(self._told())
            self._settle(hours=24)
        self._settle(hours=24)

    def _give_up(self) -> None:
        """What TokPortal neither posts nor gives back is for people to end. They must have been told of it."""
        with self.database.read() as connection:
            alerts = " ".join(
                str(item["body"]) for item in list_commands(connection, limit=1_000_000, kind=ALERT)["items"]
            )
        for video in self._told().videos:
            if not is_over([video]):
                self.given_up += 1
                if video["video_id"] not in alerts:
                    self._unheard.append(f"{video['video_id']} is stuck, and nobody was told: {video}")
                self._give("video", video["video_id"], "cancel")

    def _settle(self, hours: float) -> None:
        for _ in range(int(hours / 4) or 1):
            self.pass_time(4 * 3_600)
            for _ in range(3):
                self.work()

    # What came of it.

    def _told(self) -> Told:
        while self.follower.step():
            pass
        with self.database.read() as connection:
            commands = list_commands(connection, limit=1_000_000)["items"]
            return Told(
                list_videos(connection, limit=1_000_000)["items"],
                list_bundles(connection, limit=1_000_000)["items"],
                [command for command in commands if command["kind"] != ALERT],
                sum(item["videos"] for item in list_campaigns(connection, limit=1_000_000)["items"]),
                self.stage.now.isoformat(),
            )

    def happened(self) -> Counter[str]:
        """What went on, in numbers."""
        truth = self.truth()
        states = Counter(str(video["state"]) for video in self._told().videos)
        more = {"deaths": self.deaths, "bans": len(truth.banned), "requests": truth.requests, "given up": self.given_up}
        return states + Counter({**more, "lost answers": self.lost})

    def truth(self) -> Truth:
        return truth_of(self.life.world)

    def check(self) -> list[str]:
        return [
            *check(self.truth(), self._told()),
            *log.check_log(self.database),
            *log.check_journal(self.database),
            *log.check_read_models(self.database, page=self.rng.choice([11, 20_000])),
            *log.check_replay(self.database, self.make, self.rng.choice([7, 500])),
        ]


CONNECTIONS = 8
CAMPAIGNS = 4
"""Moments at which campaigns are started."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HEAD = """
defaults:
  warming: {terms: [garden, bread, chess], retries: 2}
  budget: {credits_per_day: 100000, approve_above: 100000}
"""
POLICIES = [
    HEAD,
    HEAD
    + '  failure: {codes: {"network_*": retry, "content_*": stop, "copyright_*": stop}, retries: 1, backoff: [30m]}\n',
    HEAD + "  posting: {per_day: 2}\n  ban: {breaker: {bans: 2, within: 24h}}\n",
    HEAD + "  reroute: {max: 3, deadline: 10d}\n  failure: {missed_after: 6h}\n",
    HEAD.replace("100000", "20") + "  ban: {then: hold}\n",
]
