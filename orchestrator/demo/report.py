"""What happened in a demo, counted and told."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.demo.told import Item, Told
from orchestrator.web.words import named

COUNTED = {
    "WarmingCompleted": "warmed",
    "VideoPosted": "posted",
    "PostFailed": "failures",
    "BundleBanned": "bans",
    "VideoRerouted": "reroutes",
    "VideoAbandoned": "given_up",
}
"""Events, and what they are counted as."""
ONCE = frozenset({"posted"})
"""What is true of a video or not, however often it is reported."""
TELLING = ("breaker", "stop", "reroute", "hold", "retry", "review", "wait", "warm")
"""The kinds of decisions that are worth a line, the rarest first."""
LINES = 10
LINES_OF_A_KIND = 3


@dataclass(frozen=True, slots=True)
class Report:
    """`seconds` are real ones, `days` those of the world. `countries`: counts by country. `why`: decisions worth
    reading. `checks`: problems by what should have held."""

    seconds: float
    days: float
    is_over: bool
    """Whether everything had ended, or the time was over first."""
    videos: Mapping[str, int]
    countries: Mapping[str, Mapping[str, int]]
    commands: Mapping[str, Mapping[str, int]]
    alerts: Mapping[str, int]
    credits: int
    why: list[Mapping[str, Any]]
    checks: Mapping[str, list[str]]

    @property
    def holds(self) -> bool:
        return not any(self.checks.values())

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in (*self.__slots__, "holds")}


def make(told: Told, checks: Mapping[str, list[str]], *, seconds: float, days: float, is_over: bool) -> Report:
    commands: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for command in told.commands:
        commands[command["kind"]][command["status"]] += 1
    return Report(
        seconds=round(seconds, 1),
        days=round(days, 1),
        is_over=is_over,
        videos=dict(Counter(video["state"] for video in told.videos)),
        countries=_by_country(told),
        commands={kind: dict(counts) for kind, counts in sorted(commands.items())},
        alerts=dict(Counter(alert["body"]["alert"] for alert in told.alerts if not alert["body"].get("resolves"))),
        credits=sum(command["price"] or 0 for command in told.commands if command["status"] == "done"),
        why=_why(told),
        checks=checks,
    )


def _by_country(told: Told) -> dict[str, dict[str, int]]:
    bundles = {bundle["bundle_id"]: bundle["country"] for bundle in told.bundles}
    accounts = {b["saved_account_id"]: b["country"] for b in told.bundles if b["saved_account_id"] is not None}
    videos = {video["video_id"]: video["country"] for video in told.videos}
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for bundle in told.bundles:
        found[bundle["country"] or "?"]["accounts"] += 1
    seen: set[tuple[str, str]] = set()
    for event in told.events:
        counted = COUNTED.get(event["event"])
        if counted in ONCE and (counted, event["aggregate"]["id"]) in seen:
            continue
        if counted is not None:
            seen.add((counted, event["aggregate"]["id"]))
            found[_country(event, bundles, accounts, videos)][counted] += 1
    names = ("accounts", *COUNTED.values())
    return {country: {name: found[country][name] for name in names} for country in sorted(found)}


def _country(event: Item, *known: Mapping[str, str | None]) -> str:
    """Where it happened: by what it is about, or by what it says itself."""
    name = event["aggregate"]["id"]
    for countries in known:
        if countries.get(name) is not None:
            return str(countries[name])
    return event.get("subject", {}).get("country") or "?"


def _why(told: Told) -> list[Mapping[str, Any]]:
    """Some decisions of each kind that is worth reading, with accounts and videos called by their names."""
    names = {bundle["bundle_id"]: bundle["username"] for bundle in told.bundles if bundle["username"] is not None}
    refs = {video["video_id"]: video["ref"] for video in told.videos}
    found: list[Mapping[str, Any]] = []
    for kind in TELLING:
        of_kind = [item for item in reversed(told.decisions) if item["kind"] == kind and item["reason"]]
        # One of each wording is enough.
        reasons = {item["reason"].partition(";")[0]: item for item in reversed(of_kind)}
        found += list(reasons.values())[:LINES_OF_A_KIND]
    return [
        {
            "at": item["at"],
            "kind": item["kind"],
            "about": refs.get(item["video_id"], item["video_id"]) or names.get(item["bundle_id"], item["bundle_id"]),
            "reason": named(item["reason"], names),
            "video_id": item["video_id"],
            "bundle_id": item["bundle_id"],
        }
        for item in found[:LINES]
    ]
