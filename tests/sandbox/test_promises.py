"""Whatever clients do over the API, and whenever: what managers promise them holds."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from orchestrator.clock import instant_of
from orchestrator.sandbox.diary import Post
from orchestrator.sandbox.founding import Founding
from orchestrator.sandbox.habits import Habits, Managing
from orchestrator.sandbox.life import Life, open_world
from orchestrator.sandbox.model import Ban, Bundle, SavedAccount, Slot
from orchestrator.sandbox.world import World
from tests.sandbox.house import House, StandingClock

HABITS = Habits(
    managers=Managing(
        fails=0.4,
        misses=0.1,
        bans_per_account_year=4.0,
        lapses=0.4,
        account_review="at_once",
        upload_takes=(1_800.0, 7_200.0),
    )
)


class Client:
    """Configures, reschedules, takes back and corrects at random, and remembers what it was promised."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.seed = seed
        self.random = Random(seed)
        self.clock = StandingClock()
        self.open()
        self.life.founder.found(Founding(country="FR", count=3, state="warm", slots=12))
        self.life.founder.found(Founding(country="US", count=2, state="warm", slots=12))
        self.life.founder.found(Founding(country="DE", state="published", slots=12, age_days=0.0))
        self.world.run_due()
        self.world.save()
        self.released: list[tuple[str, str, int]] = []
        """Video id, reference, and when TokPortal confirmed that it is free."""
        self.refused = 0
        self.made = 0

    def open(self) -> None:
        self.world = open_world(self.clock, path=self.path, seed=self.seed)
        self.life = Life(self.world, habits=HABITS)
        self.house = House(self.world, self.clock)

    def act(self) -> None:
        bundle = self.random.choice(list(self.world.bundles()))
        slot = self.random.choice(self.world.slots_of(bundle))
        kind = self.random.choice(
            ["configure", "configure", "configure", "reset", "unschedule", "patch", "corrections"]
        )
        path = f"/bundles/{bundle.id}/videos/{slot.position}"
        before = slot.external_ref
        if kind == "configure":
            self.made += 1
            body = self.house.video(self.random.randint(1, 6), external_ref=f"ref-{self.made}", auto_publish=True)
            reply = self.house.ask("PUT", path, body)
        elif kind == "patch":
            reply = self.house.ask("PATCH", path, {"target_publish_date": self.house.day(self.random.randint(1, 6))})
        else:
            reply = self.house.ask("POST", f"{path}/{kind}", {"comment": "please"} if kind == "corrections" else None)
        self.refused += reply.status >= 400
        if kind in ("reset", "unschedule", "configure") and reply.status < 300 and before is not None:
            self.released.append((slot.id, before, self.world.now()))

    def lives(self, steps: int) -> None:
        for number in range(steps):
            self.clock.forward(minutes=self.random.randint(5, 600))
            self.world.run_due()
            self.world.save()
            self.act()
            if number % 40 == 39:
                # The process is gone, and nothing was closed.
                self.open()


@pytest.mark.parametrize("seed", range(6))
def test_promises(tmp_path: Path, seed: int) -> None:
    client = Client(tmp_path / "world.db", seed)
    client.lives(240)
    client.clock.forward(days=15)
    world = client.world
    world.run_due()
    posts = client.life.posts
    assert len(posts) > 10 and client.released and client.refused
    _posted_once_each(posts)
    for video_id, external_ref, at in client.released:
        later = [post for post in posts if (post.video_id, post.external_ref) == (video_id, external_ref)]
        assert all(post.at <= at for post in later)
    _nobody_posts_who_cannot(world, posts)
    for post in posts:
        slot = world.get(Slot, post.video_id)
        assert slot.posted_at == post.at and slot.status in ("in_review", "finalized", "pending_corrections")
    waiting = world.next_due()
    assert waiting is None or waiting > world.now()


def _posted_once_each(posts: list[Post]) -> None:
    assert len({post.video_id for post in posts}) == len({post.external_ref for post in posts}) == len(posts)


def _nobody_posts_who_cannot(world: World, posts: list[Post]) -> None:
    for account in world.all(SavedAccount):
        own = [post for post in posts if post.saved_account_id == account.id]
        if account.banned_at is not None:
            assert all(post.at < account.banned_at for post in own)
    for ban in world.all(Ban):
        decided = ban.decided_at or world.now()
        own = [post for post in posts if post.saved_account_id == ban.saved_account_id]
        assert not any(ban.reported_at < post.at < decided for post in own)
    for bundle in world.all(Bundle):
        if bundle.cancelled_at is not None and bundle.status == "cancelled":
            assert all(post.at <= bundle.cancelled_at for post in posts if post.bundle_id == bundle.id)
        for slot in world.slots_of(bundle):
            if slot.posted_at is not None:
                _posted_in_its_window(slot)


def _posted_in_its_window(slot: Slot) -> None:
    """The retries of a failed try may take it a little beyond."""
    first, last = slot.target_publish_date, slot.target_publish_end_date
    assert first is not None and last is not None and slot.posted_at is not None
    opens = datetime.fromisoformat(f"{first}T00:00+00:00")
    closes = datetime.fromisoformat(f"{last}T00:00+00:00") + timedelta(days=1, hours=24)
    assert opens <= instant_of(slot.posted_at) <= closes
