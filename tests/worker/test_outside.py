"""The worker for what happens outside: timers and commands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from orchestrator.database import Database, Lease, LeaseLostError
from orchestrator.database.tables import due, leases
from orchestrator.worker import CONNECTIONS, Outside
from tests.blackbox.server import wait_for
from tests.brain.stage import Stage

pytestmark = pytest.mark.parametrize("migrated_url", ["sqlite"], indirect=True)


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    with closing(Database(migrated_url, connections=CONNECTIONS["outside"])) as database:
        yield database


@pytest.fixture
def lease(database: Database) -> Lease:
    lease = Lease(database, "outside", "us")
    assert lease.acquire()
    return lease


@pytest.fixture
def outside(database: Database, lease: Lease) -> Iterator[Outside]:
    with closing(Outside(database, lease)) as outside:
        yield outside


def set_timer(database: Database) -> None:
    with database.write() as connection:
        connection.execute(due.insert().values(name="a", due_at=0, body='{"timer":"bundle","bundle_id":"b1"}'))


def expiry(database: Database) -> float:
    with database.read() as connection:
        return float(connection.execute(sa.select(leases.c.expires_at)).scalar_one())


def test_a_step_that_did_something_has_renewed_the_lease(database: Database, outside: Outside) -> None:
    """The loop takes that for granted: it renews the lease of those that are idle only."""
    set_timer(database)
    with database.write() as connection:
        connection.execute(leases.update().values(expires_at=0))

    assert outside.step() == 1
    assert expiry(database) > 0


def test_an_idle_step_writes_nothing(database: Database, outside: Outside) -> None:
    before = expiry(database)

    assert outside.step() == 0
    assert expiry(database) == before


def test_who_lost_the_lease_is_told(database: Database, lease: Lease, outside: Outside) -> None:
    set_timer(database)
    lease.release()
    assert Lease(database, "outside", "them").acquire()
    lease.token = 1

    with pytest.raises(LeaseLostError):
        outside.step()


def test_it_gives_its_connections_back(database: Database, lease: Lease) -> None:
    set_timer(database)
    with closing(Outside(database, lease)) as outside:
        outside.step()
        assert database.engine.pool.checkedout() > 0  # type: ignore[attr-defined]

    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


# The process.


@contextmanager
def process(database: Database, **environment: str) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(
        [sys.executable, "-W", "error", "-X", "dev", "-m", "orchestrator", "worker", "outside"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "ORCHESTRATOR_DATABASE_URL": database.url.render_as_string(hide_password=False),
            "ORCHESTRATOR_MODE": "sandbox",
            "ORCHESTRATOR_LOG_FORMAT": "json",
            **environment,
        },
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def end(worker: subprocess.Popen[str], how: str) -> None:
    if how == "told to stop":
        worker.send_signal(signal.SIGTERM)
    else:
        assert worker.stdin is not None
        worker.stdin.close()
        worker.stdin = None


def is_warmed(stage: Stage) -> bool:
    """After the engine has taken what the worker asked and reported."""
    stage.run()
    return [row["status"] for row in stage.commands(kind="start_warming")] == ["done"]


@pytest.mark.parametrize("how", ["told to stop", "left alone"])
def test_the_process_works_and_ends_cleanly(migrated_url: str, how: str) -> None:
    """Whether its parent tells it or is gone: it leaves the lease to the next, and nothing behind."""
    with closing(Database(migrated_url, connections=5)) as database, closing(Stage(database)) as stage:
        stage.now = datetime.now(UTC) - timedelta(days=1)
        stage.article("bundle.ready", "b1")
        with process(database) as worker:
            wait_for(lambda: is_warmed(stage), what="a command that is let go and done")
            end(worker, how)
            _, said = worker.communicate(timeout=10)
        assert worker.returncode == 0
        assert "Traceback" not in said
        assert "Warning" not in said
        assert expiry(database) == 0
