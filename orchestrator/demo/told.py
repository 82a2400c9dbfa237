"""What the service tells of the demo, and what really happened, both asked over HTTP like any caller would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from orchestrator.demo.world import DemoError

Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """What the service says: items of its lists, as the API has them."""

    videos: list[Item]
    """Those of the campaign."""
    bundles: list[Item]
    decisions: list[Item]
    commands: list[Item]
    """Without alerts."""
    alerts: list[Item]
    events: list[Item]


@dataclass(frozen=True, slots=True)
class Post:
    """A post on a platform. `ref` is what its slot carried: the id of a video of ours, or None."""

    ref: str | None
    bundle_id: str
    account: str | None


@dataclass(frozen=True, slots=True)
class Truth:
    """What really happened, as the sandbox remembers it."""

    posts: list[Post]
    bundles: frozenset[str]
    banned: frozenset[str]
    """Bundles whose account is banned."""
    ever_banned: frozenset[str]
    """Accounts that were banned at any time, by a ban that was valid or is not decided yet."""
    violations: list[str]
    """What a caller of the API must never do, and did."""


def tell(service: httpx2.Client, campaign_id: str) -> Told:
    """Raises `DemoError` where the service does not answer."""
    commands = walk(service, "/api/commands")
    return Told(
        videos=walk(service, "/api/videos", campaign_id=campaign_id),
        bundles=walk(service, "/api/bundles"),
        decisions=walk(service, "/api/decisions"),
        commands=[command for command in commands if command["kind"] != "alert"],
        alerts=[command for command in commands if command["kind"] == "alert"],
        events=walk(service, "/api/events"),
    )


def walk(client: httpx2.Client, path: str, **query: str) -> list[Item]:
    """Every item of a list."""
    found: list[Item] = []
    cursor: str | None = None
    while True:
        page = get(client, path, limit="500", **query, **({} if cursor is None else {"cursor": cursor}))
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            return found


def get(client: httpx2.Client, path: str, **query: str) -> Any:
    try:
        answer = client.get(path, params=query)
        answer.raise_for_status()
        return answer.json()
    except (httpx2.HTTPError, ValueError) as error:
        raise DemoError(f"{client.base_url}{path} cannot be read: {error}") from None
