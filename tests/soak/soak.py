"""The story of a soak: weeks of a world with everything going wrong, then some quiet time, then the reckoning."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Any

from orchestrator.clock import Scale
from orchestrator.database import Database
from orchestrator.simulate.dialect import Dialect
from tests.blackbox.server import wait_for
from tests.soak import log, there
from tests.soak.checks import check
from tests.soak.people import People, campaigns_of, is_over
from tests.soak.rig import Rig
from tests.soak.truth import Truth

BEGIN = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
REST_WITHIN = 20.0
"""Seconds in which the service has taken in all that it was told, and has nothing under way."""
RECKONINGS = 6
"""Times that truth and service are compared, at the most: what happened just before one is still on its way."""


@dataclass(frozen=True)
class Plan:
    accounts: int = 300
    countries: int = 12
    videos: int = 3_000
    days: float = 42
    quiet_days: float = 21
    """At the most: it is over once every video has come to its end."""
    campaigns: int = 5
    """Moments at which campaigns are started."""
    kills: int = 3
    """At the least; there are more where the days are longer."""
    seed: int = 1
    speed: float = 2_000
    dialect: Dialect = Dialect.ARTICLE
    kill_after: tuple[float, float] = (3, 9)
    """Real seconds that the service works until it is killed."""


@dataclass
class Report:
    problems: list[str] = field(default_factory=list)
    summary: str = ""
    kills: int = 0
    posts: int = 0


class Soak:
    def __init__(
        self,
        plan: Plan,
        folder: Path,
        url: str,
        make: Callable[[], Database],
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`make` makes an empty migrated database; `say` tells of the progress."""
        self._plan = plan
        self._make = make
        self._say = say
        self._rng = random.Random(plan.seed)
        slots = 6 + 2 * plan.videos // plan.accounts
        world = there.world_file(plan.seed, plan.dialect, accounts=plan.accounts, countries=plan.countries, slots=slots)
        self._rig = Rig(folder, url, world, Scale(BEGIN, plan.speed))
        self._people = People(self._rng, self._give)
        self._kills = 0
        self._began = BEGIN
        self._ended = 0.0
        self._given_up = 0
        self._answers: list[tuple[str, dict[str, Any]]] = []
        """Pages of lists, each with the path at which it was answered."""
        self._problems: list[str] = []

    def run(self) -> Report:
        began = time.monotonic()
        rig = self._rig
        try:
            rig.start_sandbox()
            rig.start()
            self._storm()
            self._quiet()
            problems = self._reckoning()
            problems += self._past()
            truth = rig.truth()
            summary = self._summary(truth, time.monotonic() - began)
            rig.service.stop()
        finally:
            rig.close()
        with_database = Database(rig.url, connections=4)
        try:
            log.take_the_rest(with_database)
            for what in (log.check_log, log.check_journal, log.check_read_models):
                problems += what(with_database)
            problems += log.check_replay(with_database, self._make)
        finally:
            with_database.close()
        return Report(self._problems + problems, summary, self._kills, len(truth.posts))

    # What happens.

    def _day(self) -> float:
        """Of the story, which begins once there is something to work with."""
        return (self._rig.now - self._began) / timedelta(days=1)

    def _is_stormy(self) -> bool:
        return self._day() < self._plan.days or self._kills < self._plan.kills

    def _storm(self) -> None:
        """Until the last day, the service is killed again and again."""
        plan, rig, rng = self._plan, self._rig, self._rng
        wait_for(lambda: rig.service.api("/api/bundles", limit=1)["items"], 120, what="the first bundle")
        self._began = rig.now
        while self._is_stormy():
            until = time.monotonic() + rng.uniform(*plan.kill_after)
            while time.monotonic() < until and self._is_stormy():
                self._start_campaigns()
                if rng.random() < 0.6:
                    self._people.act(rig.glance())
                if rng.random() < 0.03:
                    rig.admin("POST", "bans", {"country": rng.choice(there.COUNTRIES[: plan.countries]), "count": 2})
                # The storm is real time: the processes live, and are killed, in it.
                time.sleep(rng.uniform(0.1, 0.5))
            rig.kill()
            self._kills += 1
            # How long it stays down is part of the trouble.
            time.sleep(rng.choice([0, 0, 0.5, 2]) * rng.random())
            rig.start()
            self._remember()
            self._say(f"day {self._day():.1f}, {self._kills} kills; videos {rig.counts()}")
        self._ended = self._day()

    def _start_campaigns(self) -> None:
        plan, rig = self._plan, self._rig
        begun = len(self._people.campaigns) // 2
        if begun == plan.campaigns or self._day() < plan.days * begun / (plan.campaigns + 2):
            return
        first = rig.now.date() + timedelta(days=1)
        last = max(first, (self._began + timedelta(days=plan.days)).date())
        sizes = (plan.accounts, plan.countries, plan.videos)
        for text in campaigns_of(f"part-{begun}", *sizes, plan.campaigns, first, last):
            self._people.campaigns.append(rig.start_campaign(text)[0])

    def _give(self, kind: str, name: object, action: str) -> None:
        self._rig.give(kind, name, action)

    def _quiet(self) -> None:
        """Nothing goes wrong any more, and people tidy up. What TokPortal neither posts nor gives back is for them to
        end, in the second half of the time; they must have been told of it."""
        plan, rig = self._plan, self._rig
        rig.calm_down()
        while (quiet := self._day() - self._ended) < plan.quiet_days:
            told = rig.told()
            self._people.tidy(told)
            left = [video for video in told.videos if not is_over([video])]
            if not left and quiet > plan.quiet_days / 4:
                break
            if quiet > plan.quiet_days / 2 and not self._given_up:
                alerts = rig.alerts()
                for video in left:
                    self._given_up += 1
                    if video["video_id"] not in alerts:
                        self._problems.append(f"{video['video_id']} is stuck, and nobody was told: {video}")
                    self._give("video", video["video_id"], "cancel")
            self._say(f"day {self._day():.1f}, quiet; videos {rig.counts()}")
            time.sleep(max(0.5, 43_200 / plan.speed))

    def _remember(self) -> None:
        """Some pages as they are answered now, to be asked for again when they are the past."""
        state = self._rng.choice(["posted", "failed", "waiting", "uploading"])
        for path in ("/api/bundles?limit=100", "/api/videos?limit=100", f"/api/videos?limit=100&state={state}"):
            self._answers.append((path, self._rig.service.api(path)))

    # What came of it.

    def _past(self) -> list[str]:
        """Invariant 8: what was answered at a position is what is answered as of it."""
        problems = []
        for path, answer in self._answers:
            again = self._rig.service.api(f"{path}&as_of={answer['position']}")
            if again["items"] != answer["items"]:
                before, now = next((a, b) for a, b in zip_longest(answer["items"], again["items"]) if a != b)
                problems.append(f"{path} as of {answer['position']} has {now}, and was answered with {before}")
        return problems

    def _reckoning(self) -> list[str]:
        """Truth and service side by side. The sandbox stands still meanwhile, and goes on between two comparisons."""
        rig = self._rig
        problems: list[str] = []
        for number in range(RECKONINGS):
            # What is under way can only be settled with the sandbox, and nothing more is let go.
            self._give("service", None, "pause")
            is_settled = self._comes_to_rest()
            rig.stop_sandbox()
            if is_settled and self._comes_to_rest():
                told = rig.told()
                problems = check(rig.truth(), told)
                if not problems:
                    break
                self._say(f"{len(problems)} differences in comparison {number + 1}, such as: {problems[0]}")
            else:
                problems = ["commands are still under way"]
            rig.start_sandbox()
            self._give("service", None, "resume")
            self._people.tidy(rig.told())
            time.sleep(max(3.0, 86_400 / self._plan.speed))
        rig.stop_sandbox()
        return problems

    def _comes_to_rest(self) -> bool:
        deadline = time.monotonic() + REST_WITHIN
        while not self._rig.is_quiet():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True

    def _summary(self, truth: Truth, seconds: float) -> str:
        counts = self._rig.counts()
        return (
            f"{seconds:.0f} s for {self._day():.0f} days, {self._kills} kills; of {sum(counts.values())} videos "
            f"{counts}, {self._given_up} of them given up by people; "
            f"{truth.requests} requests, {len(truth.effects)} effects, {len(truth.posts)} posts, "
            f"{len(truth.banned)} bans"
        )
