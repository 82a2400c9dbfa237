"""A TokPortal that answers what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import httpx2

from orchestrator.clock import Clock
from orchestrator.outbox import Command
from orchestrator.secrets import Secret
from orchestrator.tokportal.budget import Budget
from orchestrator.tokportal.client import Client
from orchestrator.tokportal.transport import Transport

BASE = "https://tokportal.test/api/ext"
KEY = "sk_" + "c0ffee00" * 8
NOW = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
Say = Callable[["Asked"], Any]


class Ticking(Clock):
    """A clock that a test sets."""

    def __init__(self, now: datetime = NOW) -> None:
        self.at = int(now.timestamp() * 1_000_000)

    def microseconds(self) -> int:
        return self.at

    def pass_(self, seconds: float) -> None:
        self.at += round(seconds * 1_000_000)


@dataclass
class Asked:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any

    @property
    def what(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def key(self) -> str | None:
        return self.headers.get("idempotency-key")

    @property
    def is_dry(self) -> bool:
        return self.headers.get("x-tokportal-dry-run") == "true"


@dataclass
class Fake:
    """`answers`: by method and path, what is said to it: a body, a status and a body, a status and a body and headers,
    an exception, or a function of what was asked. A list is said one after the other, its last for ever."""

    answers: dict[str, Any]
    clock: Ticking = field(default_factory=Ticking)
    asked: list[Asked] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    speed: float = 1.0

    def client(self, budget: Budget | None = None, speed: float = 1.0) -> Client:
        http = httpx2.Client(transport=httpx2.MockTransport(self._answer), follow_redirects=False)
        transport = Transport(BASE, Secret(KEY), client=http)
        self.speed = speed
        return Client(BASE, Secret(KEY), budget, self.clock, speed=speed, transport=transport, sleep=self._sleep)

    def whats(self) -> list[str]:
        return [("dry " if asked.is_dry else "") + asked.what for asked in self.asked]

    def _sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.clock.pass_(seconds * self.speed)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        content = request.read()
        asked = Asked(
            request.method,
            request.url.raw_path.decode().partition("?")[0].removeprefix("/api/ext"),
            parse_qs(request.url.query.decode()),
            {name.lower(): value for name, value in request.headers.items()},
            json.loads(content) if content else None,
        )
        self.asked.append(asked)
        said = self.answers[asked.what]
        if isinstance(said, list):
            said = said.pop(0) if len(said) > 1 else said[0]
        if callable(said) and not isinstance(said, type):
            said = said(asked)
        if isinstance(said, Exception):
            raise said
        status, body, *headers = said if isinstance(said, tuple) else (200, said)
        if isinstance(body, str):
            return httpx2.Response(status, text=body, headers=headers[0] if headers else None)
        return httpx2.Response(status, json=body, headers=headers[0] if headers else None)


def listed(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"data": list(rows)}


def slot(position: int, status: str = "pending", ref: str | None = None, **more: Any) -> dict[str, Any]:
    return {"video_id": f"tp_{position}", "position": position, "status": status, "external_ref": ref, **more}


def no(status: int, code: str, message: str = "no", **details: Any) -> tuple[int, dict[str, Any]]:
    return status, {"error": {"code": code, "message": message, "details": details}}


CONTENT = {
    "ref": "teaser-1",
    "type": "video",
    "media": "https://cdn.example.com/teaser-1.mp4",
    "caption": "New drop",
    "captions": None,
    "tiktok": {},
    "instagram": {"content_type": "reel"},
}


def command(kind: str, body: dict[str, Any], *, platform: str = "tiktok", **more: Any) -> Command:
    values: dict[str, Any] = {
        "command_id": "cmd_1",
        "kind": kind,
        "bundle_id": body.get("bundle_id"),
        "video_id": None,
        "campaign_id": None,
        "country": "US",
        "platform": platform,
        "body": body,
        "idempotency_key": "cmd_1",
        "price": None,
        "status": "running",
        "reason": None,
        "not_before": 0,
        "created_at": int(NOW.timestamp() * 1_000_000),
        "message_id": "msg_1",
    }
    return Command(**(values | more))


def configure(ref: str = "vid_1", bundle_id: str = "b", **more: Any) -> Command:
    content = {**CONTENT, **more.pop("content", {})}
    body = {
        "external_ref": ref,
        "bundle_id": bundle_id,
        "target_day": more.pop("day", "2026-12-05"),
        "try": more.pop("tries", 1),
        "content": content,
        "disclose_as_ads": True,
        "ai_content_disclaimer": False,
    }
    return command("configure_video", body, video_id=ref, command_id=f"cmd_{ref}", idempotency_key=f"cmd_{ref}", **more)
