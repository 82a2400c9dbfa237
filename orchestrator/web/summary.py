"""How things stand, on a terminal: what a person sees below `make run`, asked of the service like any caller would."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any, TextIO

import httpx2
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.web import words
from orchestrator.web.display import counts, moment, path_part, plain

EVERY = 1.0
"""Seconds between two looks on a terminal."""
LINE_EVERY = 5.0
"""Seconds between two lines where there is no terminal."""
DECISIONS = 6
TIMEOUT = 5.0
MOST_PAGES = 20
COLOURS = {"reroute": "yellow", "wait": "yellow", "stop": "red", "breaker": "red", "hold": "yellow", "review": "yellow"}


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand at one moment, as the API tells it."""

    countries: Sequence[Mapping[str, Any]]
    decisions: Sequence[Mapping[str, Any]]
    failing: Sequence[str] = field(default=())
    names: Mapping[str, str] = field(default_factory=dict)
    """The usernames of the accounts that the decisions are about, by their bundles' ids."""

    def totals(self, what: str) -> dict[str, int]:
        """How many of `what`, `bundles` or `videos`, are in which state everywhere."""
        found: dict[str, int] = {}
        for country in self.countries:
            for state, number in country[what].items():
                found[state] = found.get(state, 0) + number
        return found


def look(client: httpx2.Client) -> Standing | None:
    """How things stand; None while the service does not answer."""
    try:
        countries = _items(client, "/api/countries")
        decisions = _get(client, "/api/decisions", limit=DECISIONS)["items"]
        names = _names(client, decisions)
        health = client.get("/health/work").json()
    except (httpx2.HTTPError, ValueError):
        return None
    failing = [f"{name} {check['detail']}" for name, check in health["checks"].items() if check["status"] == "fail"]
    return Standing(countries, decisions, failing, names)


def first_lines(url: str, mode: str | None, speed: float) -> list[str]:
    """Where to look, and at which world."""
    return [f"Open {url} to watch, {url}/docs to read about the API.", words.world(mode, speed)]


def view(standing: Standing | None) -> Group:
    """How things stand as a terminal shows it."""
    if standing is None:
        return Group(Text("The service does not answer yet.", style="dim"))
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("country", "platform", "accounts", "may post", "videos", ""):
        table.add_column(name, justify="right" if name == "may post" else "left")
    for item in standing.countries:
        notes = [
            name for name, is_so in (("breaker open", item["breaker"] == "open"), ("paused", item["paused"])) if is_so
        ]
        table.add_row(
            _text(item["country"]),
            _text(item["platform"] or "-"),
            _text(counts(item["bundles"]) or "-"),
            _text(item["postable"]),
            _text(counts(item["videos"]) or "-"),
            _text(", ".join(notes), "red"),
        )
    lines = [_text(f"Not well: {'; '.join(standing.failing)}.", "red")] if standing.failing else []
    return Group(table, Text(), *lines, *(_decision(item, standing.names) for item in standing.decisions))


def line(standing: Standing | None) -> str:
    """The same as one line, for logs and pipes."""
    if standing is None:
        return "the service does not answer yet"
    parts = [
        f"accounts: {counts(standing.totals('bundles')) or 'none'}",
        f"videos: {counts(standing.totals('videos')) or 'none'}",
    ]
    if standing.decisions:
        last = standing.decisions[0]
        parts.append(f"last decision: {words.DECISIONS.get(last['kind'], last['kind'])}: {_reason(last, standing)}")
    if standing.failing:
        parts.append(f"not well: {'; '.join(standing.failing)}")
    return plain(" | ".join(parts))


def follow(
    url: str,
    stop: Event,
    *,
    mode: str | None,
    speed: float = 1.0,
    token: str | None = None,
    out: TextIO | None = None,
    look: Callable[[httpx2.Client], Standing | None] = look,
) -> None:
    """Shows how things stand until `stop` is set: anew every second on a terminal, else a line every few seconds, and
    only where something changed. `token`: of any role, where the service asks for one."""
    console = Console(file=out or sys.stdout, highlight=False)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    with httpx2.Client(base_url=url, headers=headers, timeout=TIMEOUT, trust_env=False) as client:
        for sentence in first_lines(url, mode, speed):
            console.print(Text(sentence), soft_wrap=True)
        if not console.is_terminal:
            _lines(console, client, stop, look)
            return
        with Live(console=console, auto_refresh=False, redirect_stderr=False) as live:
            while True:
                live.update(view(look(client)), refresh=True)
                if stop.wait(EVERY):
                    return


@contextmanager
def following(url: str, **options: Any) -> Iterator[None]:
    """Shows how things stand on a thread of its own meanwhile; takes what `follow` takes."""
    stop = Event()
    thread = Thread(target=follow, args=(url, stop), kwargs=options, name="summary", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(TIMEOUT)


def _lines(
    console: Console, client: httpx2.Client, stop: Event, look: Callable[[httpx2.Client], Standing | None]
) -> None:
    last = None
    while True:
        said = line(look(client))
        if said != last:
            console.print(Text(f"{time.strftime('%H:%M:%S')} {said}"), soft_wrap=True)
            last = said
        if stop.wait(LINE_EVERY):
            return


def _reason(item: Mapping[str, Any], standing: Standing) -> str:
    return words.named(item["reason"] or "-", standing.names)


def _decision(item: Mapping[str, Any], names: Mapping[str, str]) -> Text:
    name = words.DECISIONS.get(item["kind"], item["kind"])
    text = Text(f"{moment(item['at'])}  ", "dim")
    text.append(f"{name:<12} ", COLOURS.get(item["kind"], "cyan"))
    text.append(plain(words.named(item["reason"] or "-", names)))
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _text(value: Any, style: str = "") -> Text:
    return Text(plain(value), style=style)


def _names(client: httpx2.Client, decisions: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The usernames of the accounts in what these decisions are about."""
    about = {item[name] for item in decisions for name in ("bundle_id", "from_bundle", "to_bundle")} - {None}
    found = (_get(client, f"/api/bundles/{path_part(bundle_id)}") for bundle_id in sorted(about))
    return {bundle["bundle_id"]: bundle["username"] for bundle in found if bundle["username"] is not None}


def _items(client: httpx2.Client, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = None
    for _ in range(MOST_PAGES):
        page = _get(client, path, limit=500, cursor=cursor)
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    return found


def _get(client: httpx2.Client, path: str, **params: Any) -> dict[str, Any]:
    answer = client.get(path, params={name: value for name, value in params.items() if value is not None})
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found
