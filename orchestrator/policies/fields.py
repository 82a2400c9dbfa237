"""Every key of a level of `policies.yaml`: what may stand there, what it is if nothing does, and what it means.

The validator, the effective values and the JSON Schema for editors are all made from this one list.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Final
from zoneinfo import available_timezones

from orchestrator.documents import Node, Reader
from orchestrator.documents.reader import day_of, named, suggestion

BUNDLE_STATES: Final = ("created", "ready", "warming", "completed")
"""States that `posting.postable` may name; an account that failed or is banned is never postable."""
ACTIONS: Final = ("retry", "reroute", "stop")
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SECOND: Final = timedelta(seconds=1)
LONGEST: Final = timedelta(days=3650)
_DURATION: Final = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True)
class Field:
    """One key. `read` returns its value, or None after a problem was noted; `schema` is its JSON Schema."""

    read: Callable[[Reader, Node, str], Any]
    schema: Mapping[str, Any]
    default: Any
    meaning: str


def _duration(least: timedelta = timedelta(0)) -> Callable[[Reader, Node, str], timedelta | None]:
    """A number with s, m, h, d or w."""

    def read(reader: Reader, node: Node, key: str) -> timedelta | None:
        found = _DURATION.fullmatch(node.value) if isinstance(node.value, str) else None
        if found is None:
            reader.error(node, key, f"must be a duration such as 30s, 5m, 6h, 7d or 2w, not {named(node.value)}")
            return None
        value = timedelta(**{_UNITS[found[2]]: int(found[1])})
        if not least <= value <= LONGEST:
            bounds = f"from {written(least)} to ten years" if least else "at most ten years"
            reader.error(node, key, f"must be {bounds}, not {node.value}")
            return None
        return value

    return read


def _choice(*choices: str) -> Callable[[Reader, Node, str], Any]:
    return lambda reader, node, key: reader.choice(node, key, choices)


def _number(least: int, most: int | None = None) -> Callable[[Reader, Node, str], Any]:
    return lambda reader, node, key: reader.number(node, key, least=least, most=most)


def _boolean(reader: Reader, node: Node, key: str) -> bool | None:
    return reader.boolean(node, key)


def _terms(reader: Reader, node: Node, key: str) -> tuple[str, ...] | None:
    """TokPortal sells 3 to 30 terms in multiples of 3, of 2 to 50 characters, distinct whatever their case."""
    terms = reader.words(node, key, shortest=2, longest=50)
    if terms is None:
        return None
    if len(node.value) % 3 or len(node.value) > 30:
        reader.error(node, key, f"must be 3 to 30 terms, a multiple of 3, not {len(node.value)}")
    if len({term.casefold() for term in terms}) < len(terms):
        reader.error(node, key, "names a term twice: capital letters make no difference to TokPortal")
    return terms


def _postable(reader: Reader, node: Node, key: str) -> str | tuple[str, ...] | None:
    if node.value == "auto":
        return "auto"
    if not isinstance(node.value, list):
        reader.error(node, key, f"must be auto, or a list of {', '.join(BUNDLE_STATES)}")
        return None
    states = reader.each(node, key, lambda item, name: reader.choice(item, name, BUNDLE_STATES))
    if states is not None and not node.value:
        reader.error(node, key, "must name a state: with none nothing is ever posted")
    return states


@cache
def _zones() -> frozenset[str]:
    """IANA names; the other two are no places but what a machine happens to have."""
    return frozenset(available_timezones()) - {"Factory", "localtime"}


def _timezone(reader: Reader, node: Node, key: str) -> str | None:
    name = reader.text(node, key)
    if name is not None and name != "auto" and name not in _zones():
        which = suggestion(name, _zones())
        reader.error(node, key, f"must be auto or an IANA time zone such as Europe/Paris, not {named(name)}{which}")
        return None
    return name


def _days(reader: Reader, node: Node, key: str) -> tuple[str, ...] | None:
    days = reader.each(node, key, lambda item, name: reader.choice(item, name, WEEKDAYS))
    if days is not None and not node.value:
        reader.error(node, key, "must name a weekday: with none nothing is ever posted")
    return days


def _blackout(reader: Reader, node: Node, key: str) -> tuple[tuple[date, date], ...] | None:
    return reader.each(node, key, lambda item, name: _range(reader, item, name))


def _range(reader: Reader, node: Node, key: str) -> tuple[date, date] | None:
    first, dots, last = node.value.partition("..") if isinstance(node.value, str) else ("", "", "")
    begins, ends = day_of(first), day_of(last if dots else first)
    if begins is None or ends is None:
        what = "must be a day that exists, such as 2026-12-24, or a range such as 2026-12-24..2026-12-26"
        reader.error(node, key, f"{what}, not {named(node.value)}")
        return None
    if ends < begins:
        reader.error(node, key, f"ends before it begins: write {last}..{first}")
        return None
    return begins, ends


def _ramp(reader: Reader, node: Node, key: str) -> tuple[int, ...] | None:
    return reader.each(node, key, lambda item, name: reader.number(item, name, least=0, most=3))


def covers(earlier: str, pattern: str) -> bool:
    """Whether every code that fits `pattern` fits the pattern `earlier` as well, as far as that can be seen."""
    return earlier == pattern or (not {"?", "["}.intersection(earlier) and fnmatchcase(pattern, earlier))


def _codes(reader: Reader, node: Node, key: str) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for pattern, member in reader.mapping(node, key).items():
        action = reader.choice(member, f"{key}.{pattern}", ACTIONS)
        first = next((earlier for earlier, _ in found if covers(earlier, pattern)), None)
        if first is not None:
            reader.warn(member, f"{key}.{pattern}", f"is never reached: the first that fits counts, and {first!r} does")
        if action is not None:
            found.append((pattern, action))
    return tuple(found)


def _backoff(reader: Reader, node: Node, key: str) -> tuple[timedelta, ...] | None:
    return reader.each(node, key, lambda item, name: _duration()(reader, item, name))


def _backups(reader: Reader, node: Node, key: str) -> str | tuple[str, ...] | None:
    if node.value == "any":
        return "any"
    if not isinstance(node.value, list):
        reader.error(node, key, f"must be any, or a list of bundle ids, not {named(node.value)}")
        return None
    return reader.words(node, key)


def written(value: Any) -> Any:
    """A value as a file would have it, in what JSON knows."""
    if isinstance(value, timedelta):
        unit = next((unit for unit in "dhm" if value and not value % timedelta(**{_UNITS[unit]: 1})), "s")
        return f"{value // timedelta(**{_UNITS[unit]: 1})}{unit}"
    if isinstance(value, tuple) and value and isinstance(value[0], tuple):
        if isinstance(value[0][0], date):
            return [f"{first}..{last}" if last != first else str(first) for first, last in value]
        return dict(value)
    return [written(item) for item in value] if isinstance(value, tuple) else value


_DURATION_SCHEMA = {"type": "string", "pattern": "^[0-9]{1,6}[smhdw]$"}
_SOME_TIME_SCHEMA = {"type": "string", "pattern": "^0*[1-9][0-9]{0,5}[smhdw]$"}
_DAY = "20[0-9]{2}-[0-9]{2}-[0-9]{2}"
WORD: Final[Mapping[str, Any]] = {"type": "string", "minLength": 1, "maxLength": 200}
URL: Final = r"env:[A-Za-z_][A-Za-z0-9_]{0,199}|[a-z][a-z0-9+.-]*://[^\s]+"
"""Of a channel: a variable that has it, or an Apprise URL itself."""
WORDS: Final[Mapping[str, Any]] = {"type": "array", "items": WORD, "uniqueItems": True}


def _one_of(choices: Sequence[str]) -> dict[str, Any]:
    return {"enum": list(choices)}


def _whole(least: int, most: int | None = None) -> dict[str, Any]:
    return {"type": "integer", "minimum": least} | ({"maximum": most} if most is not None else {})


MODES: Final = ("none", "niche", "deep", "advanced")

FIELDS: Final[Mapping[str, Field]] = {
    "warming.start": Field(
        _choice("created", "ready", "manual"),
        _one_of(("created", "ready", "manual")),
        "created",
        "When a new account is to be warmed. What TokPortal cannot do yet waits until the account is ready.",
    ),
    "warming.mode": Field(
        _choice(*MODES),
        _one_of(MODES),
        "advanced",
        "How accounts are warmed; TokPortal's public API knows only advanced.",
    ),
    "warming.terms": Field(
        _terms,
        {
            **WORDS,
            "items": {"type": "string", "minLength": 2, "maxLength": 50},
            "anyOf": [{"minItems": number, "maxItems": number} for number in range(0, 31, 3)],
        },
        (),
        "What advanced warming searches for: 3 to 30 terms, a multiple of 3.",
    ),
    "warming.retries": Field(
        _number(0, 10), _whole(0, 10), 1, "How often a failed warming is started again; then a person is asked to look."
    ),
    "posting.postable": Field(
        _postable,
        {"anyOf": [{"const": "auto"}, {"type": "array", "items": _one_of(BUNDLE_STATES), "minItems": 1}]},
        "auto",
        "Which accounts may get videos. auto: the warm ones, or ready and completed ones where nothing is warmed.",
    ),
    "posting.timezone": Field(
        _timezone, {"type": "string"}, "auto", "The account's calendar. auto: the main zone of its country."
    ),
    "posting.days": Field(
        _days, {"type": "array", "items": _one_of(WEEKDAYS), "minItems": 1}, WEEKDAYS, "The weekdays to post on."
    ),
    "posting.blackout": Field(
        _blackout,
        {"type": "array", "items": {"type": "string", "pattern": rf"^{_DAY}(\.\.{_DAY})?$"}},
        (),
        "Days, or ranges of days, on which nothing is posted.",
    ),
    "posting.per_day": Field(
        _number(1, 3), _whole(1, 3), 3, "How many videos an account gets on one day; TokPortal allows 3."
    ),
    "posting.ramp": Field(
        _ramp, {"type": "array", "items": _whole(0, 3)}, (), "How many on each of the first days after warming."
    ),
    "posting.lead_days.new": Field(
        _number(0, 60),
        _whole(0, 60),
        3,
        "How many days ahead a video is planned on an account that does not exist yet.",
    ),
    "posting.lead_days.existing": Field(_number(0, 60), _whole(0, 60), 1, "The same for an account that does."),
    "failure.codes": Field(
        _codes,
        {"type": "object", "additionalProperties": _one_of(ACTIONS)},
        (("content_*", "stop"), ("copyright_*", "stop"), ("*", "reroute")),
        "What follows from which error code; the first pattern that fits, narrower levels first.",
    ),
    "failure.retries": Field(
        _number(0, 10), _whole(0, 10), 2, "How many more tries on the same account where a code says retry."
    ),
    "failure.backoff": Field(
        _backoff,
        {"type": "array", "items": _DURATION_SCHEMA},
        (timedelta(minutes=5), timedelta(minutes=30)),
        "How long to wait before each of these tries; the last one holds for all further ones.",
    ),
    "failure.missed_after": Field(
        _duration(), _DURATION_SCHEMA, timedelta(days=1), "No news so long after the two-day window counts as silence."
    ),
    "failure.stuck_after.uploading": Field(
        _duration(SECOND), _SOME_TIME_SCHEMA, timedelta(hours=1), "An upload that takes longer is looked into."
    ),
    "failure.stuck_after.uploaded": Field(
        _duration(SECOND),
        _SOME_TIME_SCHEMA,
        timedelta(hours=6),
        "A post that does not follow the upload for so long, too.",
    ),
    "failure.stuck_after.retrying": Field(
        _duration(SECOND), _SOME_TIME_SCHEMA, timedelta(days=1), "TokPortal's own tries are waited for so long."
    ),
    "failure.stuck_after.warming": Field(
        _duration(SECOND),
        _SOME_TIME_SCHEMA,
        timedelta(days=7),
        "Warming that takes longer is for a person to look into.",
    ),
    "reroute.enabled": Field(_boolean, {"type": "boolean"}, True, "Whether videos move to other accounts at all."),
    "reroute.max": Field(_number(0, 20), _whole(0, 20), 2, "How many further accounts a video may be moved to."),
    "reroute.choose": Field(
        _choice("listed_order", "least_loaded"),
        _one_of(("listed_order", "least_loaded")),
        "least_loaded",
        "Which of several backups takes a video.",
    ),
    "reroute.backups": Field(
        _backups,
        {"anyOf": [{"const": "any"}, WORDS]},
        "any",
        "Who may take videos over: any account of the same country, platform and group, or only these bundles.",
    ),
    "reroute.reserve": Field(
        _boolean, {"type": "boolean"}, False, "Whether listed backups are kept free of other posts."
    ),
    "reroute.deadline": Field(
        _duration(), _DURATION_SCHEMA, timedelta(days=7), "How long past its first day a video may still be posted."
    ),
    "ban.then": Field(
        _choice("reroute", "hold"),
        _one_of(("reroute", "hold")),
        "reroute",
        "What becomes of the videos of a banned account.",
    ),
    "ban.breaker.bans": Field(
        _number(1, 10_000), _whole(1, 10_000), 3, "After so many banned accounts of one country and platform …"
    ),
    "ban.breaker.within": Field(
        _duration(SECOND),
        _SOME_TIME_SCHEMA,
        timedelta(hours=24),
        "… within so long, everything there waits for a person.",
    ),
    "budget.credits_per_day": Field(_number(0), _whole(0), 0, "What may be spent in a day."),
    "budget.approve_above": Field(_number(0), _whole(0), 0, "What costs more than this waits for an admin's approval."),
}

ALERTS: Final = (
    "banned",
    "appeal",
    "breaker",
    "needs_review",
    "stuck",
    "missed",
    "waiting",
    "abandoned",
    "stopped",
    "held",
    "late_news",
    "double_posted",
    "wrong_bundle",
    "contradiction",
    "corrections",
    "flagged",
    "stranger",
    "dead_command",
    "budget",
    "quarantined",
    "unrecognised",
    "conflict",
    "policies_refused",
    "unmet",
    "silence",
    "contract",
    "outage",
    "projection",
    "audit",
)
"""Everything that people are told of."""


def sections() -> dict[str, list[str]]:
    """The keys of each section of a level: `warming`, `posting`, …"""
    found: dict[str, list[str]] = {}
    for name in FIELDS:
        found.setdefault(name.partition(".")[0], []).append(name)
    return found


SECTIONS: Final = tuple(sections())
