"""What the demo is made of: its policies, its campaign, how fast its time goes. The accounts are the sandbox's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import httpx2

from orchestrator.sandbox.demo_world import DEMO

EPOCH: Final = "2026-12-01T08:00:00Z"
"""When the world begins: a Tuesday morning."""
SPEED: Final = 6_000.0
"""Seconds of the world in one real second: a day takes a quarter of a minute."""
TARGETS: Final = (
    ("US", "tiktok", 4),
    ("FR", "tiktok", 3),
    ("GB", "tiktok", 2),
    ("DE", "tiktok", 2),
    ("BR", "tiktok", 2),
    ("US", "instagram", 1),
    ("FR", "instagram", 1),
)
"""Country, platform and how many accounts: fewer than there are, so that there are others to move to."""
CLIPS: Final = 3

POLICIES: Final = """\
version: 1
# The policies of the demo: what it takes to see something happen within a minute.
defaults:
  warming:
    mode: advanced
    terms: [street food, ramen, food market]
  posting:
    per_day: 2
  failure:
    codes:
      "network_*": retry
      "upload_*": retry
    retries: 1
    backoff: [30m]
  reroute:
    max: 3
    choose: least_loaded
  ban:
    breaker: {bans: 3, within: 24h}
  budget: {credits_per_day: 400, approve_above: 60}
  alerts: {"*": []}  # they are shown on the page, and sent to nobody
"""

MOST_CAMPAIGNS: Final = 5
"""How many follow each other while somebody may watch."""

Market = tuple[str, str]
"""Country and platform."""


def name_of(number: int) -> str:
    return "demo" if number == 1 else f"demo-{number}"


def campaign(accounts: Mapping[Market, Sequence[str]], number: int = 1) -> dict[str, Any]:
    """The document of the campaign on these accounts: bundles by country and platform."""
    return {
        "name": name_of(number),
        "labels": {"purpose": "demo"},
        "videos": [
            {
                "ref": f"clip-{clip}",
                "media": f"https://cdn.example.com/demo/clip-{clip}.mp4",
                "caption": f"Street food, part {clip}",
                "captions": {"FR": f"Cuisine de rue, {clip}", "DE": f"Straßenküche, Teil {clip}"},
            }
            for clip in range(1, CLIPS + 1)
        ],
        "targets": [
            {"country": country, "platform": platform, "bundles": list(bundles)}
            for (country, platform), bundles in accounts.items()
        ],
        "spread": "every_account",
        "disclose_as_ads": False,
        "ai_content_disclaimer": False,
    }


def choose(bundles: Iterable[Mapping[str, Any]]) -> dict[Market, list[str]]:
    """Of `bundles`, as the API lists them, those that the campaign is for: as many of each market as `TARGETS` says, or
    as there are. First come those that will be banned: to see them recover is what the demo is for."""
    doomed = {founding.username for founding in DEMO.accounts if founding.ban_after_days is not None}
    found: dict[Market, list[str]] = {}
    for bundle in sorted(bundles, key=lambda item: (item["username"] not in doomed, item["bundle_id"])):
        if bundle["postable"]:
            found.setdefault((bundle["country"], bundle["platform"]), []).append(bundle["bundle_id"])
    wanted = {(country, platform): number for country, platform, number in TARGETS}
    return {market: found[market][:number] for market, number in wanted.items() if market in found}


def clock(speed: float = SPEED) -> str:
    """The setting ORCHESTRATOR_CLOCK of the demo's world."""
    return f"{EPOCH}@{speed:.15g}"


OVER: Final = ("completed", "cancelled")


class DemoError(Exception):
    """One sentence: what the demo could not do."""


def begin(
    base_url: str,
    *,
    number: int = 1,
    token: str | None = None,
    patience: float = 20.0,
    sleep: Callable[[float], object] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> str:
    """Drafts the campaign at the service at `base_url` and starts it, unless there is one of its name that runs or has
    run already. Returns the campaign's id. `token`: of the role operator, where the service asks for one.

    The service must have policies in force, and as many accounts that may post as the campaign is for. Both are waited
    for, `patience` seconds at most; then it begins with the accounts that there are.

    Raises:
        DemoError: the service does not answer, has no account that may post, or refuses the campaign.
    """
    deadline = now() + patience
    with _client(base_url, token) as client:
        while not _is_ready(client) and now() < deadline:
            sleep(0.2)
        known = _known(client, name_of(number))
        if known is None:
            accounts = choose(_asked(client, "GET", "/api/bundles", params={"limit": 500})["items"])
            if not accounts:
                raise DemoError("the demo's campaign cannot begin: no account of its countries may post")
            known = _asked(client, "POST", "/api/campaigns", json=campaign(accounts, number))
        campaign_id: str = known["campaign_id"]
        if known["status"] == "draft":
            _asked(client, "POST", f"/api/campaigns/{campaign_id}/start", headers={"Prefer": "wait=30"})
        return campaign_id


def go_on(base_url: str, *, token: str | None = None, every: float = 5.0) -> None:
    """Begins the campaign, and whenever one is over the next, so that there is something to see; returns when there
    have been enough. Those that were over before do not count. Raises `DemoError` as `begin` does."""
    number = 1
    with _client(base_url, token) as client:
        while (known := _known(client, name_of(number))) is not None and known["status"] in OVER:
            number += 1
    for following in range(number, number + MOST_CAMPAIGNS):
        campaign_id = begin(base_url, number=following, token=token)
        with _client(base_url, token) as client:
            while _asked(client, "GET", f"/api/campaigns/{campaign_id}")["status"] not in OVER:
                time.sleep(every)


def _client(base_url: str, token: str | None) -> httpx2.Client:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx2.Client(base_url=base_url, headers=headers, timeout=15, trust_env=False)


def _known(client: httpx2.Client, name: str) -> dict[str, Any] | None:
    items: list[dict[str, Any]] = _asked(client, "GET", "/api/campaigns", params={"limit": 500})["items"]
    return next((item for item in items if item["name"] == name), None)


def _is_ready(client: httpx2.Client) -> bool:
    try:
        policies = client.get("/api/policies")
        if policies.status_code != 200 or policies.json()["version"] is None:
            return False
        markets = client.get("/api/countries", params={"limit": 500}).json()["items"]
    except (httpx2.HTTPError, ValueError):
        return False
    postable = {(market["country"], market["platform"]): market["postable"] for market in markets}
    return all(postable.get((country, platform), 0) >= accounts for country, platform, accounts in TARGETS)


def _asked(client: httpx2.Client, method: str, path: str, **options: Any) -> Any:
    try:
        answer = client.request(method, path, **options)
        said = answer.json()
    except (httpx2.HTTPError, ValueError) as error:
        raise DemoError(f"the service at {client.base_url} does not answer: {error}") from None
    if answer.status_code >= 400:
        raise DemoError(f"the demo's campaign cannot begin: {said.get('detail', answer.status_code)}")
    return said
