"""What is to be looked at again, and when, on both databases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.api.queries.messages import list_messages
from orchestrator.database import Database
from orchestrator.database.tables import inbox, journal
from orchestrator.timers import Ringer, Timers, timers

SECOND = 1_000_000
HOUR = 3_600 * SECOND


class House:
    """A table of timers, a clock that stands still, and the process that rings."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = 100 * HOUR
        self.timers = Timers(database)
        self.ringer = Ringer(database, lambda: self.now)

    def set(self, cancel: tuple[str, ...] = (), **set_: int) -> None:
        with self.database.write() as connection:
            self.timers.apply(connection, {name: (at, {"of": name}) for name, at in set_.items()}, cancel)

    def due(self) -> list[tuple[str, int]]:
        with self.database.read() as connection:
            return [(name, at) for name, at, _ in self.timers.due(connection, self.now, 100)]

    def rung(self) -> list[dict[str, Any]]:
        """The messages, in the order of the journal."""
        with self.database.read() as connection:
            bodies = connection.execute(sa.select(journal.c.body).order_by(journal.c.seq)).scalars().all()
        return [json.loads(body) for body in bodies]

    def names(self) -> list[str]:
        return [message["name"] for message in self.rung()]

    def takes_everything(self, **set_again: int) -> None:
        """As the engine does: the messages leave the inbox and the timers are taken away, or set anew."""
        with self.database.write() as connection:
            connection.execute(inbox.delete())
            again = {name: (at, {"of": name}) for name, at in set_again.items()}
            self.timers.apply(connection, again, [name for name in self.names() if name not in again])

    def restart(self) -> None:
        self.ringer.close()
        self.ringer = Ringer(self.database, lambda: self.now)


@pytest.fixture
def house(migrated_url: str) -> Iterator[House]:
    with closing(Database(migrated_url, connections=3)) as database:
        house = House(database)
        yield house
        house.ringer.close()


def test_what_is_due_comes_with_the_oldest_deadline_first(house: House) -> None:
    house.set(b=house.now - 2, c=house.now, a=house.now - 1, later=house.now + 1)

    assert [name for name, _ in house.due()] == ["b", "a", "c"]


def test_a_timer_that_is_set_again_has_the_new_time_only(house: House) -> None:
    house.set(a=house.now, b=house.now)
    house.set(a=house.now + HOUR)

    assert house.due() == [("b", house.now)]
    house.now += HOUR
    assert house.due() == [("b", house.now - HOUR), ("a", house.now)]


def test_a_timer_that_is_cancelled_is_gone(house: House) -> None:
    house.set(**{f"t{number}": house.now for number in range(1_500)}, a=house.now)
    house.set(cancel=(*(f"t{number}" for number in range(1_500)), "never set"))

    assert house.due() == [("a", house.now)]


def test_it_rings_once_however_often_it_is_looked_at(house: House) -> None:
    house.set(a=house.now)
    assert [house.ringer.step() for _ in range(3)] == [1, 0, 0]

    house.takes_everything()
    assert house.ringer.step() == 0
    assert house.names() == ["a"]


def test_the_message_says_what_was_due_when_and_when_it_rang(house: House) -> None:
    house.set(a=house.now)
    house.ringer.step()

    (message,) = house.rung()
    assert message == {
        "of": "a",
        "name": "a",
        "due_at": "1970-01-05T04:00:00Z",
        "fired_at": "1970-01-05T04:00:00Z",
        "late": False,
        "late_by": 0,
    }


def test_it_does_not_ring_before_it_is_due(house: House) -> None:
    house.set(a=house.now + 1)
    assert house.ringer.step() == 0
    house.now += 1
    assert house.ringer.step() == 1


def test_after_downtime_everything_rings_once_the_oldest_first_and_marked_late(house: House) -> None:
    house.set(a=house.now + 2 * HOUR, b=house.now + HOUR, c=house.now + 3 * HOUR)
    house.ringer.step()
    house.now += 10 * HOUR
    house.restart()
    house.ringer.step()
    house.ringer.step()

    assert [(m["name"], m["late"], m["late_by"]) for m in house.rung()] == [
        ("b", True, 9 * 3600),
        ("a", True, 8 * 3600),
        ("c", True, 7 * 3600),
    ]


def test_that_it_came_late_is_shown_with_the_message(house: House) -> None:
    house.set(a=house.now - 2 * HOUR)
    house.ringer.step()

    with house.database.read() as connection:
        (item,) = list_messages(connection)["items"]
    assert json.loads(item["body"])["late_by"] == 7_200
    assert json.loads(item["body"])["late"] is True


def test_what_rings_at_the_next_look_is_not_late_however_fast_the_clock_goes(house: House) -> None:
    """At 3600 times the speed a quarter of a second is a quarter of an hour."""
    house.set(a=house.now + 1)
    house.ringer.step()
    house.now += HOUR // 4
    house.ringer.step()

    (message,) = house.rung()
    assert (message["late"], message["late_by"]) == (False, 899)


def test_restarted_before_the_engine_took_it_it_rings_no_second_time(house: House) -> None:
    house.set(a=house.now)
    house.ringer.step()
    house.now += HOUR
    house.restart()
    house.ringer.step()

    (message,) = house.rung()
    assert message["late"] is False
    with house.database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(inbox)).scalar_one() == 1


def test_set_again_while_its_message_is_on_its_way_it_rings_again(house: House) -> None:
    house.set(a=house.now)
    house.ringer.step()
    house.set(a=house.now + HOUR)
    assert house.ringer.step() == 0

    house.now += HOUR
    assert house.ringer.step() == 1
    assert house.names() == ["a", "a"]


def test_set_again_by_the_message_that_rang_it_rings_again(house: House) -> None:
    house.set(a=house.now)
    house.ringer.step()
    house.takes_everything(a=house.now + 1)
    house.now += 1

    assert house.ringer.step() == 1


def test_to_forget_what_rang_loses_and_repeats_nothing(house: House) -> None:
    house.set(a=house.now)
    house.ringer.step()
    house.ringer.forget()
    house.set(b=house.now)
    house.ringer.step()

    assert house.names() == ["a", "b"]


def test_no_more_rings_than_the_engine_takes(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage of the engine does not fill the journal with what will all be late, and costs no more at each look."""
    monkeypatch.setattr(timers, "AT_ONCE", 3)
    monkeypatch.setattr(timers, "MOST_WAITING", 7)
    house.set(**{f"t{number:02}": house.now - 50 + number for number in range(20)})

    assert [house.ringer.step() for _ in range(5)] == [3, 3, 1, 0, 0]
    house.takes_everything()
    assert [house.ringer.step() for _ in range(4)] == [3, 3, 1, 0]
    house.takes_everything()
    assert [house.ringer.step() for _ in range(4)] == [3, 3, 0, 0]
    assert house.names() == [f"t{number:02}" for number in range(20)]
