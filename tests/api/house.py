"""The API on a database, in a real server, with everything that tests put into it."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import uvicorn
from starlette.applications import Starlette

from orchestrator.api.app import create_app
from orchestrator.api.services import Services, Token
from orchestrator.database import Database
from orchestrator.database.tables import bundles, countries, projections, videos
from orchestrator.dialects import ARTICLE, identify
from orchestrator.engine import Engine
from orchestrator.journal import Appended, Journal, Message, message_id_of
from orchestrator.journal.group_commit import GroupCommit, JournalUnavailableError
from orchestrator.journal.journal import LIVE, WEBHOOK

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TOKENS = (
    Token("vera", "viewer", "viewer-secret-7f3a"),
    Token("otto", "operator", "operator-secret-91bc"),
    Token("ada", "admin", "admin-secret-c0de"),
)
numbers = itertools.count(1)


def micros(time: datetime) -> int:
    return (time - EPOCH) // timedelta(microseconds=1)


@dataclass
class FixedClock:
    now: datetime = NOON

    def microseconds(self) -> int:
        return micros(self.now)


def bearer(role: str) -> dict[str, str]:
    return {"Authorization": "Bearer " + next(token.value for token in TOKENS if token.role == role)}


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@contextmanager
def serving(app: Starlette) -> Iterator[str]:
    """The base URL of a server that runs the app in a thread."""
    config = uvicorn.Config(
        app, log_config=None, lifespan="on", ws="none", proxy_headers=False, timeout_graceful_shutdown=2
    )
    server = _Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            assert server.ready.wait(10)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


@dataclass
class House:
    """What a test works with. `client` speaks to the served API."""

    database: Database
    services: Services
    app: Starlette
    client: httpx2.Client
    clock: FixedClock
    workers: dict[str, str | None] = field(default_factory=dict)

    def get(self, path: str, status: int = 200, **options: Any) -> Any:
        """The JSON of the answer, which has this status."""
        answer = self.client.get(path, **options)
        assert answer.status_code == status, answer.text
        if status >= 400 and not path.startswith("/health"):
            check_problem(answer)
        return answer.json()

    def walk(self, path: str, limit: int, **params: Any) -> list[Any]:
        """Every item of a list, page by page."""
        found: list[Any] = []
        cursor = None
        while True:
            paging = {"limit": limit} | ({} if cursor is None else {"cursor": cursor})
            page = self.get(path, params={**params, **paging})
            assert len(page["items"]) <= limit
            found += page["items"]
            cursor = page["next"]
            if cursor is None:
                return found

    def tell(self, *messages: Message) -> None:
        """Journals the messages and lets the engine take them all."""
        journal = Journal(self.database)
        try:
            journal.append(messages)
        finally:
            journal.close()
        engine = Engine(self.database)
        while engine.step():
            pass

    def insert(self, table: Any, *rows: Mapping[str, Any]) -> None:
        with self.database.write() as connection:
            connection.execute(table.insert(), list(rows))

    def projected(self, **positions: int) -> None:
        with self.database.write() as connection:
            connection.execute(projections.delete())
            connection.execute(projections.insert(), [{"name": name, "position": at} for name, at in positions.items()])


class InThisProcess(GroupCommit):
    """Commits without a process of its own, which would have to be started for each test."""

    def __init__(self, journal: Journal) -> None:
        super().__init__([])
        self._journal = journal
        self._process = object()  # type: ignore[assignment]
        self._has_begun = True
        self._lock = threading.Lock()

    async def append(self, what: Any, timeout: float) -> Appended:
        try:
            return await asyncio.to_thread(self._append, what)
        except Exception as error:
            raise JournalUnavailableError from error

    def _append(self, what: Any) -> Appended:
        with self._lock:  # A journal is for one thread at a time.
            return self._journal.append([what])[0]

    async def stop(self) -> None:
        await asyncio.to_thread(self._journal.close)


@contextmanager
def house(url: str, *, tokens: Sequence[Token] = (), **options: Any) -> Iterator[House]:
    # The journal keeps a connection of its own; four threads of the API read, and the test itself writes.
    database = Database(url, connections=8)
    commit = InThisProcess(Journal(database))
    clock = FixedClock()
    workers: dict[str, str | None] = {}
    services = Services(database, commit, clock, tokens=tokens, workers=lambda: workers, **options)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await commit.stop()

    app = create_app(services, lifespan=lifespan)
    try:
        with serving(app) as base_url, httpx2.Client(base_url=base_url, timeout=20, trust_env=False) as client:
            yield House(database, services, app, client, clock, workers)
    finally:
        database.close()


def check_problem(answer: Any) -> None:
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["type"].startswith("urn:orchestrator:problem:")
    assert body["title"]
    assert body["detail"]
    for secret in ("Traceback", "Error(", "sqlalchemy", "psycopg", "sqlite", "/work", ".py", "-secret-"):
        assert secret not in answer.text


def webhook(
    event: str, minute: float = 0, *, bundle: str = "bdl_1", raw: bytes | None = None, **members: Any
) -> Message:
    """A message of the article dialect as the door stores it."""
    content = {
        "id": f"evt_{next(numbers)}",
        "event": event,
        "timestamp": (NOON + timedelta(minutes=minute)).isoformat(),
        "bundle_id": bundle,
        "platform": "tiktok",
        "country": "US",
        "data": {},
    } | members
    return stored(json.dumps(content).encode() if raw is None else raw, ARTICLE)


def stored(body: bytes, dialect: str) -> Message:
    identity = identify(dialect, body)
    return Message(
        message_id=message_id_of(dialect, identity.event_id, identity.digest),
        kind=WEBHOOK,
        endpoint="default",
        mode=LIVE,
        dialect=dialect,
        event_id=identity.event_id,
        id_source=identity.id_source,
        digest=identity.digest,
        body=body,
        headers="{}",
        actor='{"kind":"vendor","name":"tokportal"}',
        received_at=micros(NOON + timedelta(minutes=30, milliseconds=250)),
    )


def bundle_row(bundle_id: str, **columns: Any) -> dict[str, Any]:
    row = {column.name: None for column in bundles.c} | {
        "bundle_id": bundle_id,
        "platform": "tiktok",
        "country": "US",
        "group": "default",
        "state": "completed",
        "warmed": True,
        "postable": True,
        "holds": "[]",
        "flags": "[]",
        "first_seen": "2026-11-20T12:00:00Z",
        "memo": b"",
    }
    return row | columns


def video_row(video_id: str, **columns: Any) -> dict[str, Any]:
    row = {column.name: None for column in videos.c} | {
        "video_id": video_id,
        "bundle_id": "bdl_1",
        "state": "posted",
        "flags": "[]",
        "attempts": "[]",
        "memo": b"",
    }
    return row | columns


def country_row(country: str, platform: str, subject: str, state: str, count: int) -> dict[str, Any]:
    return dict(zip(countries.c.keys(), (country, platform, subject, state, count), strict=True))
