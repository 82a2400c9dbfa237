"""Seeded worlds of accounts, campaigns, webhooks, bans, appeals, failures, orders, policy changes and downtime, run
through the real engine on the real stores. What must always hold is checked after every step."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.database import Database
from tests.conftest import prepare
from tests.postgres import PostgresServer
from tests.simulation.runs import CONNECTIONS, simulate

SQLITE_SEEDS = 200
POSTGRES_SEEDS = 20


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where there is such a place: what the disk does is no part of these worlds."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        yield Path(name)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SQLITE_SEEDS, 20))
def test_what_must_hold_holds_on_sqlite(first: int, folder: Path, migrated_sqlite_file: Path) -> None:
    happened: Counter[str] = Counter()
    for seed in range(first, first + 20):
        made = 0

        def make(seed: int = seed) -> Database:
            nonlocal made
            made += 1
            path = folder / f"{seed}-{made}.db"
            shutil.copyfile(migrated_sqlite_file, path)
            return Database(f"sqlite:///{path}", connections=CONNECTIONS)

        happened.update(kind for kind, _ in simulate(seed, make).happened)
        for path in folder.iterdir():
            path.unlink()
    # Worlds in which nothing goes wrong would prove nothing.
    for kind in ("warm", "place", "reroute", "wait", "stop", "hold", "cancel", "review"):
        assert happened[kind], f"nothing of the kind {kind} happened in 20 worlds"


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1_000, 1_000 + POSTGRES_SEEDS, 5))
def test_what_must_hold_holds_on_postgresql(first: int, postgres_server: PostgresServer) -> None:
    urls: list[str] = []

    def make() -> Database:
        urls.append(postgres_server.new_migrated_database(prepare))
        return Database(urls[-1], connections=CONNECTIONS)

    for seed in range(first, first + 5):
        simulate(seed, make)
    for url in urls:
        postgres_server.drop_database(url)
