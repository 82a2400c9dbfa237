"""A world on a clock that stands still, and requests to it without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
from starlette.types import ASGIApp
from tokportal import TokPortal

from orchestrator.clock import Clock
from orchestrator.sandbox.model import Bundle, Listing, SavedAccount, Slot
from orchestrator.sandbox.rest import create_app
from orchestrator.sandbox.world import World

KEY = "sk_" + "a1" * 32
EPOCH = datetime(2026, 12, 1, 9, tzinfo=UTC)
_ORIGIN = datetime(1970, 1, 1, tzinfo=UTC)


class StandingClock(Clock):
    """Moves when it is told to."""

    def __init__(self, epoch: datetime = EPOCH) -> None:
        self.time = (epoch - _ORIGIN) // timedelta(microseconds=1)

    def microseconds(self) -> int:
        return self.time

    def forward(self, **passed: float) -> None:
        self.time += timedelta(**passed) // timedelta(microseconds=1)


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    content: bytes
    complete: bool

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.content)

    @property
    def data(self) -> Any:
        assert self.status < 300, self.content
        return self.json["data"]

    @property
    def code(self) -> str:
        """The error's code."""
        assert self.status >= 400, self.content
        return self.json["error"]["code"]

    @property
    def details(self) -> dict[str, Any]:
        return self.json["error"]["details"]


@dataclass
class House:
    world: World
    clock: StandingClock
    app: ASGIApp = field(init=False)

    def __post_init__(self) -> None:
        self.app = create_app(self.world)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """One request below the base path; `dry="true"`, `key="…"` and `api_key=""` stand for their headers."""
        names = {"dry": "X-TokPortal-Dry-Run", "key": "Idempotency-Key", "api_key": "X-API-Key"}
        sent = {"X-API-Key": KEY, **{names.get(name, name.replace("_", "-")): value for name, value in headers.items()}}
        content = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        return request(self.app, method, f"/api/ext{path}", {k: v for k, v in sent.items() if v}, content)

    def transport(self, url: str, method: str, headers: Mapping[str, str], body: bytes | None) -> tuple[int, Any]:
        """What the vendor's SDK may be given in place of the network."""
        parts = urlsplit(url)
        reply = request(self.app, method, f"{parts.path}?{parts.query}", headers, body or b"")
        return reply.status, reply.json if reply.content else None

    @property
    def sdk(self) -> TokPortal:
        return TokPortal(KEY, "https://sandbox.example/api/ext", self.transport)

    def bundle(self, **order: Any) -> str:
        """Buy a bundle; returns its id."""
        body = {"bundle_type": "account_and_videos", "platform": "tiktok", "country": "FR", "videos_quantity": 6}
        return self.ask("POST", "/bundles", {**body, **order}).data["bundle_id"]

    def active(self, **order: Any) -> str:
        """A bundle that a manager has accepted, with its account delivered."""
        world, id = self.world, self.bundle(**order)
        bundle = world.get(Bundle, id)
        listing = world.get(Listing, bundle.account_id or "")
        listing.username = listing.visible_name = "acme"
        world.deliver_account(bundle, "acme")
        world.move_listing(listing, "finalized")
        world.move_bundle(bundle, "accepted")
        world.save()
        return id

    def account_of(self, bundle_id: str) -> SavedAccount:
        account = self.world.saved_account_of(self.world.get(Bundle, bundle_id))
        assert account is not None
        return account

    def slot(self, bundle_id: str, position: int = 1) -> Slot:
        slot = self.world.slot(self.world.get(Bundle, bundle_id), position)
        assert slot is not None
        return slot

    def day(self, distance: int) -> str:
        """The day so many days from today."""
        return (self.world.today() + timedelta(days=distance)).isoformat()

    def video(self, distance: int = 5, **more: Any) -> dict[str, Any]:
        """A configuration that is right for TikTok."""
        return {"video_url": "https://cdn.example.com/1.mp4", "target_publish_date": self.day(distance), **more}


def request(app: ASGIApp, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply:
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("sandbox.example", 80),
    }
    reply = Reply(0, {}, b"", complete=False)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            reply.status = message["status"]
            reply.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
        else:
            reply.content += message.get("body", b"")
            reply.complete = not message.get("more_body", False)

    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    return reply
