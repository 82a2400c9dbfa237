"""A seeded world: the real engine on a real store, a vendor, a network, people who order things, and time."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from orchestrator.commands import Dispatcher
from orchestrator.database import Database
from orchestrator.database.tables import inbox, journal, marks, projections
from orchestrator.dialects import ARTICLE, PUBLIC
from orchestrator.engine import Engine
from orchestrator.log import EventLog
from projections import NAMES, Follower
from tests.brain.stage import Stage, campaign, microseconds
from tests.simulation.checker import Broken, Checker
from tests.simulation.vendor import Account, Vendor

PLACES = [("US", "tiktok"), ("FR", "tiktok"), ("US", "instagram")]
HEAD = """
groups: {acme: [b00, b05, b07, b10]}
defaults:
  warming: {terms: [a1, b2, c3]}
  budget: {credits_per_day: 1000, approve_above: 1000}
"""
POLICIES = [
    HEAD,
    HEAD + '  failure: {codes: {"network_*": retry, "content_*": stop}, retries: 1, backoff: [5m]}\n'
    "  posting: {per_day: 1, days: [mon, tue, wed, thu, fri]}\n",
    HEAD + "  ban: {then: hold, breaker: {bans: 1, within: 24h}}\n  posting: {per_day: 2, ramp: [1]}\n"
    "countries: {US: {reroute: {backups: [b01, b03], reserve: true, choose: listed_order}}}\n",
    HEAD
    + "  reroute: {max: 1, deadline: 3d}\n"
    + "  posting: {blackout: [2026-12-01..2026-12-03], postable: [ready, completed]}\n",
]
READ_MODELS = ("bundles", "videos", "countries", "decisions", "campaigns", "accounts", "bundle_accounts")


class World:
    def __init__(self, database: Database, seed: int) -> None:
        self.rng = random.Random(seed)
        self.stage = Stage(database, policies=None, mode=None)
        self.database = database
        self.checker = Checker()
        self._checked = 0
        self._campaigns: list[str] = []
        self.happened: list[tuple[str, str | None]] = []
        self.vendor = Vendor(self.rng, self._accounts())
        self.vendor.now = self.stage.now
        self.follower = Follower(database, page=self.rng.choice([1, 7, 50, 20_000]))
        self.dispatcher = Dispatcher(database, lambda: microseconds(self.stage.now), self.vendor)
        self._begin()

    def close(self) -> None:
        self.stage.close()
        self.dispatcher.close()

    def _accounts(self) -> list[Account]:
        found = []
        for number in range(self.rng.randrange(6, 14)):
            country, platform = self.rng.choice(PLACES[: self.rng.randrange(1, 4)])
            shares = found and self.rng.random() < 0.15 and found[-1].dialect == PUBLIC
            dialect = PUBLIC if shares else self.rng.choice([ARTICLE, PUBLIC])
            if shares:
                country, platform = found[-1].country, found[-1].platform
            saved = found[-1].saved_id if shares else f"acc_{number}"
            total = self.rng.choice([None, self.rng.randrange(4)])
            found.append(Account(f"b{number:02}", saved, country, platform, dialect, total=total))
        return found

    def _begin(self) -> None:
        stage = self.stage
        mode = self.rng.choice(["sandbox", "live", "observe"])
        stage.order({"command": "mode", "mode": mode, "reads": self.rng.random() < 0.7})
        stage.policies(self.rng.choice(POLICIES))
        for account in self.vendor.accounts.values():
            if self.rng.random() < 0.8:
                account.state = "warm"
                stage.warm(account.bundle_id, country=account.country, platform=account.platform)
                if account.dialect == PUBLIC:
                    about = {"bundle_id": account.bundle_id, "saved_account_id": account.saved_id}
                    stage.public("account.finalized", at=stage.now - timedelta(days=20), **about)
            else:
                stage.article("bundle.created", account.bundle_id, country=account.country, platform=account.platform)
        self._new_campaign()
        self.check()

    # What happens.

    def run(self, steps: int) -> None:
        """Raises `Broken`. At three random points and at the end read models and replay are checked as well."""
        deep = {self.rng.randrange(steps) for _ in range(3)} | {steps - 1}
        for number in range(steps):
            self.step()
            self.check()
            if number in deep:
                self.check_read_models()
        self.check_journal()
        self.happened = self.stage.decisions()

    def step(self) -> None:
        stage, rng = self.stage, self.rng
        hours = rng.choice([0.02, 0.2, 1, 4, 9, 14])
        if rng.random() < 0.05:
            hours = rng.choice([30, 80])  # Nobody was there: everything comes late, timers too.
            stage.now += timedelta(hours=hours)
        else:
            stage.wait(hours=hours)
        self.vendor.tick(stage.now)
        for mail in self.vendor.due_mail():
            stage._webhook(mail.dialect, mail.content, run=rng.random() < 0.3)
        rng.choice([self._nothing, self._nothing, self._person, self._person, self._restart, self._policies])()
        stage.ringer.step()
        stage.run()
        for _ in range(rng.randrange(3)):
            self.dispatcher.step()
            stage.run()
        if rng.random() < 0.5:
            self.follower.step()

    def _nothing(self) -> None:
        pass

    def _restart(self) -> None:
        """The process died: what it had in memory is gone."""
        self.stage.engine = Engine(self.database)
        self.dispatcher.forget()
        self.stage.ringer.forget()
        self.follower.forget()

    def _policies(self) -> None:
        if self.rng.random() < 0.2:
            self.stage.policies(self.rng.choice(POLICIES))
        if self.rng.random() < 0.1:
            self.stage.order({"command": "mode", "mode": self.rng.choice(["sandbox", "live", "observe"])})

    def _new_campaign(self) -> None:
        number = len(self._campaigns)
        rng = self.rng
        places = {(a.country, a.platform) for a in self.vendor.accounts.values()}
        country, platform = rng.choice(sorted(places))
        spread = rng.choice(["every_account", "one_account"])
        group = rng.choice(["default", "default", "acme"])
        text = campaign(
            f"campaign-{number}",
            refs=[f"ref-{n}" for n in range(rng.randrange(1, 6))],
            targets=f"[{{country: {country}, platform: {platform}, accounts: {rng.randrange(1, 4)}}}]",
            more=f"spread: {spread}\ngroup: {group}\n"
            f"starts: 2026-11-2{rng.randrange(4, 9)}\nends: 2026-12-1{rng.randrange(9)}",
        )
        spec = self.stage.campaign(text, start=False)
        self._campaigns.append(spec.campaign_id)
        self.stage.order({"command": "campaign.start", "campaign_id": spec.campaign_id}, run=rng.random() < 0.5)

    def _person(self) -> None:
        rng, stage = self.rng, self.stage
        if rng.random() < 0.1 and len(self._campaigns) < 4:
            self._new_campaign()
            return
        videos = [name for name, video in self.checker.videos.items() if video.wish is not None] or ["vid_none"]
        bundle = rng.choice([*self.vendor.accounts, "b_none"])
        commands = [row["command_id"] for row in stage.commands() if row["status"] in ("dead", "unknown", "held")]
        country, platform = rng.choice(PLACES)
        order = rng.choice(
            [
                {"command": f"video.{rng.choice(['cancel', 'retry', 'release'])}", "video_id": rng.choice(videos)},
                {"command": f"video.{rng.choice(['finalize', 'refresh'])}", "video_id": rng.choice(videos)},
                {"command": "video.corrections", "video_id": rng.choice(videos), "comment": "a typo"},
                {"command": "video.reroute", "video_id": rng.choice(videos), "bundle_id": rng.choice([None, bundle])},
                {
                    "command": f"bundle.{rng.choice(['pause', 'resume', 'review', 'reviewed', 'warm', 'reinstate'])}",
                    "bundle_id": bundle,
                },
                {"command": "bundle.reviewed", "bundle_id": bundle},
                {"command": f"market.{rng.choice(['pause', 'resume'])}", "country": country, "platform": platform},
                {"command": "market.resume", "country": country, "platform": None},
                {"command": f"service.{rng.choice(['pause', 'resume', 'resume'])}"},
                {
                    "command": f"campaign.{rng.choice(['pause', 'resume', 'resume', 'start', 'cancel'])}",
                    "campaign_id": rng.choice(self._campaigns),
                },
                {
                    "command": f"command.{rng.choice(['retry', 'discard', 'approve'])}",
                    "command_id": rng.choice(commands or ["cmd_none"]),
                },
            ]
        )
        status, _ = stage.order(order)
        if status not in ("applied", "refused"):
            raise Broken(f"0: the order {order} is {status}")

    # What must hold.

    def check(self) -> None:
        with self.database.read() as connection:
            stored = EventLog(self.database).after(connection, self._checked, 1_000_000)
        self.checker.take(self.stage.mapper.event(*row[1:]) for row in stored)
        self._checked += len(stored)
        self.check_posts()

    def check_posts(self) -> None:
        """The promise behind invariant 3, by what the vendor really did: nothing is posted on a second account. A ban
        is TokPortal's own word that an account posts nothing more; that it had posted before may be told too late."""
        accounts: dict[str, set[str]] = {}
        for account in self.vendor.accounts.values():
            if account.was_banned:
                continue
            for slot in account.slots.values():
                if slot.state == "posted":
                    accounts.setdefault(slot.video_id, set()).add(account.bundle_id)
        for video_id, posted in sorted(accounts.items()):
            if len(posted) > 1:
                raise Broken(f"3: {video_id} was really posted on {' and on '.join(sorted(posted))}")

    def check_journal(self) -> None:
        """Invariant 1: everything that came was taken once, and nothing was poisonous."""
        with self.database.read() as connection:
            left = connection.execute(sa.select(sa.func.count()).select_from(inbox)).scalar_one()
            query = sa.select(journal.c.kind, marks.c.status, marks.c.reason, journal.c.event_id).select_from(
                journal.outerjoin(marks, marks.c.seq == journal.c.seq)
            )
            rows = connection.execute(query).all()
        if left:
            raise Broken(f"1: {left} messages were not taken")
        for row in rows:
            if row.status not in ("applied", "refused"):
                raise Broken(f"1: a {row.kind} is {row.status}: {row.reason}")
            left_facts = any(self.checker.facts[row.event_id, dialect] for dialect in (ARTICLE, PUBLIC))
            if row.kind == "webhook" and not left_facts:
                raise Broken(f"1: {row.event_id} was applied and left no fact")

    def check_read_models(self) -> None:
        """Invariant 8: made again from the log, every row is the same."""
        while self.follower.step():
            pass
        live = self._rows()
        with self.database.write() as connection:
            for name in READ_MODELS:
                connection.exec_driver_sql(f"DELETE FROM {name}")
            connection.execute(projections.update().where(projections.c.name.in_(NAMES)).values(position=0))
        self.follower = Follower(self.database, page=self.rng.choice([3, 20, 20_000]))
        while self.follower.step():
            pass
        again = self._rows()
        for name in READ_MODELS:
            if live[name] != again[name]:
                different = next(
                    (pair for pair in zip(live[name], again[name], strict=False) if pair[0] != pair[1]), None
                )
                raise Broken(f"8: {name} made again from the log differs: {different}")

    def _rows(self) -> dict[str, list[Any]]:
        with self.database.read() as connection:
            return {
                name: sorted(map(repr, connection.exec_driver_sql(f"SELECT * FROM {name}").all()))
                for name in READ_MODELS
            }

    def check_replay(self, make: Callable[[], Database]) -> None:
        """Invariant 9: the same journal gives the same events, byte for byte."""
        with self.database.read() as connection:
            query = sa.select(journal, marks.c.applied_seq).join(marks, marks.c.seq == journal.c.seq)
            rows = connection.execute(query.order_by(marks.c.applied_seq)).mappings().all()
            first = EventLog(self.database).after(connection, 0, 1_000_000)
        database = make()
        try:
            with database.write() as connection:
                values = [
                    {**{k: v for k, v in row.items() if k != "applied_seq"}, "seq": row["applied_seq"]} for row in rows
                ]
                connection.execute(journal.insert(), values)
                connection.execute(inbox.insert(), [{"seq": value["seq"]} for value in values])
            engine = Engine(database, max_batch=self.rng.choice([1, 13, 500]))
            while engine.step():
                pass
            with database.read() as connection:
                second = EventLog(database).after(connection, 0, 1_000_000)
        finally:
            database.close()
        for one, other in zip(first, second, strict=False):
            if one != other:
                raise Broken(f"9: the event at {one.position} differs: {one} and {other}")
        if len(first) != len(second):
            raise Broken(f"9: the journal gave {len(first)} events, and {len(second)} when it was run again")
