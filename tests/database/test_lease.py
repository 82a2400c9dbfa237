from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.database import Database, Lease, LeaseLostError
from orchestrator.database.lease import TERM
from orchestrator.database.tables import facts_of_database, leases


class Clock:
    """The database's clock, set by hand."""

    def __init__(self) -> None:
        self.now = 1_000_000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(Database, "now", lambda database, connection: clock.now)
    return clock


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    with closing(Database(migrated_url, connections=3)) as database:
        yield database


@pytest.fixture
def ann(database: Database, clock: Clock) -> Lease:
    return Lease(database, "engine", "ann")


@pytest.fixture
def bob(database: Database, clock: Clock) -> Lease:
    return Lease(database, "engine", "bob")


def stored(database: Database) -> Any:
    with database.read() as connection:
        return connection.execute(sa.select(leases)).one()


def note(connection: sa.Connection) -> None:
    connection.execute(facts_of_database.insert().values(key="work", value="done"))


def noted(database: Database) -> bool:
    with database.read() as connection:
        return connection.execute(sa.select(facts_of_database)).first() is not None


def test_a_free_lease_is_given_to_who_asks(database: Database, ann: Lease, clock: Clock) -> None:
    assert ann.acquire()

    assert ann.token == 1
    assert stored(database) == ("engine", "ann", 1, clock.now + TERM, clock.now)


def test_a_lease_that_was_never_asked_for_is_not_held(ann: Lease) -> None:
    assert ann.token is None


def test_nobody_else_gets_a_lease_that_is_held(database: Database, ann: Lease, bob: Lease, clock: Clock) -> None:
    ann.acquire()
    clock.now += TERM  # to its very last moment

    assert not bob.acquire()
    assert bob.token is None
    assert stored(database).holder == "ann"


def test_leases_of_other_names_are_independent(database: Database, ann: Lease) -> None:
    ann.acquire()

    assert Lease(database, "projections", "bob").acquire()


def test_an_expired_lease_is_taken_with_a_higher_token(
    database: Database, ann: Lease, bob: Lease, clock: Clock
) -> None:
    ann.acquire()
    clock.now += TERM + 0.001

    assert bob.acquire()
    assert bob.token == 2
    assert stored(database).holder == "bob"


def test_the_holder_may_ask_again_and_gets_a_new_token(ann: Lease, database: Database) -> None:
    """As a process does that restarted within the term, or that a failure made forget what it held."""
    ann.acquire()
    again = Lease(database, "engine", "ann")

    assert again.acquire()
    assert again.token == 2
    with pytest.raises(LeaseLostError):
        ann.renew()


def test_work_under_the_lease_is_written(database: Database, ann: Lease) -> None:
    ann.acquire()

    with database.write() as connection:
        ann.fence(connection)
        note(connection)

    assert noted(database)


@pytest.mark.parametrize("fence_first", [True, False])
def test_who_wakes_up_late_is_refused_and_writes_nothing(
    database: Database, ann: Lease, bob: Lease, clock: Clock, fence_first: bool
) -> None:
    ann.acquire()
    clock.now += TERM + 1
    bob.acquire()

    with pytest.raises(LeaseLostError, match="'engine' is held by another process"), database.write() as connection:
        if fence_first:
            ann.fence(connection)
        note(connection)
        ann.fence(connection)

    assert not noted(database)
    assert ann.token is None
    assert stored(database) == ("engine", "bob", 2, clock.now + TERM, clock.now)


def test_who_never_held_the_lease_is_refused(database: Database, ann: Lease, bob: Lease) -> None:
    ann.acquire()

    with pytest.raises(LeaseLostError), database.write() as connection:
        note(connection)
        bob.fence(connection)

    assert not noted(database)


def test_a_lease_that_nobody_took_is_still_good_after_its_term(database: Database, ann: Lease, clock: Clock) -> None:
    """It is the token that proves it: nobody else can have worked meanwhile."""
    ann.acquire()
    clock.now += 100 * TERM

    ann.renew()

    assert stored(database).expires_at == clock.now + TERM


def test_renewing_extends_the_lease(database: Database, ann: Lease, bob: Lease, clock: Clock) -> None:
    ann.acquire()
    clock.now += TERM - 1
    ann.renew()

    clock.now += TERM
    assert not bob.acquire()
    assert stored(database).ticked_at == clock.now - TERM

    clock.now += 0.001
    assert bob.acquire()


def test_work_renews_the_lease_with_its_commit(database: Database, ann: Lease, bob: Lease, clock: Clock) -> None:
    ann.acquire()
    clock.now += TERM - 1
    with database.write() as connection:
        ann.fence(connection)

    clock.now += TERM
    assert not bob.acquire()


def test_work_that_fails_does_not_renew_the_lease(database: Database, ann: Lease, clock: Clock) -> None:
    ann.acquire()
    expires_at = stored(database).expires_at
    clock.now += 1

    with pytest.raises(ZeroDivisionError), database.write() as connection:
        ann.fence(connection)
        raise ZeroDivisionError

    assert stored(database).expires_at == expires_at
    assert ann.token == 1


def test_renewing_does_not_change_the_token(ann: Lease) -> None:
    ann.acquire()

    ann.renew()

    assert ann.token == 1


def test_a_released_lease_is_there_for_a_standby_at_once(ann: Lease, bob: Lease) -> None:
    ann.acquire()

    ann.release()

    assert ann.token is None
    assert bob.acquire()
    assert bob.token == 2


def test_who_lost_the_lease_cannot_release_that_of_the_new_holder(ann: Lease, bob: Lease, clock: Clock) -> None:
    ann.acquire()
    clock.now += TERM + 1
    bob.acquire()

    ann.release()

    assert not ann.acquire()
    bob.renew()


def test_of_two_standbys_one_gets_the_expired_lease(database: Database, ann: Lease, clock: Clock) -> None:
    ann.acquire()
    clock.now += TERM + 1
    together = Barrier(2)

    def ask(holder: str) -> bool:
        standby = Lease(database, "engine", holder)
        together.wait(10)
        return standby.acquire()

    with ThreadPoolExecutor(2) as threads:
        got = list(threads.map(ask, ["bob", "cat"]))

    assert sorted(got) == [False, True]
    assert stored(database).token == 2


@pytest.mark.parametrize(
    "migrated_url",
    [
        "sqlite",
        pytest.param(
            "postgresql",
        ),
    ],
    indirect=True,
)
def test_of_two_that_ask_for_a_new_lease_at_once_one_gets_it(database: Database, clock: Clock) -> None:
    together = Barrier(2)

    def ask(name: str, holder: str) -> bool:
        lease = Lease(database, name, holder)
        together.wait(10)
        return lease.acquire()

    with ThreadPoolExecutor(2) as threads:
        for number in range(20):
            got = list(threads.map(ask, [f"new {number}"] * 2, ["ann", "bob"]))
            assert sorted(got) == [False, True]
