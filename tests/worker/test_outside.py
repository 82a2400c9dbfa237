"""The worker for what happens outside: timers, and the hands for what may take long."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from orchestrator import outside as module
from orchestrator.database import Database, Lease, LeaseLostError
from orchestrator.database.tables import due, leases
from orchestrator.outside import STUCK, TICK, Hand, Outside, StuckError
from orchestrator.timers import Ringer
from orchestrator.worker import CONNECTIONS
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


def make(database: Database, lease: Lease, *hands: Hand) -> Outside:
    return Outside(Ringer(database, lambda: 1_000_000), lease, hands)


@pytest.fixture
def outside(database: Database, lease: Lease) -> Iterator[Outside]:
    with closing(make(database, lease)) as outside:
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
    with closing(make(database, lease)) as outside:
        outside.step()
        assert database.engine.pool.checkedout() > 0  # type: ignore[attr-defined]

    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


# Hands.


class Duty:
    """Does what the script says at each step; then it has nothing to do."""

    def __init__(self, *script: int | Exception) -> None:
        self.script = list(script)
        self.said: list[str] = []
        self.done = threading.Event()

    def step(self) -> int:
        self.said.append("step")
        if not self.script:
            self.done.set()
            return 0
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def forget(self) -> None:
        self.said.append("forget")

    def close(self) -> None:
        self.said.append("close")


class Stopping(threading.Event):
    """Notes how long it should have waited, and never does; `meanwhile` happens instead."""

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.waits: list[float] = []
        self.meanwhile = meanwhile

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits.append(timeout)
        self.meanwhile()
        return self.is_set()


def run(duty: Duty, lease: Lease, stopping: Stopping) -> list[str]:
    """In this thread, until it is told to stop."""
    Hand("test", duty, lease, stopping).run()
    return duty.said


def test_a_hand_goes_on_at_once_while_there_is_work_and_looks_again_later(lease: Lease) -> None:
    duty = Duty(3, 1)
    stopping = Stopping()
    stopping.meanwhile = stopping.set

    assert run(duty, lease, stopping) == ["forget", "step", "step", "step", "close"]
    assert stopping.waits == [TICK]


def test_a_hand_does_nothing_without_the_lease_and_forgets_when_it_changed_hands(lease: Lease) -> None:
    duty = Duty()
    states = iter([None, lease.token, 7, None])
    stopping = Stopping()

    def change() -> None:
        try:
            lease.token = next(states)
        except StopIteration:
            stopping.set()

    lease.token, stopping.meanwhile = None, change
    assert run(duty, lease, stopping) == ["forget", "step", "forget", "step", "forget", "close"]


def test_a_step_that_fails_is_logged_and_made_up_for_and_ends_nothing(
    lease: Lease, caplog: pytest.LogCaptureFixture
) -> None:
    duty = Duty(RuntimeError("the roof fell in"), LeaseLostError("somebody else"), 1)
    stopping = Stopping()
    stopping.meanwhile = lambda: stopping.set() if duty.done.is_set() else None

    assert run(duty, lease, stopping) == ["forget", "step", "forget", "step", "step", "step", "close"]
    assert "test: a step failed: the roof fell in" in caplog.text
    assert "test: stepping back: somebody else" in caplog.text


def test_of_a_databases_error_nothing_is_logged_that_may_quote_a_row(
    lease: Lease, caplog: pytest.LogCaptureFixture
) -> None:
    duty = Duty(sa.exc.OperationalError("INSERT", {"body": "secret"}, Exception("locked\nDETAIL: secret")))
    stopping = Stopping()
    stopping.meanwhile = lambda: stopping.set() if duty.done.is_set() else None
    run(duty, lease, stopping)

    assert "secret" not in caplog.text


def test_a_hand_that_does_not_come_back_stops_the_lease_from_being_renewed(
    database: Database, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    release = threading.Event()
    began = threading.Event()

    class Slow(Duty):
        def step(self) -> int:
            began.set()
            assert release.wait(30)
            return 0

    stopping = threading.Event()
    outside = make(database, lease, Hand("slow", Slow(), lease, stopping))
    assert began.wait(30)
    outside.step()
    clock.now += STUCK + 1
    with pytest.raises(StuckError, match="slow has not come back for 91 s"):
        outside.step()

    stopping.set()
    release.set()
    outside.close()


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
            "ORCHESTRATOR_MODE": "observe",
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


@pytest.mark.parametrize("how", ["told to stop", "left alone"])
def test_the_process_works_and_ends_cleanly(migrated_url: str, how: str) -> None:
    """Whether its parent tells it or is gone: it leaves the lease to the next, and nothing behind."""
    with closing(Database(migrated_url, connections=5)) as database, closing(Stage(database)) as stage:
        stage.article("bundle.created", "b1")
        assert stage.order({"command": "bundle.review", "bundle_id": "b1", "reason": "look"}) == ("applied", None)
        set_timer(database)
        with process(database) as worker:
            wait_for(lambda: stage.commands(kind="alert")[0]["status"] == "done", what="an alert that is told")
            wait_for(lambda: not stage.nothing_is_left(), what="a timer that rings")
            end(worker, how)
            _, said = worker.communicate(timeout=10)
        assert worker.returncode == 0
        assert "Traceback" not in said
        assert "Warning" not in said
        assert expiry(database) == 0
