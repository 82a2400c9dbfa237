"""Service and sandbox in one process: seeded worlds with lost answers, lost news, sudden deaths and people, at the end
of which nothing may have happened twice, nothing may be lost, and both sides agree."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from orchestrator.database import Database
from orchestrator.simulate.dialect import Dialect
from tests.conftest import prepare
from tests.postgres import PostgresServer
from tests.soak.world import CONNECTIONS, SoakWorld

SMALL = {"accounts": 6, "videos": 16, "days": 9}


@pytest.mark.slow
@pytest.mark.parametrize("dialect", list(Dialect))
def test_nothing_happens_twice_and_nothing_is_lost(
    dialect: Dialect, migrated_sqlite_file: Path, tmp_path: Path
) -> None:
    made = 0

    def make() -> Database:
        nonlocal made
        made += 1
        path = tmp_path / f"{made}.db"
        shutil.copyfile(migrated_sqlite_file, path)
        return Database(f"sqlite:///{path}", connections=CONNECTIONS)

    happened: Counter[str] = Counter()
    for seed in range(2):
        happened += _live(SoakWorld(make, seed, dialect=dialect, **SMALL))
    # Worlds in which nothing goes wrong would prove nothing.
    for what in ("posted", "deaths", "lost answers"):
        assert happened[what], f"no {what} in two worlds"


@pytest.mark.slow
def test_neither_on_postgresql(postgres_server: PostgresServer) -> None:
    urls: list[str] = []

    def make() -> Database:
        urls.append(postgres_server.new_migrated_database(prepare))
        return Database(urls[-1], connections=CONNECTIONS)

    _live(SoakWorld(make, 100, **SMALL))
    for url in urls:
        postgres_server.drop_database(url)


def _live(world: SoakWorld) -> Counter[str]:
    try:
        problems = world.run()
        assert not problems, f"seed {world.seed}: {problems}"
        return world.happened()
    finally:
        world.close()
