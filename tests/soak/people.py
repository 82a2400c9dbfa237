"""People who use the service: they start campaigns, change their minds, and tidy up at the end."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from datetime import date
from typing import Any

from orchestrator.sandbox.founding import PLATFORMS
from tests.soak import there
from tests.soak.checks import ENDS, Item, Told

Give = Callable[..., None]
"""`give(kind, name, action, **body)`: an order about one bundle, video, command, campaign, or market (whose name is
country and platform). What the service refuses is refused."""


def campaigns_of(
    name: str, accounts: int, countries: int, videos: int, parts: int, starts: date, ends: date
) -> list[str]:
    """Two campaigns that want at least that part of the videos: most of them on one account of each market, the others
    everywhere."""
    markets = [
        (code, platform)
        for code in there.COUNTRIES[:countries]
        for number, platform in enumerate(PLATFORMS)
        if number == 0 or accounts > 3 * countries
    ]
    everywhere = max(1, videos // parts // 3 // accounts)
    # Towards the end a third of the accounts may be gone, and what is wanted of them with them.
    once = max(1, -(-(videos // parts - everywhere * accounts * 2 // 3) // len(markets)))
    return [
        _campaign(f"{name}-once", once, markets, starts, ends, "spread: one_account\n"),
        _campaign(f"{name}-everywhere", everywhere, markets, starts, ends, "spread: every_account\n"),
    ]


def _campaign(name: str, refs: int, markets: Iterable[tuple[str, str]], starts: date, ends: date, more: str) -> str:
    videos = "".join(
        f"  - {{ref: {name}-{number}, media: 'https://cdn.example.com/{name}/{number}.mp4', caption: 'No {number}'}}\n"
        for number in range(refs)
    )
    targets = "".join(f"  - {{country: {country}, platform: {platform}}}\n" for country, platform in markets)
    stated = "disclose_as_ads: true\nai_content_disclaimer: false\n"
    return f"name: {name}\nstarts: {starts}\nends: {ends}\nvideos:\n{videos}targets:\n{targets}{stated}{more}"


class People:
    def __init__(self, rng: random.Random, give: Give) -> None:
        self._rng = rng
        self._give = give
        self.campaigns: list[str] = []

    def act(self, told: Told) -> None:
        """One of them does something."""
        rng = self._rng
        ours = [video["video_id"] for video in told.videos if video["campaign_id"] is not None]
        held = [video["video_id"] for video in told.videos if "held" in video["flags"]]
        bundles = [bundle["bundle_id"] for bundle in told.bundles]
        stuck = [command["command_id"] for command in told.commands if command["status"] in ("dead", "unknown")]
        waits = [command["command_id"] for command in told.commands if command["status"] == "held"]
        campaign = rng.choice(self.campaigns or ["cmp_none"])
        orders: list[tuple[int, str, list[Any], tuple[str, ...]]] = [
            (4, "bundle", bundles, ("pause",)),
            (6, "bundle", [b["bundle_id"] for b in told.bundles if "paused" in b["holds"]], ("resume",)),
            (2, "bundle", bundles, ("review", "warm")),
            (4, "bundle", [b["bundle_id"] for b in told.bundles if "needs_review" in b["holds"]], ("reviewed",)),
            (3, "video", ours, ("reroute", "reroute", "retry", "cancel")),
            (3, "video", held, ("release", "cancel")),
            (3, "command", stuck, ("retry",)),
            (3, "command", waits, ("approve",)),
            (1, "campaign", [campaign], ("pause",)),
            (4, "campaign", [campaign], ("resume",)),
            (6, "market", _markets(told), ("resume",)),
            (1, "market", _markets(told), ("pause",)),
            (1, "service", [None], ("pause",)),
            (3, "service", [None], ("resume",)),
        ]
        orders = [order for order in orders if order[2]]
        _, kind, names, actions = rng.choices(orders, [order[0] for order in orders])[0]
        self._give(kind, rng.choice(names), rng.choice(actions))

    def tidy(self, told: Told) -> None:
        """Nothing waits for a person any more."""
        self._give("service", None, "resume")
        for campaign in self.campaigns:
            self._give("campaign", campaign, "resume")
        for market in _markets(told):
            self._give("market", market, "resume")
        for bundle in told.bundles:
            for hold, action in (("paused", "resume"), ("needs_review", "reviewed")):
                if hold in bundle["holds"]:
                    self._give("bundle", bundle["bundle_id"], action)
        for video in told.videos:
            if "held" in video["flags"] and video["state"] not in ENDS:
                self._give("video", video["video_id"], self._rng.choice(["release", "cancel"]))


def _markets(told: Told) -> list[tuple[str, str]]:
    places: set[tuple[str, str]] = {
        (b["country"], b["platform"]) for b in told.bundles if b["country"] and b["platform"]
    }
    return sorted(places)


def is_over(videos: Iterable[Item]) -> bool:
    return all(video["state"] in ENDS for video in videos)
