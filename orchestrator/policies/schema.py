"""The policies in force: read from YAML, checked as a whole, and worked out for each country and platform."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from fnmatch import fnmatchcase
from typing import Any
from zoneinfo import ZoneInfo

from orchestrator.documents import Node, Problem, Reader, Refused, load
from orchestrator.documents.reader import join, suggestion
from orchestrator.domain.countries import PLATFORMS, country_code
from orchestrator.policies.fields import ALERTS, FIELDS, SECTIONS
from orchestrator.policies.zones import main_zone

DEFAULT_GROUP = "default"
LARGEST = 512 * 1024
"""Bytes of a policies file."""


@dataclass(frozen=True, slots=True)
class Warming:
    start: str
    mode: str
    terms: tuple[str, ...]
    retries: int


@dataclass(frozen=True, slots=True)
class Posting:
    """`postable`: auto, or states; `timezone`: auto, or an IANA name; `blackout`: first and last days."""

    postable: str | tuple[str, ...]
    timezone: str
    days: tuple[str, ...]
    blackout: tuple[tuple[date, date], ...]
    per_day: int
    ramp: tuple[int, ...]
    lead_new: int
    lead_existing: int


@dataclass(frozen=True, slots=True)
class Failure:
    """`codes`: patterns and what follows, in the order in which they are tried."""

    codes: tuple[tuple[str, str], ...]
    retries: int
    backoff: tuple[timedelta, ...]
    missed_after: timedelta
    stuck_after: Mapping[str, timedelta]

    def action(self, code: str) -> str:
        """What follows from an error code: retry, reroute or stop."""
        return next((action for pattern, action in self.codes if fnmatchcase(code, pattern)), "reroute")


@dataclass(frozen=True, slots=True)
class Reroute:
    """`backups`: None for any."""

    enabled: bool
    max: int
    choose: str
    backups: tuple[str, ...] | None
    reserve: bool
    deadline: timedelta


@dataclass(frozen=True, slots=True)
class Ban:
    then: str
    breaker_bans: int
    breaker_within: timedelta


@dataclass(frozen=True, slots=True)
class Budget:
    """In credits."""

    credits_per_day: int
    approve_above: int


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy for one country and platform."""

    warming: Warming
    posting: Posting
    failure: Failure
    reroute: Reroute
    ban: Ban
    budget: Budget

    def zone(self, country: str) -> ZoneInfo:
        """The calendar of accounts in `country`."""
        return ZoneInfo(main_zone(country) if self.posting.timezone == "auto" else self.posting.timezone)


@dataclass(frozen=True, slots=True)
class Given:
    """A value as the file gives it, and where."""

    value: Any
    node: Node
    where: str


Level = Mapping[str, Given]


class Policies:
    """One version of the policies. `warnings` tell what cannot work, and what will happen instead."""

    def __init__(
        self,
        text: str,
        levels: Mapping[tuple[str | None, str | None], Level],
        groups: Mapping[str, str],
        channels: Mapping[str, str],
        alerts: Mapping[str, tuple[str, ...]],
        warnings: tuple[Problem, ...] = (),
    ) -> None:
        self.text = text
        self.sha256 = hashlib.sha256(text.encode()).hexdigest()
        self.groups = groups
        self.channels = channels
        self.alerts = alerts
        self.warnings = warnings
        self._levels = levels
        self._at: dict[tuple[str | None, str | None], Policy] = {}

    def at(self, country: str | None, platform: str | None) -> Policy:
        """What holds for accounts of this country and platform."""
        found = self._at.get((country, platform))
        if found is None:
            found = self._at[country, platform] = _policy(
                {name: given.value for name, given in self._merged(country, platform).items()}
            )
        return found

    def group_of(self, bundle_id: str) -> str:
        return self.groups.get(bundle_id, DEFAULT_GROUP)

    def channels_for(self, alert: str) -> tuple[str, ...]:
        """Where people are told of this."""
        return self.alerts.get(alert, self.alerts.get("*", ()))

    def reserved(self, country: str | None, platform: str | None) -> frozenset[str]:
        """Backups that are kept free of ordinary posts."""
        reroute = self.at(country, platform).reroute
        return frozenset(reroute.backups or ()) if reroute.reserve else frozenset()

    def provenance(self, country: str | None, platform: str | None) -> list[tuple[str, Any, str]]:
        """Every key, its value for this country and platform, and where that comes from."""
        return [(name, given.value, given.where) for name, given in self._merged(country, platform).items()]

    def places(self) -> list[tuple[str | None, str | None]]:
        """The levels that the file has, the widest first."""
        return list(self._levels)

    def given(self, country: str | None, platform: str | None) -> Mapping[str, Given]:
        """The values for this country and platform, with where they stand."""
        return self._merged(country, platform)

    def _merged(self, country: str | None, platform: str | None) -> dict[str, Given]:
        found = {name: Given(field.default, _NOWHERE, "default") for name, field in FIELDS.items()}
        for place in dict.fromkeys([(None, None), (country, None), (country, platform)]):
            for name, given in self._levels.get(place, {}).items():
                wider = found[name]
                if name == "failure.codes" and (place != (None, None)):
                    # Codes of the narrower level are tried first; the wider ones still hold after them.
                    where = f"{given.where}, then {wider.where}"
                    given = Given((*given.value, *wider.value), given.node, where)
                found[name] = given
        return found


_NOWHERE = Node(None, 1, 1)


def _policy(values: Mapping[str, Any]) -> Policy:
    backups = values["reroute.backups"]
    return Policy(
        Warming(*(values[f"warming.{name}"] for name in ("start", "mode", "terms", "retries"))),
        Posting(
            postable=values["posting.postable"],
            timezone=values["posting.timezone"],
            days=values["posting.days"],
            blackout=values["posting.blackout"],
            per_day=values["posting.per_day"],
            ramp=values["posting.ramp"],
            lead_new=values["posting.lead_days.new"],
            lead_existing=values["posting.lead_days.existing"],
        ),
        Failure(
            codes=values["failure.codes"],
            retries=values["failure.retries"],
            backoff=values["failure.backoff"],
            missed_after=values["failure.missed_after"],
            stuck_after={
                name: values[f"failure.stuck_after.{name}"] for name in ("uploading", "uploaded", "retrying", "warming")
            },
        ),
        Reroute(
            values["reroute.enabled"],
            values["reroute.max"],
            values["reroute.choose"],
            None if backups == "any" else backups,
            values["reroute.reserve"],
            values["reroute.deadline"],
        ),
        Ban(values["ban.then"], values["ban.breaker.bans"], values["ban.breaker.within"]),
        Budget(values["budget.credits_per_day"], values["budget.approve_above"]),
    )


def parse(text: str) -> Policies:
    """Raises `Refused` with everything that is wrong."""
    if len(text.encode("utf-8", "surrogatepass")) > LARGEST:
        raise Refused([Problem("error", 1, 1, "", f"the file is larger than {LARGEST // 1024} KiB")])
    root = load(text)
    reader = Reader()
    top = reader.mapping(root, "", ("version", "defaults", "countries", "groups", "channels"))
    if "version" in top and top["version"].value != 1:
        reader.error(top["version"], "version", "must be 1: this program knows no other version")
    levels: dict[tuple[str | None, str | None], Level] = {}
    alerts: dict[str, tuple[str, ...]] = {"*": ("ops",)}
    alert_nodes: list[tuple[Node, str, str]] = []
    if "defaults" in top:
        members = reader.mapping(top["defaults"], "defaults", (*SECTIONS, "alerts"))
        levels[None, None] = _level(reader, members, "defaults")
        if "alerts" in members:
            alerts |= _alerts(reader, members["alerts"], alert_nodes)
    for name, node in reader.mapping(top.get("countries", _NOWHERE), "countries").items():
        _country(reader, name, node, levels)
    groups = _groups(reader, top.get("groups", _NOWHERE))
    channels = _channels(reader, top.get("channels", _NOWHERE))
    for node, key, name in alert_nodes:
        if name not in channels:
            reader.error(node, key, f"there is no channel {name!r}{suggestion(name, channels)}")
    policies = Policies(text, levels, groups, channels, alerts)
    _check(reader, policies)
    reader.finish()
    policies.warnings = reader.warnings
    return policies


def _country(reader: Reader, name: str, node: Node, levels: dict[tuple[str | None, str | None], Level]) -> None:
    key = f"countries.{name}"
    code = country_code(name)
    if code is None:
        reader.error(node, key, "must be a country as ISO 3166 alpha-2, such as US or FR")
        return
    if (code, None) in levels:
        reader.error(node, key, f"{code} is given twice")
        return
    members = reader.mapping(node, key, (*SECTIONS, "platforms"))
    levels[code, None] = _level(reader, members, key)
    for platform, member in reader.mapping(members.get("platforms", _NOWHERE), f"{key}.platforms").items():
        path = f"{key}.platforms.{platform}"
        if platform not in PLATFORMS:
            known = sorted(PLATFORMS)
            reader.error(member, path, f"must be one of {', '.join(known)}{suggestion(platform, known)}")
            continue
        levels[code, platform] = _level(reader, reader.mapping(member, path, SECTIONS), path)


def _level(reader: Reader, members: Mapping[str, Node], key: str) -> Level:
    found: dict[str, Given] = {}
    for name, node in members.items():
        if name in SECTIONS:
            _section(reader, node, join(key, name), name, found)
    return found


def _section(reader: Reader, node: Node, key: str, prefix: str, found: dict[str, Given]) -> None:
    below = [name.removeprefix(f"{prefix}.").partition(".")[0] for name in FIELDS if name.startswith(f"{prefix}.")]
    for name, member in reader.mapping(node, key, list(dict.fromkeys(below))).items():
        path, full = join(key, name), f"{prefix}.{name}"
        field = FIELDS.get(full)
        if field is None:
            _section(reader, member, path, full, found)
            continue
        value = field.read(reader, member, path)
        if value is not None:
            found[full] = Given(value, member, f"{path} (line {member.line})")


def _alerts(reader: Reader, node: Node, named: list[tuple[Node, str, str]]) -> dict[str, tuple[str, ...]]:
    found = {}
    for kind, member in reader.mapping(node, "defaults.alerts", ("*", *ALERTS)).items():
        key = f"defaults.alerts.{kind}"
        channels = reader.each(member, key, lambda item, name: reader.text(item, name))
        if channels is not None:
            found[kind] = channels
            named += [(member, key, name) for name in channels]
    return found


def _groups(reader: Reader, node: Node) -> dict[str, str]:
    found: dict[str, str] = {}
    for group, member in reader.mapping(node, "groups").items():
        key = f"groups.{group}"
        if group == DEFAULT_GROUP:
            reader.error(member, key, "the group default is the rest: list only other groups")
        for bundle_id in reader.each(member, key, lambda item, name: reader.text(item, name)) or ():
            if found.setdefault(bundle_id, group) != group:
                reader.error(member, key, f"{bundle_id} is in the group {found[bundle_id]} already")
    return found


def _channels(reader: Reader, node: Node) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, member in reader.mapping(node, "channels").items():
        key = f"channels.{name}"
        members = reader.mapping(member, key, ("url",))
        if "url" not in members:
            reader.error(member, key, 'must have a url, such as "env:OPS_ALERT_URL"')
            continue
        url = reader.text(members["url"], f"{key}.url", longest=2000)
        if url is not None:
            found[name] = url
    return found


def _check(reader: Reader, policies: Policies) -> None:
    """What each level says together with those above it: contradictions, and what cannot work."""
    told: set[tuple[int, str]] = set()
    for country, platform in [(None, None), *(place for place in policies.places() if place != (None, None))]:
        given = policies.given(country, platform)

        def node(*names: str, given: Mapping[str, Given] = given) -> tuple[Node, str]:
            """Where the narrowest of these keys stands."""
            name = max(names, key=lambda n: given[n].node.line if given[n].node is not _NOWHERE else 0)
            return given[name].node, given[name].where.partition(" (")[0]

        def say(how: str, names: tuple[str, ...], message: str) -> None:
            where, key = node(*names)
            if (where.line, message) not in told:
                told.add((where.line, message))
                (reader.error if how == "error" else reader.warn)(
                    where, key if where is not _NOWHERE else names[0], message
                )

        value = {name: item.value for name, item in given.items()}
        if any(cap > value["posting.per_day"] for cap in value["posting.ramp"]):
            say("error", ("posting.ramp", "posting.per_day"), "the ramp goes above posting.per_day")
        if value["failure.retries"] and not value["failure.backoff"]:
            names = ("failure.retries", "failure.backoff")
            say("error", names, "there are retries and no back-off: say how long to wait before a try")
        if value["reroute.reserve"] and value["reroute.backups"] == "any":
            names = ("reroute.reserve", "reroute.backups")
            say("error", names, "reserves the listed backups, and none are listed: list them in reroute.backups")
        if value["reroute.choose"] == "listed_order" and value["reroute.backups"] == "any":
            names = ("reroute.choose", "reroute.backups")
            say("error", names, "asks for the order of a list, and reroute.backups has none")
        _warn(say, value)
        if value["reroute.backups"] != "any":
            groups = {policies.group_of(name) for name in value["reroute.backups"]}
            if len(groups) > 1:
                say(
                    "warning",
                    ("reroute.backups",),
                    f"the backups are of several groups ({', '.join(sorted(groups))}): each serves its own group only",
                )


def _warn(say: Any, value: Mapping[str, Any]) -> None:
    mode, budget = value["warming.mode"], ("warming.mode", "budget.approve_above", "budget.credits_per_day")
    if mode == "advanced" and value["warming.start"] != "manual":
        if not value["warming.terms"]:
            say(
                "warning",
                ("warming.terms", "warming.mode"),
                "advanced warming has no search terms: every start waits until warming.terms names some",
            )
        elif 0 in (value["budget.credits_per_day"], value["budget.approve_above"]):
            say(
                "warning",
                budget,
                "advanced warming costs credits, and the budget is 0: every start waits for an admin's approval",
            )
    if mode in ("niche", "deep"):
        say("warning", ("warming.mode",), f"TokPortal's public API does not know {mode} warming: it will refuse it")
    postable = value["posting.postable"]
    if mode == "none" and postable == ("completed",):
        say(
            "warning",
            ("posting.postable", "warming.mode"),
            "nothing is warmed, and only warmed accounts may post: nothing is ever placed",
        )
    if value["reroute.backups"] == ():
        say("warning", ("reroute.backups",), "no backup is listed: a video that has to move waits, and is given up")
    if not value["reroute.enabled"]:
        say(
            "warning",
            ("reroute.enabled",),
            "reroutes are off: a video that fails or whose account is banned is given up",
        )
