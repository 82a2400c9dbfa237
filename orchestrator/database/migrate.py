"""Brings a database to the schema of this program, one migrator at a time."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from orchestrator.bundled import bundled
from orchestrator.database.connection import Database

MIGRATION_LOCK = 0x6F726368
"""The advisory lock on PostgreSQL under which migrations run."""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(bundled("migrations")).replace("%", "%%"))
    return config


def migrate(url: str, revision: str = "head") -> str:
    """Moves the schema up, or down, to `revision` and returns the revision reached.

    Other migrators wait: on SQLite for the write lock, on PostgreSQL for an advisory lock.
    """
    database = Database(url, connections=1, name="orchestrator-migrate", lock_wait=60, statement_timeout=600)
    try:
        with database.write() as connection:
            if not database.is_sqlite:
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
            config = _config()
            config.attributes["connection"] = connection
            current = MigrationContext.configure(connection).get_current_revision()
            scripts = ScriptDirectory.from_config(config)
            target = scripts.get_current_head() if revision == "head" else revision
            if revision == "base" or (current and target and _is_older(scripts, target, current)):
                command.downgrade(config, revision)
            else:
                command.upgrade(config, revision)
            return MigrationContext.configure(connection).get_current_revision() or "base"
    finally:
        database.close()


def _is_older(scripts: ScriptDirectory, target: str, current: str) -> bool:
    return target != current and target in {script.revision for script in scripts.walk_revisions("base", current)}


class SchemaError(Exception):
    """The database's schema is not that of this program; the text says what to do."""


def require_head(database: Database) -> None:
    """Raises `SchemaError` unless the schema is this program's."""
    if (revision := current(database)) != head():
        raise SchemaError(
            f"the database's schema is at {revision} and this version needs {head()}: run orchestrator migrate, "
            "or the version that made it"
        )


def head() -> str:
    """The newest revision that this program knows."""
    return ScriptDirectory.from_config(_config()).get_current_head() or "base"


def current(database: Database) -> str:
    """The revision that the database is at; `base` for an empty one."""
    with database.read() as connection:
        return MigrationContext.configure(connection).get_current_revision() or "base"
