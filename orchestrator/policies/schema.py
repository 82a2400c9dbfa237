"""The policies in force: read from YAML, checked as a whole, and worked out for each country and platform."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from orchestrator.documents import Node, Problem, Reader, Refused, load
from orchestrator.documents.reader import join, named, named_key, suggestion
from orchestrator.domain.countries import PLATFORMS, country_code
from orchestrator.policies.fields import ALERTS, FIELDS, SECTIONS, URL, covers, written
from orchestrator.policies.zones import main_zone

DEFAULT_GROUP = "default"
LARGEST = 512 * 1024
"""Bytes of a policies file."""
_NOWHERE: Final = Node(None, 1, 1)
_zone = lru_cache(maxsize=None)(ZoneInfo)


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
    """`codes`: patterns and what follows, in the order in which they are tried; `*` is always among them."""

    codes: tuple[tuple[str, str], ...]
    retries: int
    backoff: tuple[timedelta, ...]
    missed_after: timedelta
    stuck_after: Mapping[str, timedelta]

    def action(self, code: str) -> str:
        """What follows from an error code: retry, reroute or stop."""
        return next(action for pattern, action in self.codes if fnmatchcase(code, pattern))


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
        return _zone(main_zone(country) if self.posting.timezone == "auto" else self.posting.timezone)


@dataclass(frozen=True, slots=True)
class Given:
    """A value and where it stands: the key, and how narrow its level is (0: nowhere, it is the default)."""

    value: Any
    node: Node = _NOWHERE
    key: str = ""
    depth: int = 0
    wider: Given | None = None
    """What holds behind it, for codes."""

    @property
    def where(self) -> str:
        here = f"{self.key} (line {self.node.line})" if self.depth else "default"
        return here if self.wider is None else f"{here}, then {self.wider.where}"


Place = tuple[str | None, str | None]
Level = Mapping[str, Given]


class Policies:
    """One version of the policies. `warnings` tell what cannot work, and what will happen instead."""

    def __init__(
        self,
        text: str,
        levels: Mapping[Place, Level],
        groups: Mapping[str, str],
        channels: Mapping[str, Given],
        alerts: Level,
    ) -> None:
        self.text = text
        self.sha256 = hashlib.sha256(text.encode()).hexdigest()
        self.groups = groups
        self.channels: Mapping[str, str] = {name: given.value for name, given in channels.items()}
        self.alerts: Mapping[str, tuple[str, ...]] = {kind: given.value for kind, given in alerts.items()}
        self.warnings: tuple[Problem, ...] = ()
        self._levels = levels
        self._channels = channels
        self._alerts = alerts
        self._at: dict[Place, Policy] = {}

    def at(self, country: str | None, platform: str | None) -> Policy:
        """What holds for accounts of this country and platform."""
        found = self._at.get((country, platform))
        if found is None:
            found = self._at[country, platform] = _policy(
                {name: given.value for name, given in self.given(country, platform).items()}
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

    def unheard(self, variable: Callable[[str], object | None]) -> list[Problem]:
        """Warnings of the channels that say nothing, since `variable` gives None for the one that has their URL."""
        found = []
        for name, given in self._channels.items():
            reference = given.value.removeprefix("env:")
            if reference != given.value and variable(reference) is None:
                message = f"{reference} is not set: what this channel should tell is only written to the log"
                found.append(Problem("warning", given.node.line, given.node.column, f"channels.{name}.url", message))
        return found

    def provenance(self, country: str | None, platform: str | None) -> list[tuple[str, Any, str, int | None]]:
        """Every key, its value for this country and platform as a file would have it, where that comes from, and the
        line; None for a default."""
        everything = self.given(country, platform) | {f"alerts.{kind}": given for kind, given in self._alerts.items()}
        return [
            (key, written(given.value), given.where, given.node.line if given.depth else None)
            for key, given in everything.items()
        ]

    def places(self) -> list[Place]:
        """The levels that the file has, the widest first."""
        return list(self._levels)

    def given(self, country: str | None, platform: str | None) -> dict[str, Given]:
        """The values for this country and platform, with where they stand."""
        found = {name: Given(field.default) for name, field in FIELDS.items()}
        for place in dict.fromkeys([(None, None), (country, None), (country, platform)]):
            for name, given in self._levels.get(place, {}).items():
                found[name] = _before(given, found[name]) if name == "failure.codes" else given
        return found


def _before(given: Given, wider: Given) -> Given:
    """Codes that are tried first, and those of the wider level that can still be reached after them."""
    rest = [item for item in wider.value if not any(covers(pattern, item[0]) for pattern, _ in given.value)]
    return replace(given, value=(*given.value, *rest), wider=wider if rest else None)


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


@lru_cache(maxsize=8)
def parse(text: str) -> Policies:
    """Raises `Refused` with everything that is wrong."""
    if len(text.encode("utf-8", "surrogatepass")) > LARGEST:
        raise Refused([Problem("error", 1, 1, "", f"the file is larger than {LARGEST // 1024} KiB")])
    root = load(text)
    reader = Reader()
    top = reader.mapping(root, "", ("version", "defaults", "countries", "groups", "channels"))
    if "version" in top and (type(top["version"].value) is not int or top["version"].value != 1):
        reader.error(top["version"], "version", "must be 1: this program knows no other version")
    levels: dict[Place, Level] = {}
    alerts: dict[str, Given] = {"*": Given(("ops",))}
    if "defaults" in top:
        members = reader.mapping(top["defaults"], "defaults", (*SECTIONS, "alerts"))
        levels[None, None] = _level(reader, members, "defaults", 1)
        if "alerts" in members:
            alerts |= _alerts(reader, members["alerts"])
    for name, node in reader.mapping(top.get("countries", _NOWHERE), "countries").items():
        _country(reader, name, node, levels)
    groups = _groups(reader, top.get("groups", _NOWHERE))
    channels = _channels(reader, top["channels"]) if "channels" in top else {"ops": Given("env:OPS_ALERT_URL")}
    _check_alerts(reader, alerts, channels)
    policies = Policies(text, levels, groups, channels, alerts)
    _check(reader, policies)
    _check_backups(reader, levels)
    reader.finish()
    policies.warnings = reader.warnings
    return policies


def _country(reader: Reader, name: str, node: Node, levels: dict[Place, Level]) -> None:
    key = f"countries.{named_key(name)}"
    code = country_code(name)
    if code is None:
        reader.error(node, key, "must be a country as ISO 3166 alpha-2, such as US or FR")
        return
    if (code, None) in levels:
        reader.error(node, key, f"{code} is given twice")
        return
    members = reader.mapping(node, key, (*SECTIONS, "platforms", "alerts"))
    levels[code, None] = _level(reader, members, key, 2)
    if "alerts" in members:
        reader.error(members["alerts"], f"{key}.alerts", "belongs in defaults: alerts are the same for every country")
    for platform, member in reader.mapping(
        members.get("platforms", _NOWHERE), f"{key}.platforms", sorted(PLATFORMS)
    ).items():
        path = f"{key}.platforms.{platform}"
        levels[code, platform] = _level(reader, reader.mapping(member, path, SECTIONS), path, 3)


def _level(reader: Reader, members: Mapping[str, Node], key: str, depth: int) -> Level:
    found: dict[str, Given] = {}
    for name, node in members.items():
        if name in SECTIONS:
            for field, given in _section(reader, node, join(key, name), name):
                found[field] = replace(given, depth=depth)
    return found


def _section(reader: Reader, node: Node, key: str, prefix: str) -> Iterator[tuple[str, Given]]:
    below = [name.removeprefix(f"{prefix}.").partition(".")[0] for name in FIELDS if name.startswith(f"{prefix}.")]
    for name, member in reader.mapping(node, key, list(dict.fromkeys(below))).items():
        path, full = join(key, name), f"{prefix}.{name}"
        field = FIELDS.get(full)
        if field is None:
            yield from _section(reader, member, path, full)
            continue
        value = field.read(reader, member, path)
        if value is not None:
            yield full, Given(value, member, path)


def _alerts(reader: Reader, node: Node) -> dict[str, Given]:
    found = {}
    for kind, member in reader.mapping(node, "defaults.alerts", ("*", *ALERTS)).items():
        key = f"defaults.alerts.{kind}"
        channels = reader.words(member, key)
        if channels is not None:
            found[kind] = Given(channels, member, key, 1)
    return found


def _check_alerts(reader: Reader, alerts: Level, channels: Level) -> None:
    for given in alerts.values():
        for name in given.value:
            if name in channels:
                continue
            if given.depth:
                which = suggestion(name, channels) or ": name it in channels"
                reader.error(given.node, given.key, f"there is no channel {named(name)}{which}")
            else:
                message = f"there is no channel {name}: alerts are only written to the log, unless alerts say otherwise"
                reader.warn(_NOWHERE, "defaults.alerts.*", message)


def _groups(reader: Reader, node: Node) -> dict[str, str]:
    found: dict[str, str] = {}
    for group, member in reader.mapping(node, "groups").items():
        key = f"groups.{named_key(group)}"
        if group == DEFAULT_GROUP:
            reader.error(member, key, "the group default is the rest: list only other groups")
        reader.word(Node(group, member.line, member.column), key, longest=120)
        for bundle_id in reader.words(member, key) or ():
            if found.setdefault(bundle_id, group) != group:
                reader.error(member, key, f"{bundle_id} is in the group {found[bundle_id]} already")
    return found


def _channels(reader: Reader, node: Node) -> dict[str, Given]:
    found: dict[str, Given] = {}
    for name, member in reader.mapping(node, "channels").items():
        key = f"channels.{named_key(name)}"
        before = reader.errors
        members = reader.mapping(member, key, ("url",))
        if "url" not in members:
            if reader.errors == before:
                reader.error(member, key, 'must have a url, such as "env:OPS_ALERT_URL"')
            continue
        where = members["url"]
        url = reader.text(where, f"{key}.url", longest=2000)
        if url is None:
            continue
        if re.fullmatch(URL, url) is None:
            # What stands there may be a secret in the wrong place: it is not shown.
            reader.error(where, f"{key}.url", "must be env: and the name of an environment variable, or an Apprise URL")
        elif not url.startswith("env:"):
            message = (
                "everybody who may see the policies sees this URL, for ever: write env: and a variable that has it"
            )
            reader.warn(where, f"{key}.url", message)
        found[name] = Given(url, where, key, 1)
    return found


class _Say(Protocol):
    def __call__(self, names: tuple[str, ...], message: str, *, is_error: bool = False) -> None: ...


def _check(reader: Reader, policies: Policies) -> None:
    """What each level says together with those above it: contradictions, and what cannot work."""
    told: set[tuple[int, str]] = set()
    for country, platform in dict.fromkeys([(None, None), *policies.places()]):
        given = policies.given(country, platform)

        def say(
            names: tuple[str, ...], message: str, *, is_error: bool = False, given: Mapping[str, Given] = given
        ) -> None:
            """Once, where the narrowest of these keys stands."""
            name = max(names, key=lambda n: given[n].depth)
            node = given[name].node
            if (node.line, message) not in told:
                told.add((node.line, message))
                (reader.error if is_error else reader.warn)(node, given[name].key or name, message)

        _contradictions(say, given)
        _warn(say, {name: item.value for name, item in given.items()})
        backups = given["reroute.backups"].value
        groups = {policies.group_of(name) for name in backups} if backups != "any" else set()
        if len(groups) > 1:
            many = f"the backups are of several groups ({', '.join(sorted(groups))}): each serves its own group only"
            say(("reroute.backups",), many)


def _contradictions(say: _Say, given: Mapping[str, Given]) -> None:
    value = {name: item.value for name, item in given.items()}
    ramp, per_day = given["posting.ramp"], given["posting.per_day"]
    if max(ramp.value, default=0) > per_day.value:
        message = f"the ramp goes above posting.per_day: {per_day.value} is the most"
        # A narrower level may well lower the cap under a ramp that stands above it.
        say(("posting.ramp", "posting.per_day"), message, is_error=ramp.depth == per_day.depth)
    if value["failure.retries"] and not value["failure.backoff"]:
        names = ("failure.backoff", "failure.retries")
        say(names, "there are retries and no back-off: say how long to wait before a try", is_error=True)
    if value["reroute.reserve"] and value["reroute.backups"] == "any":
        names = ("reroute.reserve", "reroute.backups")
        message = "reserves the listed backups, and none are listed: list them in reroute.backups"
        say(names, message, is_error=True)
    if value["reroute.choose"] == "listed_order" and value["reroute.backups"] == "any":
        names = ("reroute.choose", "reroute.backups")
        say(names, "asks for the order of a list: list the bundles in reroute.backups", is_error=True)


def _warn(say: _Say, value: Mapping[str, Any]) -> None:
    _warn_of_warming(say, value)
    postable = value["posting.postable"]
    if value["warming.mode"] == "none" and postable != "auto" and {"warming", "completed"}.issuperset(postable):
        message = "nothing is warmed, and only accounts that warm or are warm may post: nothing is ever placed"
        say(("posting.postable", "warming.mode"), message)
    for name, least in (("posting.lead_days.new", 3), ("posting.lead_days.existing", 1)):
        if value[name] < least:
            say(
                (name,), "TokPortal wants 3 days for a new account and 1 for an existing one: it refuses what is sooner"
            )
    if not value["failure.retries"] and "retry" in dict(value["failure.codes"]).values():
        message = "no further try is allowed: what a code wants to retry moves to another account at once"
        say(("failure.retries", "failure.codes"), message)
    if value["reroute.backups"] == ():
        say(("reroute.backups",), "no backup is listed: a video that has to move waits, and is given up")
    if not value["reroute.enabled"] or not value["reroute.max"]:
        name = "reroute.max" if value["reroute.enabled"] else "reroute.enabled"
        say((name,), "nothing is rerouted: a video that fails or whose account is banned is given up")


def _warn_of_warming(say: _Say, value: Mapping[str, Any]) -> None:
    mode, terms, start = value["warming.mode"], value["warming.terms"], value["warming.start"]
    if mode in ("niche", "deep"):
        say(("warming.mode",), f"TokPortal's public API does not know {mode} warming: it will refuse it")
    if mode != "advanced" or start == "manual":
        return
    if not terms:
        message = "advanced warming has no search terms: every start waits until warming.terms names some"
        say(("warming.terms", "warming.mode"), message)
    if 0 in (value["budget.credits_per_day"], value["budget.approve_above"]):
        message = "advanced warming costs credits, and the budget is 0: every start waits for an admin's approval"
        say(("budget.approve_above", "budget.credits_per_day", "warming.mode"), message)


def _check_backups(reader: Reader, levels: Mapping[Place, Level]) -> None:
    """A bundle is one account, in one country and on one platform: elsewhere it can take nothing over."""
    listed: dict[str, Place] = {}
    for (country, platform), level in levels.items():
        given = level.get("reroute.backups")
        if given is None or given.value == "any" or country is None:
            continue
        for name in given.value:
            first = listed.setdefault(name, (country, platform))
            if first[0] != country or (first[1] != platform and None not in (first[1], platform)):
                there = " on ".join(part for part in (first[0], first[1]) if part)
                reader.warn(given.node, given.key, f"{name} is listed for {there} too: it serves only where it is")
