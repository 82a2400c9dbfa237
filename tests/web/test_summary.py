from __future__ import annotations

import io
from collections.abc import Callable
from threading import Event
from typing import Any

from rich.console import Console

from orchestrator.web import summary, words
from orchestrator.web.summary import Standing
from tests.api.house import TOKENS, House
from tests.web.conftest import HOSTILE, fill


def drawn(standing: Standing | None, width: int = 120) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(summary.view(standing))
    return out.getvalue()


class Looks:
    """Stops the summary once it has looked this often."""

    def __init__(self, stop: Event, *found: Standing | None) -> None:
        self.found = list(found)
        self._stop = stop

    def __call__(self, _: Any) -> Standing | None:
        found = self.found.pop(0)
        if not self.found:
            self._stop.set()
        return found


def test_it_asks_the_service_like_any_caller(filled: House) -> None:
    standing = summary.look(filled.client)
    assert standing is not None
    text = drawn(standing)
    for part in ("US", "1 completed", "breaker open", "Reroute", "the account is banned; acme.us takes it"):
        assert part in text
    assert standing.totals("videos") == {"posted": 1, "waiting": 1}
    line = summary.line(standing)
    assert "accounts: 1 banned, 1 completed | videos: 1 waiting, 1 posted | last decision: Reroute" in line
    assert "not well: engine has never worked on this database" in line


def test_where_tokens_are_asked_for_it_shows_one(guarded: House) -> None:
    fill(guarded)
    assert summary.look(guarded.client) is None
    stop, out = Event(), io.StringIO()
    look: list[Standing | None] = []

    def once(client: Any) -> Standing | None:
        look.append(summary.look(client))
        stop.set()
        return look[-1]

    summary.follow(str(guarded.client.base_url), stop, mode="live", token=TOKENS[0].value, out=out, look=once)
    assert look[0] is not None


def test_without_a_terminal_it_writes_a_line_when_something_changed(monkeypatch: Any) -> None:
    monkeypatch.setattr(summary, "LINE_EVERY", 0)
    stop, out = Event(), io.StringIO()
    warm = Standing([{"bundles": {"warming": 2}, "videos": {}}], [])
    # An event that is set ends the wait at once; until then a wait of no time ends it as well.
    summary.follow(
        "http://127.0.0.1:8080", stop, mode="sandbox", speed=7200, out=out, look=Looks(stop, None, warm, warm, warm)
    )
    first, world, *lines = out.getvalue().splitlines()
    assert first == "Open http://127.0.0.1:8080 to watch, http://127.0.0.1:8080/docs to read about the API."
    assert world.startswith("Sandbox: a simulated TokPortal.")
    assert world.endswith("This world runs 7,200 times as fast as the real one: a minute here is 5 days there.")
    assert [line.partition(" ")[2] for line in lines] == [
        "the service does not answer yet",
        "accounts: 2 warming | videos: none",
    ]


def test_what_somebody_sent_cannot_act_on_a_terminal() -> None:
    country = {"country": HOSTILE, "platform": None, "bundles": {}, "videos": {}, "postable": 0, "breaker": "closed"}
    decision = {"kind": "wait", "reason": f"{HOSTILE}\nsecond line", "at": "2026-11-20T12:00:00Z"}
    standing = Standing([{**country, "paused": True}], [decision], [HOSTILE])
    for text in (drawn(standing, 400), summary.line(standing)):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "\nsecond" not in text


def test_a_service_that_is_away_is_waited_for(house: House) -> None:
    import httpx2

    with httpx2.Client(base_url="http://127.0.0.1:9", timeout=1, trust_env=False) as client:
        assert summary.look(client) is None
    assert "does not answer yet" in drawn(None)


def test_paces_in_plain_words() -> None:
    told: Callable[[float], str] = lambda speed: words.world("sandbox", speed).rpartition(": ")[2]  # noqa: E731
    assert told(60) == "a minute here is 1 hour there."
    assert told(1440) == "a minute here is 1 day there."
    assert told(600) == "a minute here is 10 hours there."
    assert told(2) == "a second here is 2 seconds there."
    assert words.world("sandbox", 1) == words.MODES["sandbox"]
    assert "held" in words.world("observe", 1)
    assert words.world(None, 1).startswith("The service has not started")
