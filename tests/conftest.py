"""What every test can use: databases of both kinds, and the vendor's test vectors."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import PostgresServer, running_server

BACKENDS = ["sqlite", "postgresql"]


def vectors(name: str) -> Any:
    """Load `tests/vectors/NAME.json`. Importable for parametrisation, and a fixture of the same name."""
    path = Path(__file__).parent / "vectors" / f"{name.removesuffix('.json')}.json"
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="session", name="vectors")
def _vectors() -> Callable[[str], Any]:
    return vectors


def prepare(url: str) -> None:
    """Give a new database the schema. Once per session and backend: tests get copies."""
    from orchestrator.database import migrate

    migrate(url)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "orchestrator.db"
    prepare(f"sqlite:///{path}")
    connection = sqlite3.connect(path)
    try:
        # what is still in the write-ahead log would be missing in a copy of the file
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
    return path


@pytest.fixture(params=BACKENDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh, empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.new_database()
    yield url
    server.drop_database(url)


@pytest.fixture(params=BACKENDS)
def migrated_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh database with the whole schema in it."""
    if request.param == "sqlite":
        path = tmp_path / "migrated.db"
        shutil.copyfile(request.getfixturevalue("migrated_sqlite_file"), path)
        yield f"sqlite:///{path}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.new_migrated_database(prepare)
    yield url
    server.drop_database(url)
