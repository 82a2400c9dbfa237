"""A demo from its beginning to its end."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import httpx2

from orchestrator.clock import Scale
from orchestrator.demo import checks, report
from orchestrator.demo.processes import House, running
from orchestrator.demo.told import Told, get, tell
from orchestrator.demo.truth import read_truth
from orchestrator.demo.world import begin, clock

LOOK_EVERY = 0.5
SETTLE_WITHIN = 20.0
"""Seconds in which the service hears of everything that has really happened: lost webhooks are asked for again."""


class Wish(NamedTuple):
    """`seconds`: real ones, how long at most. `seed`: the same accounts and the same chance; None: the demo's own.
    `speed`: seconds of the world in one real second; a day takes ten, so that a minute sees a campaign to its end."""

    seconds: float = 60.0
    seed: int | None = None
    speed: float = 8_640.0


def run(
    wish: Wish,
    *,
    watched: Callable[[House], object] = lambda house: None,
    ended: Callable[[], object] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> report.Report:
    """Runs the demo in a folder of its own that is gone afterwards. `watched` is called once it is under way,
    `ended` when nothing more is to be seen. Raises `DemoError` where it cannot be run."""
    scale = Scale.parse(clock(wish.speed))
    with (
        tempfile.TemporaryDirectory(prefix="orchestrator-demo-", ignore_cleanup_errors=True) as folder,
        running(Path(folder), scale, wish.seed) as house,
    ):
        return _run(wish, house, watched, ended, sleep, now)


def _run(
    wish: Wish,
    house: House,
    watched: Callable[[House], object],
    ended: Callable[[], object],
    sleep: Callable[[float], None],
    now: Callable[[], float],
) -> report.Report:
    with (
        httpx2.Client(base_url=house.service, timeout=15, trust_env=False) as service,
        httpx2.Client(base_url=house.sandbox, timeout=15, trust_env=False) as sandbox,
    ):
        began = now()
        campaign_id = begin(house.service)
        watched(house)
        while not (is_over := _is_over(service, campaign_id)) and now() - began < wish.seconds:
            sleep(LOOK_EVERY)
        passed = now() - began
        ended()
        told, found = _compare(service, sandbox, campaign_id, sleep, now)
        return report.make(told, found, seconds=passed, days=passed * wish.speed / 86_400, is_over=is_over)


def _is_over(service: httpx2.Client, campaign_id: str) -> bool:
    """Whether nothing of the campaign is under way or waits any more."""
    counts = get(service, f"/api/campaigns/{campaign_id}")["progress"]["by_state"]
    return bool(counts) and all(state in checks.ENDED for state in counts)


def _compare(
    service: httpx2.Client,
    sandbox: httpx2.Client,
    campaign_id: str,
    sleep: Callable[[float], None],
    now: Callable[[], float],
) -> tuple[Told, dict[str, list[str]]]:
    """What the service says once it agrees with the truth, or after some patience what it says then. The world does not
    stand still: news that is on its way is no lie."""
    deadline = now() + SETTLE_WITHIN
    while True:
        before = read_truth(sandbox)
        told = tell(service, campaign_id)
        after = read_truth(sandbox)
        # What held at either moment was no mistake of the service in between.
        first, second = checks.check(before, told), checks.check(after, told)
        found = {name: [problem for problem in first[name] if problem in second[name]] for name in first}
        if not any(found.values()) or now() > deadline:
            return told, found
        sleep(LOOK_EVERY)
