"""The hands: service and sandbox as real processes, and how fast what was decided is done at TokPortal."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from orchestrator.clock import Scale
from orchestrator.sandbox.founding import Founding
from orchestrator.sandbox.habits import Managing
from orchestrator.sandbox.parameters import Parameters
from orchestrator.sandbox.worldfile import WorldFile
from orchestrator.simulate.dialect import Dialect
from tests.soak.rig import Rig

ACCOUNTS = 100
COUNTRIES = ("US", "FR", "DE", "ES", "IT")
BANS = 50
PAUSE = 3.0
"""Seconds from one ban to the next: what each sets off has to fit into 120 requests a minute."""
BUSY_ACCOUNTS = 600
WINDOW = timedelta(minutes=10)
SPEED = 10.0
"""Seconds of the world in one, for what takes ten minutes there."""
CAPACITY, REFILL = 120, 2.0
"""Requests that TokPortal grants at once, and each second (its documentation)."""
PATIENCE = 300.0
POLICIES = """
defaults:
  warming: {start: manual}
  ban: {breaker: {bans: 1000, within: 1h}}
  reroute: {max: 10}
"""
BATCH = "batchConfigureBundleVideos"

T = TypeVar("T")


class Share(NamedTuple):
    """Of the requests of ten minutes: `used` for commands, out of `granted`; `refused` by TokPortal as too many."""

    used: float
    granted: float
    refused: int


@contextmanager
def rig(url: str, accounts: int, speed: float) -> Iterator[Rig]:
    """Warm accounts with free slots, whom nothing happens to unless it is asked for."""
    world = WorldFile(
        parameters=Parameters(webhook_dialect=Dialect.ARTICLE.value),
        managers=Managing(misses=0, fails=0, bans_per_account_year=0, appeals=0, metrics_after=()),
        accounts=tuple(
            Founding(country=country, count=accounts // len(COUNTRIES), state="warm", slots=30) for country in COUNTRIES
        ),
    )
    with tempfile.TemporaryDirectory(prefix="orchestrator-bench-") as folder:
        made = Rig(Path(folder), url, world, Scale(datetime.now(UTC), speed), POLICIES)
        try:
            made.start_sandbox()
            made.start()
            _wait(lambda: len(_warm(made)) == accounts, "accounts that are known to be warm, with their slots")
            yield made
        finally:
            made.close()


def _warm(made: Rig) -> list[str]:
    """What there was before the service is read at its first start, which takes its share of the requests."""
    bundles = made.service.items("/api/bundles")
    return [bundle["bundle_id"] for bundle in bundles if bundle["postable"] and bundle["slots"] is not None]


def _wait(look: Callable[[], T], what: str) -> T:
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {PATIENCE:.0f} s: {what}")
        time.sleep(0.1)
    return found


def _campaign(accounts: int, first_day: str) -> str:
    """Two videos for each of so many accounts, with content of their own."""
    each = accounts // len(COUNTRIES)
    videos = "".join(
        f"  - {{ref: r{number}, media: 'https://cdn.example.com/{number}.mp4'}}\n" for number in range(2 * each)
    )
    targets = "".join(f"  - {{country: {country}, platform: tiktok, accounts: {each}}}\n" for country in COUNTRIES)
    stated = "disclose_as_ads: true\nai_content_disclaimer: false\n"
    return f"name: bench\nstarts: {first_day}\nspread: one_account\nvideos:\n{videos}targets:\n{targets}{stated}"


def _day(made: Rig) -> str:
    """Far enough away that nothing is posted while it is measured."""
    return (made.now + timedelta(days=3)).date().isoformat()


def _effects(made: Rig) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = made.admin("GET", "truth")["effects"]
    return found


def moves(url: str) -> list[float]:
    """By ban of an account with open videos, the least first: the seconds from the ban to the moment at which TokPortal
    has the first of these videos on another account."""
    with rig(url, ACCOUNTS, 1.0) as made:
        _, wanted = made.start_campaign(_campaign(BANS, _day(made)))
        _wait(lambda: len(made.service.items("/api/videos", state="scheduled")) == wanted, "videos at TokPortal")
        seconds = [_until_moved(made, bundle_id) for bundle_id in _busy(made)]
        return sorted(seconds)


def _busy(made: Rig) -> list[str]:
    return sorted({video["bundle_id"] for video in made.service.items("/api/videos", state="scheduled")})


def _until_moved(made: Rig, bundle_id: str) -> float:
    items = made.service.api("/api/videos", bundle_id=bundle_id, limit=500)["items"]
    there = {item["video_id"] for item in items if item["state"] == "scheduled"}
    if not there:
        raise RuntimeError(f"{bundle_id} has no video that could be moved")
    ban = made.admin("POST", "bans", {"bundle_id": bundle_id})["bans"][0]
    banned_at = datetime.fromisoformat(ban["decided_at"])
    time.sleep(PAUSE)
    moved = _wait(lambda: _moved(made, there, bundle_id, banned_at), f"videos of {bundle_id} elsewhere")
    return (min(moved) - banned_at).total_seconds()


def _moved(made: Rig, videos: set[str], bundle_id: str, since: datetime) -> list[datetime]:
    return [
        at
        for effect in _effects(made)
        if effect["external_ref"] in videos
        and effect["bundle_id"] != bundle_id
        and (at := datetime.fromisoformat(effect["at"])) >= since
    ]


def share(url: str) -> Share:
    """Ten minutes of the world with more to hand over than can be."""
    with rig(url, BUSY_ACCOUNTS, SPEED) as made:
        _, wanted = made.start_campaign(_campaign(BUSY_ACCOUNTS, _day(made)))
        _wait(lambda: _effects(made), "the first video at TokPortal")
        began = datetime.fromisoformat(_effects(made)[0]["at"])
        time.sleep(WINDOW.total_seconds() / SPEED + 1)
        truth = made.admin("GET", "truth")
        effects = [effect for effect in truth["effects"] if datetime.fromisoformat(effect["at"]) <= began + WINDOW]
        if len(effects) >= wanted:
            raise RuntimeError("everything was handed over before the ten minutes had passed")
        # Several videos of a bundle go together, between two looks at its slots; a single one takes a look and itself.
        requests = Counter((effect["operation"], effect["idempotency_key"]) for effect in effects)
        used = sum(3 if operation == BATCH else 2 for operation, _ in requests)
        granted = CAPACITY + REFILL * WINDOW.total_seconds()
        return Share(used, granted, truth["counters"].get("rate_limited", 0))
