"""Running services. Tests that change nothing which others rely on share one for each kind of database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.blackbox.server import Server
from tests.conftest import BACKENDS
from tests.postgres import PostgresServer

WEBHOOKS = """
endpoints:
  accounts: {secrets: [env:ACCOUNTS_SECRET]}
  first: {secrets: [env:FIRST_SECRET]}
  blank: {secrets: [env:BLANK_SECRET]}
  try: {secrets: [env:TRY_SECRET], mode: test}
"""
ACCOUNTS_SECRET = "tp_test_secret_of_accounts"
TRY_SECRET = "tp_test_secret_to_try"
SETTINGS = {
    "ACCOUNTS_SECRET": ACCOUNTS_SECRET,
    "FIRST_SECRET": "tp_test_secret_do_not_use",
    "BLANK_SECRET": "",
    "TRY_SECRET": TRY_SECRET,
}

NewServer = Callable[..., Server]


@contextmanager
def empty_database(request: pytest.FixtureRequest, backend: str, folder: Path) -> Iterator[str]:
    if backend == "sqlite":
        yield f"sqlite:///{folder / 'data' / 'orchestrator.db'}"
        return
    postgres: PostgresServer = request.getfixturevalue("postgres_server")
    url = postgres.new_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="session", params=BACKENDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service that many tests share. Whatever they sent it, it logged no error and stops well."""
    folder = tmp_path_factory.mktemp(f"server-{request.param}")
    with empty_database(request, request.param, folder) as url:
        server = Server(folder, url, webhooks=WEBHOOKS, **SETTINGS)
        try:
            yield server.start()
            assert server.errors() == []
            assert server.stop() == 0
        finally:
            server.close()


@pytest.fixture
def new_server(tmp_path: Path) -> Iterator[NewServer]:
    """Makes services of a test's own, which are gone after it."""
    made: list[Server] = []

    def new(database_url: str, *arguments: str, name: str = "server", **options: str) -> Server:
        server = Server(tmp_path / name, database_url, *arguments, **options)
        made.append(server)
        return server

    yield new
    for server in made:
        server.close()
