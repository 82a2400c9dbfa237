"""Looking into the database of these settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import sqlalchemy as sa

    from orchestrator.api.queries.moments import Moment
    from orchestrator.database import Database
    from orchestrator.settings import Settings

T = TypeVar("T")


class NotFoundError(Exception):
    """What was asked for does not exist; the text is one sentence."""


def load_settings() -> Settings:
    from orchestrator.settings import Settings

    return Settings.load(os.environ, Path.cwd())


@contextmanager
def opened(*, connections: int = 1, statement_timeout: float = 60.0) -> Iterator[Database]:
    """The database, which is there and has the schema of this program."""
    from orchestrator.database import Database
    from orchestrator.database.connection import parse_url
    from orchestrator.database.migrate import require_head

    url = load_settings().database_url.reveal()
    parsed = parse_url(url)
    if parsed.drivername == "sqlite" and not Path(str(parsed.database)).exists():
        raise NotFoundError(
            f"there is no database yet at {parsed.database}: start the service, or run orchestrator migrate"
        )
    database = Database(url, connections=connections, name="orchestrator-cli", statement_timeout=statement_timeout)
    try:
        require_head(database)
        yield database
    finally:
        database.close()


def read(query: Callable[[sa.Connection], T]) -> T:
    """The answer of `query`, which is given a connection to the database."""
    with opened() as database, database.read() as connection:
        return query(connection)


def found(item: T | None, what: str, name: str) -> T:
    if item is None:
        raise NotFoundError(f"there is no {what} {name!r}")
    return item


def moment(as_of: str | None) -> Moment | None:
    """The moment of the past that is asked for; None for now."""
    from orchestrator.api.queries.moments import parse_moment
    from orchestrator.world import clock_of

    if as_of is None:
        return None
    with opened() as database:
        return parse_moment(as_of, clock_of(database).now())
