from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from orchestrator import worker
from orchestrator.database import Database, Lease, LeaseLostError
from orchestrator.database.lease import TERM
from orchestrator.database.tables import journal, leases
from orchestrator.worker import BUSY, GATHER, GIVE_WAY, LONGEST_BACKOFF, RENEW, Traffic, loop
from projections.follower import OvertakenError

pytestmark = pytest.mark.parametrize("migrated_url", ["sqlite"], indirect=True)


USUAL = {
    "kind": "webhook",
    "endpoint": "default",
    "mode": "live",
    "digest": "",
    "body": b"",
    "headers": "{}",
    "actor": "{}",
    "received_at": 1,
    "deliveries": 1,
}


class Time:
    """The one clock of these tests, the worker's and the database's. It goes on only while the worker waits."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def monotonic(self) -> float:
        return self.now


class Stopping(threading.Event):
    """Never waits, but remembers for how long it should have. Stops the worker in the wait after the `last` one."""

    def __init__(self, time: Time, last: int = 3) -> None:
        super().__init__()
        self.time = time
        self.last = last
        self.waits: list[float] = []
        self.meanwhile: Callable[[int], object] = lambda number: None
        """Called with the number of the wait, from 1 on."""

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits.append(timeout)
        self.time.now += timeout
        if len(self.waits) > self.last:
            self.set()
        else:
            self.meanwhile(len(self.waits))
        return self.is_set()


class Duty:
    """Does what it is told, one thing a step: so much work, or an exception. Then there is nothing more to do."""

    full = 1

    def __init__(self, *steps: int | Exception) -> None:
        self.to_do = list(steps)
        self.history: list[str] = []
        self.before_step: Callable[[], object] = lambda: None

    def step(self) -> int:
        self.before_step()
        self.history.append("step")
        outcome = self.to_do.pop(0) if self.to_do else 0
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def forget(self) -> None:
        self.history.append("forget")


@pytest.fixture(autouse=True)
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=time.monotonic))
    monkeypatch.setattr(worker, "random", SimpleNamespace(uniform=lambda low, high: high))
    monkeypatch.setattr(Database, "now", lambda database, connection: time.now)
    return time


@pytest.fixture
def stopping(time: Time) -> Stopping:
    return Stopping(time)


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    with closing(Database(migrated_url, connections=2)) as database:
        yield database


@pytest.fixture
def lease(database: Database) -> Lease:
    return Lease(database, "engine", "us")


@pytest.fixture
def rival(database: Database) -> Lease:
    return Lease(database, "engine", "them")


def in_the_database(database: Database) -> tuple[str, int, float]:
    """Holder, token, and the end of the lease."""
    with database.read() as connection:
        holder, token, expires_at = connection.execute(
            sa.select(leases.c.holder, leases.c.token, leases.c.expires_at)
        ).one()
    return holder, token, expires_at


def test_it_steps_while_it_holds_the_lease(lease: Lease, stopping: Stopping) -> None:
    held: list[int | None] = []
    duty = Duty(7, 7, 7)
    duty.before_step = lambda: held.append(lease.token)

    loop(duty, lease, stopping)

    assert duty.history == ["forget"] + ["step"] * 7
    assert held == [1] * 7


def test_it_goes_on_at_once_while_it_is_behind(lease: Lease, stopping: Stopping) -> None:
    duty = Duty(10, 10, 10)
    duty.full = 10
    stopping.last = 0

    loop(duty, lease, stopping)

    assert duty.history.count("step") == 4
    assert stopping.waits == [GATHER]


def test_when_it_is_not_behind_it_lets_work_gather(lease: Lease, stopping: Stopping) -> None:
    duty = Duty(10, 9, 1)
    duty.full = 10

    loop(duty, lease, stopping)

    assert duty.history.count("step") == 5
    assert stopping.waits == [GATHER] * 4


def test_under_heavy_traffic_it_gives_way_for_longer_than_it_worked(
    lease: Lease, stopping: Stopping, time: Time
) -> None:
    duty = Duty(1, 1)
    duty.before_step = lambda: setattr(time, "now", time.now + 0.25)
    stopping.last = 4

    loop(duty, lease, stopping, lambda: True)

    # In pieces no longer than the lease may go unrenewed.
    whole, rest = divmod(GIVE_WAY * 0.25, RENEW)
    pieces = [RENEW] * int(whole) + [pytest.approx(rest)]
    assert stopping.waits == [*pieces, *pieces, GATHER]


def test_even_quick_steps_give_way_under_heavy_traffic(lease: Lease, stopping: Stopping) -> None:
    stopping.last = 1

    loop(Duty(1), lease, stopping, lambda: True)

    assert stopping.waits == [GATHER, GATHER]


def test_giving_way_does_not_cost_the_lease(lease: Lease, rival: Lease, stopping: Stopping, time: Time) -> None:
    def work_for_long() -> None:
        time.now += TERM - 1
        lease.renew()  # as its commit does

    duty = Duty(1)
    duty.before_step = work_for_long
    lost: list[bool] = []
    stopping.meanwhile = lambda number: lost.append(rival.acquire())
    stopping.last = 1

    loop(duty, lease, stopping, lambda: True)

    assert lost == [False]


def test_traffic_is_heavy_when_the_journal_grows_fast(database: Database, time: Time) -> None:
    traffic = Traffic(database)
    last = 0

    def number_after(seconds: float, webhooks: float) -> bool:
        nonlocal last
        last += round(webhooks)
        time.now += seconds
        with database.write() as connection:
            connection.execute(journal.insert().values(USUAL | {"seq": last, "message_id": f"msg_{last:032x}"}))
        return traffic.is_heavy()

    assert not number_after(0, 1_000_000)  # a big journal tells nothing about now
    assert number_after(1, BUSY + 1)
    assert number_after(10, 10 * BUSY + 1)
    assert not number_after(1, BUSY)
    assert not number_after(1, 1)
    assert number_after(1, 2 * BUSY)


def test_traffic_is_not_asked_for_at_each_step(database: Database, time: Time) -> None:
    asked: list[str] = []
    sa.event.listen(database.engine, "before_cursor_execute", lambda *arguments: asked.append(arguments[2]))
    traffic = Traffic(database)

    for _ in range(5):
        traffic.is_heavy()
        time.now += RENEW / 20

    assert sum("journal" in statement for statement in asked) == 1


def test_the_traffic_of_an_empty_journal_is_not_heavy(database: Database, time: Time) -> None:
    traffic = Traffic(database)

    assert not traffic.is_heavy()
    time.now += 1
    assert not traffic.is_heavy()


def test_nothing_is_done_once_it_was_told_to_stop(database: Database, lease: Lease, stopping: Stopping) -> None:
    stopping.set()
    duty = Duty(1)

    loop(duty, lease, stopping)

    assert duty.history == []
    with database.read() as connection:
        assert connection.execute(sa.select(leases)).first() is None


def test_told_to_stop_while_there_is_work_it_stops_after_the_step(lease: Lease, stopping: Stopping) -> None:
    duty = Duty(*[1] * 100)
    duty.before_step = lambda: stopping.set() if len(duty.to_do) == 98 else None

    loop(duty, lease, stopping)

    assert duty.history.count("step") == 3
    assert lease.token is None


def test_it_stands_by_while_somebody_else_holds_the_lease(lease: Lease, rival: Lease, stopping: Stopping) -> None:
    rival.acquire()
    stopping.meanwhile = lambda number: rival.renew()
    duty = Duty(1)

    loop(duty, lease, stopping)

    assert "step" not in duty.history
    assert stopping.waits == [RENEW] * 4


def test_it_takes_over_when_the_lease_is_released(lease: Lease, rival: Lease, stopping: Stopping) -> None:
    rival.acquire()
    stopping.meanwhile = lambda number: rival.release() if number == 2 else rival.renew() if number < 2 else None
    duty = Duty()

    loop(duty, lease, stopping)

    assert stopping.waits == [RENEW, RENEW, GATHER, GATHER]
    assert duty.history == ["forget", "forget", "forget", "step", "step"]  # nothing stale is worked with


def test_it_takes_over_from_a_holder_that_is_gone(lease: Lease, rival: Lease, stopping: Stopping) -> None:
    rival.acquire()
    stopping.last = 20
    duty = Duty()

    loop(duty, lease, stopping)

    standing_by = stopping.waits.count(RENEW)
    assert standing_by * RENEW == TERM + RENEW
    assert duty.history.count("step") == 21 - standing_by


def test_an_idle_worker_renews_the_lease_in_time(database: Database, lease: Lease, rival: Lease, time: Time) -> None:
    stopping = Stopping(time, last=round(3 * TERM / GATHER))
    stopping.meanwhile = lambda number: pytest.fail("the lease ran out") if rival.acquire() else None

    loop(Duty(), lease, stopping)

    assert in_the_database(database)[:2] == ("us", 1)


def test_an_idle_worker_does_not_write_more_than_it_has_to(
    lease: Lease, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewals: list[float] = []
    monkeypatch.setattr(lease, "renew", lambda: renewals.append(time.now))

    loop(Duty(), lease, Stopping(time, last=round(4 * RENEW / GATHER)))

    assert len(renewals) in (3, 4)


def test_steps_that_did_something_have_renewed_the_lease_themselves(
    lease: Lease, stopping: Stopping, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "renew", lambda: pytest.fail("one commit too many"))

    def take_long() -> None:
        if duty.to_do:
            time.now += 2 * RENEW

    duty = Duty(*[1] * 5)
    duty.before_step = take_long

    loop(duty, lease, stopping)

    assert duty.history.count("step") == 9


@pytest.mark.parametrize("error", [LeaseLostError("lost"), OvertakenError("overtaken")])
def test_after_it_was_refused_it_forgets_and_asks_again(lease: Lease, stopping: Stopping, error: Exception) -> None:
    tokens: list[int | None] = []
    duty = Duty(1, error, 1)
    duty.before_step = lambda: tokens.append(lease.token)
    stopping.last = 0

    loop(duty, lease, stopping)

    assert duty.history == ["forget", "step", "step", "forget", "step", "step"]
    assert tokens == [1, 1, 2, 2]
    assert stopping.waits == [GATHER]  # without a pause: the lease says who may go on


def test_a_worker_that_overslept_stands_by(
    database: Database, lease: Lease, rival: Lease, stopping: Stopping, time: Time
) -> None:
    def oversleep(number: int) -> None:
        if number == 1:
            time.now += TERM + 1
            assert rival.acquire()
        else:
            rival.renew()

    stopping.meanwhile = oversleep
    duty = Duty()

    loop(duty, lease, stopping)

    # The step after the sleep found nothing to do, so it is the renewal that is refused.
    assert duty.history == ["forget", "step", "step", "forget", "forget", "forget"]
    assert stopping.waits == [GATHER, RENEW, RENEW, RENEW]
    assert in_the_database(database)[:2] == ("them", 2)


def test_errors_of_the_database_are_waited_out(lease: Lease, stopping: Stopping) -> None:
    error = sa.exc.OperationalError("SELECT 1", None, Exception("the server is gone"))
    duty = Duty(1, error, error, 1)
    stopping.last = 2

    loop(duty, lease, stopping)

    assert stopping.waits == [0.2, 0.4, GATHER]
    # A commit may have failed or not: what is in memory is worth nothing, and the lease is asked for anew.
    failed = ["step", "forget", "forget"]
    assert duty.history == ["forget", "step", *failed, *failed, "step", "step"]


def test_a_step_that_works_ends_the_row_of_failures(lease: Lease, stopping: Stopping) -> None:
    duty = Duty(ValueError(), ValueError(), 1, ValueError())

    loop(duty, lease, stopping)

    assert stopping.waits == [0.2, 0.4, 0.2, GATHER]


def test_a_worker_whose_every_step_fails_does_not_tick(database: Database, lease: Lease, time: Time) -> None:
    """It asks for the lease after each failure: that is no work, and health must not take it for any."""
    began = time.now

    loop(Duty(*[ValueError()] * 50), lease, Stopping(time, last=20))

    with database.read() as connection:
        assert connection.execute(sa.select(leases.c.ticked_at)).scalar_one() == began


def test_pauses_between_failures_do_not_grow_for_ever(lease: Lease, stopping: Stopping) -> None:
    stopping.last = 40

    loop(Duty(*[ValueError()] * 50), lease, stopping)

    assert stopping.waits == sorted(stopping.waits)
    assert stopping.waits[-30:] == [LONGEST_BACKOFF] * 30


def test_a_lease_that_cannot_be_asked_for_is_asked_for_again(
    database: Database, lease: Lease, stopping: Stopping
) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE leases RENAME TO gone")

    def repair(number: int) -> None:
        if number == 2:
            with database.write() as connection:
                connection.exec_driver_sql("ALTER TABLE gone RENAME TO leases")

    stopping.meanwhile = repair
    duty = Duty()

    loop(duty, lease, stopping)

    assert stopping.waits == [0.2, 0.4, GATHER, GATHER]
    assert duty.history.count("step") == 2


def test_of_a_row_of_failures_only_the_first_is_logged_with_its_trace(
    lease: Lease, stopping: Stopping, caplog: pytest.LogCaptureFixture
) -> None:
    loop(Duty(ValueError("one"), ValueError("two"), 1, ValueError("three")), lease, stopping)

    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [(record.getMessage(), bool(record.exc_info)) for record in errors] == [
        ("a step failed: one", True),
        ("a step failed: two", False),
        ("a step failed: three", True),
    ]


def test_the_lease_is_released_at_the_end(database: Database, lease: Lease, rival: Lease, stopping: Stopping) -> None:
    loop(Duty(1), lease, stopping)

    assert lease.token is None
    assert in_the_database(database) == ("us", 1, 0)
    assert rival.acquire()


def test_a_lease_that_is_somebody_elses_is_not_released(
    database: Database, lease: Lease, rival: Lease, stopping: Stopping
) -> None:
    rival.acquire()
    stopping.last = 0

    loop(Duty(), lease, stopping)

    assert in_the_database(database)[0] == "them"
    rival.renew()


def test_only_one_of_two_workers_works_at_a_time(lease: Lease, rival: Lease, time: Time) -> None:
    """The one hands over to the other when it ends."""
    ours, theirs = Duty(1, 1), Duty(1, 1)
    us = Stopping(time, last=2)

    def let_them_try(number: int) -> None:
        loop(theirs, rival, Stopping(time, last=0))

    us.meanwhile = let_them_try

    loop(ours, lease, us)
    assert "step" not in theirs.history

    loop(theirs, rival, Stopping(time, last=0))
    assert theirs.history.count("step") == 3
