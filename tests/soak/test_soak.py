"""The short form of `make soak`: service and sandbox as processes of their own, with faults, and killed on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.database import Database, migrate
from orchestrator.simulate.dialect import Dialect
from tests.postgres import PostgresServer
from tests.soak.soak import Plan, Soak

SHORT = Plan(
    accounts=6, countries=2, videos=16, days=2, quiet_days=8, campaigns=1, kills=3, speed=20_000, kill_after=(1, 2.5)
)


@pytest.mark.slow
def test_some_days_on_sqlite(tmp_path: Path) -> None:
    made = 0

    def make() -> Database:
        nonlocal made
        made += 1
        url = f"sqlite:///{tmp_path}/again-{made}.db"
        migrate(url)
        return Database(url, connections=4)

    _soak(SHORT, tmp_path, f"sqlite:///{tmp_path}/orchestrator.db", make)


@pytest.mark.slow
def test_some_days_on_postgresql(tmp_path: Path, postgres_server: PostgresServer) -> None:
    def make() -> Database:
        url = postgres_server.new_database()
        migrate(url)
        return Database(url, connections=4)

    plan = replace(SHORT, seed=2, dialect=Dialect.PUBLIC)
    _soak(plan, tmp_path, postgres_server.new_database(), make)


def _soak(plan: Plan, folder: Path, url: str, make: Callable[[], Database]) -> None:
    report = Soak(plan, folder, url, make).run()
    assert not report.problems, f"{report.problems}; {report.summary}"
    assert report.kills >= SHORT.kills, report.summary
    assert report.posts, report.summary
