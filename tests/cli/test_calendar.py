"""The calendar of a campaign as a person sees it."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from orchestrator.cli import calendar
from tests.cli.terminal import Terminal

FIRST = date(2026, 12, 1)


def post(ref: str, bundle: str, day: int, **members: Any) -> dict[str, Any]:
    return {
        "video_id": f"vid_{ref}_{bundle}",
        "ref": ref,
        "bundle_id": bundle,
        "country": "US",
        "platform": "tiktok",
        "target_day": (FIRST + timedelta(days=day)).isoformat(),
    } | members


def unmet(ref: str, reason: str | None = "no account of tiktok in FR is known") -> dict[str, Any]:
    return {"video_id": f"vid_{ref}", "ref": ref, "country": "FR", "platform": "tiktok", "reason": reason}


def answer(plan: list[Any], unmet: list[Any] | None = None, notes: list[str] | None = None) -> dict[str, Any]:
    return {"campaign_id": "cmp_1", "status": "draft", "plan": plan, "unmet": unmet or [], "notes": notes or []}


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    return Terminal(monkeypatch)


def test_each_market_has_a_grid_of_accounts_and_days(terminal: Terminal) -> None:
    plan = [
        post("teaser-1", "b1", 0),
        post("teaser-2", "b1", 0),
        post("teaser-1", "b2", 2),
        post("teaser-1", "b3", 1, country="FR", platform="instagram"),
    ]
    calendar.write(answer(plan))
    assert terminal.lines == [
        "instagram in FR: 1 video on 1 account",
        "         Wed",
        "account  12-02",
        "b3       teaser-1",
        "",
        "tiktok in US: 3 videos on 2 accounts",
        "         Tue       Thu",
        "account  12-01     12-03",
        "b1       teaser-1  ·",
        "         teaser-2",
        "b2       ·         teaser-1",
        "",
        "4 videos: 4 placed on 3 accounts, 2026-12-01 to 2026-12-03; 0 unmet.",
    ]


def test_more_days_than_fit_become_numbers_and_further_grids(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch, width=40)
    plan = [post(f"a-long-name-{day}", "b1", day) for day in range(5)] + [post("another", "b1", 4)]
    calendar.write(answer(plan))
    assert terminal.lines[:7] == [
        "tiktok in US: 6 videos on 1 account",
        "         Tue    Wed    Thu    Fri",
        "account  12-01  12-02  12-03  12-04",
        "b1       1      1      1      1",
        "         Sat",
        "account  12-05",
        "b1       2",
    ]
    assert max(map(len, terminal.lines)) <= 80


def test_unmet_wishes_are_one_line_for_each_reason(terminal: Terminal) -> None:
    wishes = [unmet(f"v{number}") for number in range(7)] + [unmet("v0", "paused"), unmet("v1", None)]
    calendar.write(answer([], wishes, ["tiktok in FR: 2 accounts are asked for, 0 exist"]))
    assert terminal.lines == [
        "unmet  platform  country  reason                               refs",
        "1      tiktok    FR       -                                    v1",
        "7      tiktok    FR       no account of tiktok in FR is known  v0, v1, v2, v3, v4 and 2 more",
        "1      tiktok    FR       paused                               v0",
        "",
        "Note: tiktok in FR: 2 accounts are asked for, 0 exist.",
        "9 videos: 0 placed; 9 unmet.",
    ]


def test_whatever_videos_and_accounts_are_called_the_terminal_is_safe(terminal: Terminal) -> None:
    calendar.write(answer([post("\x1b[31mred", "b\u202e1", 0)], [unmet("x\r", "\x07ring")]))
    assert not any(character in "\n".join(terminal.lines) for character in "\x1b\u202e\r\x07")
    assert any("red" in line for line in terminal.lines)


def test_a_thousand_accounts_are_drawn_at_once(terminal: Terminal) -> None:
    plan = [post(f"v{number}", f"b{number % 1000:04}", number // 1000) for number in range(10_000)]
    calendar.write(answer(plan))
    rows = [line for line in terminal.lines if line.startswith("b0")]
    assert len(rows) == len(set(rows)) == 1_000
    assert terminal.lines[-1] == "10,000 videos: 10,000 placed on 1,000 accounts, 2026-12-01 to 2026-12-10; 0 unmet."
