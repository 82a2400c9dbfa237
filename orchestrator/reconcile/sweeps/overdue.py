"""News that is overdue: posts whose day has come, and accounts that have been created or warmed for long."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from orchestrator.database.tables import bundles, events, videos
from orchestrator.domain.times import iso
from orchestrator.reconcile.office import Office
from orchestrator.reconcile.sweep import Sweep
from orchestrator.reconcile.sweeps.looks import ROW, SLOTS, WARMING, Looks
from orchestrator.reconcile.sweeps.rounds import UNDER_WAY
from orchestrator.tokportal.reads import Kind

POSTS_AGAIN: Final = timedelta(hours=3)
ACCOUNTS_AGAIN: Final = timedelta(hours=12)
PATIENCE: Final = timedelta(days=3)
"""How long an account may be created or warmed without news. Warming is spread over three days (TokPortal's
documentation)."""
AT_ONCE: Final = 20
"""Bundles that are asked for at a time, the most urgent first."""


class Overdue(Sweep):
    """Makes no request itself: it has bundles looked at. What webhooks do not tell is noticed here."""

    name = "overdue"
    kind = "recovery"
    is_routine = False
    every = timedelta(minutes=10)

    def __init__(self, office: Office, looks: Looks) -> None:
        super().__init__(office)
        self._looks = looks

    def next_kind(self, closed: Collection[Kind]) -> Kind | None:
        return self.kind

    def step(self, now: datetime, kind: Kind) -> None:
        looked: dict[str, str] = self.body.get("looked", {})
        kept: dict[str, str] = {}
        wanted: list[tuple[str, tuple[str, ...]]] = []
        for name, parts, again in self._overdue(now):
            last = looked.get(name)
            if last is not None and now - datetime.fromisoformat(last) < again:
                kept[name] = last
            elif len(wanted) < AT_ONCE and name not in kept:
                wanted.append((name, parts))
                kept[name] = now.isoformat()
        for name, parts in wanted:
            self._looks.want(name, parts, kind, now)
        self.rest(now, {"looked": kept})

    def _overdue(self, now: datetime) -> list[tuple[str, tuple[str, ...], timedelta]]:
        """Bundles, what of them, and how often at most; the longest overdue first."""
        posts = (
            sa.select(videos.c.bundle_id)
            .where(
                videos.c.state.in_(UNDER_WAY),
                videos.c.target_day <= now.date().isoformat(),
                videos.c.bundle_id.is_not(None),
            )
            .group_by(videos.c.bundle_id)
            .order_by(sa.func.min(videos.c.target_day), videos.c.bundle_id)
        )
        accounts = (
            sa.select(bundles.c.bundle_id)
            .where(bundles.c.state.in_(("created", "warming")), bundles.c.state_since < iso(now - PATIENCE))
            .order_by(bundles.c.state_since, bundles.c.bundle_id)
        )
        with self.office.database.read() as connection:
            of_posts = [(str(name), (ROW, SLOTS), POSTS_AGAIN) for name in connection.execute(posts).scalars()]
            of_accounts = [(name, (ROW, WARMING), ACCOUNTS_AGAIN) for name in connection.execute(accounts).scalars()]
        return [*of_posts, *of_accounts]


class Reactivated(Sweep):
    """TokPortal moves what was scheduled when coverage is reactivated, and does not say where to (its documentation):
    the slots of the account are read again. Makes no request itself."""

    name = "reactivated"
    kind = "recovery"
    is_routine = False
    every = timedelta(minutes=1)

    def __init__(self, office: Office, looks: Looks) -> None:
        super().__init__(office)
        self._looks = looks

    def next_kind(self, closed: Collection[Kind]) -> Kind | None:
        return self.kind

    def step(self, now: datetime, kind: Kind) -> None:
        last: int | None = self.body.get("position")
        with self.office.database.read() as connection:
            head = connection.execute(
                sa.select(sa.func.coalesce(sa.func.max(events.c.notification_id), 0))
            ).scalar_one()
            subjects: set[str] = set()
            if last is not None and head > last:
                query = sa.select(events.c.originator_id).where(
                    events.c.notification_id > last,
                    events.c.notification_id <= head,
                    events.c.topic == "CoverageReactivated",
                )
                subjects = set(connection.execute(query).scalars())
            names = sorted({name for subject in subjects for name in self._bundles(connection, subject)})
        for name in names:
            self._looks.want(name, (SLOTS,), kind, now)
        self.rest(now, {"position": head})

    @staticmethod
    def _bundles(connection: sa.Connection, subject: str) -> list[str]:
        """The bundles that an event about this aggregate is about."""
        kind, _, name = subject.partition(":")
        account = name
        if kind == "bundle":
            query = sa.select(bundles.c.saved_account_id).where(bundles.c.bundle_id == name)
            account = connection.execute(query).scalar_one_or_none() or ""
        query = sa.select(bundles.c.bundle_id).where(bundles.c.saved_account_id == account)
        found = list(connection.execute(query).scalars()) if account else []
        return [*found, name] if kind == "bundle" else found
