"""What the service would run with, and what is wrong with that."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import sqlalchemy as sa
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from orchestrator.briefing import POLICIES
from orchestrator.bundled import bundled
from orchestrator.database import Database
from orchestrator.database.connection import parse_url
from orchestrator.database.migrate import current, head
from orchestrator.database.tables import facts_of_database
from orchestrator.documents import Refused, decode
from orchestrator.mask import Mask
from orchestrator.policies.schema import parse
from orchestrator.secrets import FOLDER, Secret, known_sandbox_secret, stored_secrets
from orchestrator.settings import Effective, Mode, Settings
from orchestrator.tokportal.examination import examine_tokportal
from orchestrator.webhooks.endpoints import FILE, Endpoints, EndpointsError, load_endpoints

OK: Final = "ok"
WARNING: Final = "warning"
ERROR: Final = "error"

LOW_SPACE: Final = 1024**3
"""Bytes free below which the doctor warns."""
NO_SPACE: Final = 100 * 1024**2
"""Bytes free below which it is an error."""
SHORT_SECRET: Final = 16
"""Characters below which a webhook secret can be guessed from a signature."""
OLDEST_SQLITE: Final = (3, 35, 0)
"""The first with RETURNING."""
EMPTY: Final = "base"
"""What `orchestrator.database.migrate.current` says of a database without a schema."""

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `what` it is, and in `detail` how it stands and what would help."""

    level: Level
    what: str
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """All settings as they apply, and all findings."""

    settings: tuple[Effective, ...]
    findings: tuple[Finding, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether the service would work: there are no errors, warnings or not."""
        return all(finding.level != ERROR for finding in self.findings)


def report(settings: Settings) -> Report:
    """Every effective value, secrets masked, with where it comes from, and what `examine` finds."""
    return Report(settings.effective, tuple(examine(settings)))


def examine(settings: Settings) -> list[Finding]:
    """Look at everything that the service stands on; with a key, and outside of sandbox worlds, at TokPortal too, which
    is read and never written to.

    Never raises: what cannot be looked at is a finding of its own. No finding shows a secret. An SQLite database that
    does not exist is not made. A database server that does not answer costs some seconds, and so does TokPortal.
    """
    mask = Mask(settings.secrets)
    findings: list[Finding] = []
    looks = (_examine_settings, _examine_files, _examine_database, _examine_webhooks, _examine_policies)
    for look in (*looks, _examine_tokportal):
        try:
            findings += look(settings, mask)
        except Exception as error:
            findings.append(Finding(ERROR, "doctor", f"{look.__name__[1:]} failed: {_reason(error)}"))
    return [Finding(finding.level, finding.what, mask(finding.detail)) for finding in findings]


# Settings


def _examine_settings(settings: Settings, _: Mask) -> Iterator[Finding]:
    for warning in settings.warnings:
        yield Finding(WARNING, "settings", warning)
    if settings.mode is Mode.SANDBOX:
        yield Finding(OK, "mode", "sandbox: a world of its own, which never reaches TokPortal")
    elif settings.mode is Mode.LIVE:
        yield Finding(OK, "mode", "live: commands go to TokPortal")
    elif settings.tokportal_api_key is None:
        yield Finding(WARNING, "mode", "observe, without TOKPORTAL_API_KEY: nothing can be looked up at TokPortal")
    else:
        yield Finding(OK, "mode", "observe: nothing is written to TokPortal")
    if settings.api_tokens:
        yield Finding(OK, "API tokens", f"{len(settings.api_tokens)} set")
    else:
        yield Finding(OK, "API tokens", "none: the API answers on this machine only")
    if settings.require_https and (settings.public_url or "").startswith("http:"):
        yield Finding(WARNING, "public URL", "it is plain HTTP, and webhooks over plain HTTP are refused: use https://")


# Files


def _examine_files(settings: Settings, _: Mask) -> Iterator[Finding]:
    folder = settings.data_dir
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir():
        yield Finding(ERROR, "data folder", f"{folder} cannot be made: {existing} is a file")
    elif existing != folder:
        if os.access(existing, os.W_OK | os.X_OK):
            yield Finding(OK, "data folder", f"{folder} will be made at the first start")
        else:
            yield Finding(ERROR, "data folder", f"{folder} cannot be made: {existing} is not writable")
    else:
        try:
            # Tried rather than asked: a file system can be mounted read-only, and root may write anywhere else.
            with tempfile.TemporaryFile(dir=folder):
                yield Finding(OK, "data folder", f"{folder} is writable")
        except OSError as error:
            yield Finding(ERROR, "data folder", f"{folder} is not writable: {error.strerror}")
    yield _examine_space(existing)


def _examine_space(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1024**3:.1f} GiB free at {folder}"
    if free < NO_SPACE:
        return Finding(ERROR, "disk space", f"{detail}: the journal will soon fail to store webhooks")
    return Finding(WARNING if free < LOW_SPACE else OK, "disk space", detail)


# Database


def _examine_database(settings: Settings, _: Mask) -> Iterator[Finding]:
    url = parse_url(settings.database_url.reveal())
    if url.drivername == "sqlite" and not Path(str(url.database)).exists():
        yield from _examine_sqlite_version()
        yield Finding(OK, "database", f"{url.database} will be made at the first start")
        return
    try:
        database = Database(settings.database_url.reveal(), connections=1, name="orchestrator-doctor", lock_wait=5)
    except (OSError, ValueError, sa.exc.SQLAlchemyError) as error:
        yield Finding(ERROR, "database", f"{settings.database_url} cannot be opened: {_reason(error)}")
        return
    try:
        try:
            revision = current(database)
        except (OSError, sqlite3.Error, sa.exc.SQLAlchemyError) as error:
            yield Finding(ERROR, "database", f"{settings.database_url} does not answer: {_reason(error)}")
            return
        yield Finding(OK, "database", f"{settings.database_url} answers")
        yield from _examine_sqlite(database) if database.is_sqlite else _examine_postgres(database)
        yield _examine_schema(revision)
        if revision != EMPTY:
            yield _examine_world(database, settings.world)
    finally:
        database.close()


def _examine_schema(revision: str) -> Finding:
    newest = head()
    if revision == newest:
        return Finding(OK, "schema", f"up to date, at {revision}")
    if revision == EMPTY:
        return Finding(OK, "schema", "none yet: `orchestrator serve` and `orchestrator migrate` make it")
    try:
        ScriptDirectory(str(bundled("migrations"))).get_revision(revision)
    except CommandError:
        return Finding(ERROR, "schema", f"at {revision}, which this program does not know: a newer one was here")
    return Finding(WARNING, "schema", f"at {revision}, not yet at {newest}: run `orchestrator migrate`")


def _examine_world(database: Database, world: str) -> Finding:
    column = facts_of_database.c
    with database.read() as connection:
        found = connection.execute(sa.select(column.value).where(column.key == "world")).scalar()
    if found is None:
        return Finding(OK, "world", f"none yet: it will be {world!r}")
    if found != world:
        return Finding(
            ERROR, "world", f"the database belongs to {found!r} and the settings to {world!r}: use another database"
        )
    return Finding(OK, "world", f"{world!r}, as the settings say")


def _examine_sqlite(database: Database) -> Iterator[Finding]:
    with database.read() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    yield from _examine_sqlite_version()
    if mode == "wal":
        yield Finding(OK, "write-ahead log", "on")
    else:
        yield Finding(
            ERROR,
            "write-ahead log",
            f"off (journal mode {mode}): the file system may lack shared memory, use a local disk",
        )


def _examine_sqlite_version() -> Iterator[Finding]:
    version = sqlite3.sqlite_version_info
    if version < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        yield Finding(ERROR, "SQLite", f"{sqlite3.sqlite_version} is too old: {wanted} or newer is needed")
    else:
        yield Finding(OK, "SQLite", sqlite3.sqlite_version)


def _examine_postgres(database: Database) -> Iterator[Finding]:
    with database.read() as connection:
        version = connection.exec_driver_sql("SHOW server_version").scalar_one()
        rows = connection.exec_driver_sql(
            "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')"
        )
        unsafe = [name for name, setting in sorted(map(tuple, rows)) if setting == "off"]
    yield Finding(OK, "PostgreSQL", str(version))
    if unsafe:
        yield Finding(
            WARNING, "durability", f"{' and '.join(unsafe)} off: webhooks that were answered 200 can be lost in a crash"
        )
    else:
        yield Finding(OK, "durability", "what is committed survives a crash of the server")


# Webhooks


def _examine_webhooks(settings: Settings, mask: Mask) -> Iterator[Finding]:
    stored: list[Secret] = []
    try:
        stored = stored_secrets(settings.data_dir)
        if settings.mode is Mode.SANDBOX and (own := known_sandbox_secret(settings.data_dir)) is not None:
            stored.append(own)
    except OSError as error:
        yield Finding(ERROR, "webhook secrets", f"{error.filename} cannot be read: {error.strerror}")
    mask.add(stored)
    yield from _examine_permissions(settings.data_dir / FOLDER)

    configured = dict.fromkeys((*settings.webhook_secrets, *stored))
    try:
        endpoints = load_endpoints(settings.config_dir, tuple(configured), settings.environment.get)
    except EndpointsError as error:
        for problem in error.problems:
            yield Finding(ERROR, FILE, problem)
        return
    for endpoint in endpoints.by_name.values():
        mask.add(endpoint.secrets)
    for warning in endpoints.warnings:
        yield Finding(WARNING, FILE, warning)
    if not endpoints.warnings:
        names = ", ".join(sorted(endpoints.by_name))
        yield Finding(OK, FILE, f"valid: {names}" if (settings.config_dir / FILE).is_file() else f"not there: {names}")
    yield from _examine_secrets(settings, endpoints)


def _examine_secrets(settings: Settings, endpoints: Endpoints) -> Iterator[Finding]:
    for endpoint in endpoints.by_name.values():
        for secret in endpoint.secrets:
            if len(secret.reveal()) < SHORT_SECRET:
                yield Finding(
                    WARNING,
                    "webhook secrets",
                    f"{secret} of endpoint {endpoint.name} has fewer than {SHORT_SECRET} characters and can be guessed",
                )
    accepting = [endpoint.name for endpoint in endpoints.by_name.values() if endpoint.secrets]
    if accepting:
        count = len({secret for endpoint in endpoints.by_name.values() for secret in endpoint.secrets})
        yield Finding(OK, "webhook secrets", f"{count} for {', '.join(accepting)}")
    elif settings.mode is Mode.SANDBOX:
        yield Finding(OK, "webhook secrets", "none yet: one is made at the first start")
    else:
        yield Finding(
            ERROR if settings.mode is Mode.LIVE else WARNING,
            "webhook secrets",
            "none, so every webhook is refused: set TOKPORTAL_WEBHOOK_SECRET",
        )


def _examine_permissions(folder: Path) -> Iterator[Finding]:
    if folder.is_dir():
        for path in (folder, *sorted(folder.iterdir())):
            if path.suffix != ".pub" and path.stat().st_mode & 0o077:
                yield Finding(WARNING, "webhook secrets", f"others may read {path}: run chmod go= {path}")


# Policies


def _examine_policies(settings: Settings, _: Mask) -> Iterator[Finding]:
    path = settings.config_dir / POLICIES
    try:
        policies = parse(decode(path.read_bytes()))
    except FileNotFoundError:
        yield Finding(WARNING, POLICIES, "not there: nothing is decided until policies are in force")
    except OSError as error:
        yield Finding(ERROR, POLICIES, f"cannot be read: {error.strerror}")
    except Refused as error:
        for problem in error.problems:
            yield Finding(ERROR, POLICIES, f"line {problem}")
    else:
        yield Finding(OK, POLICIES, f"valid: version {policies.sha256[:12]}")
        for problem in (*policies.warnings, *policies.unheard(settings.environment.get)):
            yield Finding(WARNING, POLICIES, f"line {problem}")


# TokPortal


def _examine_tokportal(settings: Settings, _: Mask) -> Iterator[Finding]:
    if settings.tokportal_api_key is not None and settings.mode is not Mode.SANDBOX:
        for level, what, detail in examine_tokportal(settings, settings.tokportal_api_key):
            yield Finding(level, what, detail)


def _reason(error: BaseException) -> str:
    """The error in one line, without SQLAlchemy's decoration."""
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) and error.orig is not None else error
    return " ".join(str(cause).split()) or type(cause).__name__
