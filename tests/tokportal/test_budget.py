from __future__ import annotations

import shutil
import tempfile
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.database import Database
from orchestrator.tokportal.budget import CAPACITY, LONGEST_CLOSURE, REFILL, RESERVE, Budget
from orchestrator.tokportal.reads import Kind
from tests.tokportal.fake import Ticking


def taken(budget: Budget, kind: Kind, most: int = 500) -> int:
    """How many are granted at this moment."""
    for number in range(most):
        if budget.take(kind) > 0:
            return number
    raise AssertionError("the budget has no end")


def test_recovery_may_have_the_last_one(database: Database) -> None:
    budget = Budget(database, Ticking().microseconds)
    assert taken(budget, "ordinary") == CAPACITY - RESERVE
    assert budget.take("ordinary") == pytest.approx(0.5)
    assert taken(budget, "recovery") == RESERVE
    assert budget.take("recovery") == pytest.approx(0.5)


def test_what_it_says_is_what_it_takes(database: Database) -> None:
    clock = Ticking()
    budget = Budget(database, clock.microseconds)
    for kind in ("recovery", "ordinary", "sweep"):
        taken(budget, kind)
        clock.pass_(budget.take(kind))
        assert budget.take(kind) == 0


def test_room_is_what_would_be_granted(database: Database) -> None:
    for kind in ("sweep", "ordinary", "recovery"):
        budget = Budget(database, Ticking().microseconds)
        room = budget.room(kind)
        assert room > 0
        assert taken(budget, kind) == room
        assert budget.room(kind) == 0


def test_sweeps_keep_to_a_tenth(database: Database) -> None:
    clock = Ticking()
    budget = Budget(database, clock.microseconds)
    granted = 0
    for _ in range(600):
        granted += taken(budget, "sweep")
        clock.pass_(1)
    assert granted == pytest.approx((CAPACITY + 600 * REFILL) / 10, abs=1)


def test_sweeps_do_not_starve_and_do_not_crowd(database: Database) -> None:
    """Five minutes of more commands than can be sent: they get at least 80 %, and routine reads get their turn."""
    clock = Ticking()
    budget = Budget(database, clock.microseconds)
    granted: Counter[str] = Counter()
    for second in range(300):
        order: list[Kind] = ["ordinary", "sweep"] if second % 2 else ["sweep", "ordinary"]
        for kind in order:
            granted[kind] += taken(budget, kind, 400)
        clock.pass_(1)
    everything = CAPACITY + 300 * REFILL
    assert granted["ordinary"] >= 0.8 * everything
    assert 20 < granted["sweep"] <= 0.1 * everything


def test_a_restart_does_not_begin_with_a_full_bucket(database: Database) -> None:
    clock = Ticking()
    taken(Budget(database, clock.microseconds), "recovery")
    clock.pass_(5)
    assert taken(Budget(database, clock.microseconds), "recovery") == 10


def test_tokportal_knows_better(database: Database) -> None:
    clock = Ticking()
    budget = Budget(database, clock.microseconds)
    assert budget.take("recovery") == 0
    with budget.under_way():
        budget.correct(40)
    assert budget.room("recovery") == 40
    with budget.under_way(), budget.under_way():
        budget.correct(40)
    assert budget.room("recovery") == 39, "the other request is not counted yet"
    clock.pass_(2)
    with budget.under_way():
        budget.correct(119)
    assert budget.room("recovery") == 43, "more is never believed"
    assert taken(budget, "recovery") == 43


def test_after_a_refusal_nothing_is_asked_for(database: Database) -> None:
    clock = Ticking()
    budget, other = Budget(database, clock.microseconds), Budget(database, clock.microseconds)
    budget.close(7)
    assert (budget.take("recovery"), other.take("sweep")) == (7, 7)
    assert other.room("recovery") == 0
    clock.pass_(7)
    assert taken(other, "recovery") == 14


def test_a_cooldown_closes_what_was_refused_and_nothing_else(database: Database) -> None:
    clock = Ticking()
    budget = Budget(database, clock.microseconds)
    budget.cool_down("publishBundle", 90)
    assert budget.take("recovery", "publishBundle") == 90
    assert budget.take("recovery", "configureBundleVideo") == 0
    clock.pass_(90)
    assert budget.take("recovery", "publishBundle") == 0


def test_a_clock_that_is_set_back(database: Database) -> None:
    clock = Ticking()
    budget = Budget(database, clock.microseconds)
    budget.close(LONGEST_CLOSURE * 5)
    assert budget.take("recovery") == LONGEST_CLOSURE
    clock.pass_(-10 * LONGEST_CLOSURE)
    budget.take("recovery")
    clock.pass_(10)
    assert taken(budget, "recovery") == 20, "it goes on from there"


def test_a_clock_that_lags_a_little_counts_nothing_twice(database: Database) -> None:
    clock, behind = Ticking(), Ticking()
    behind.pass_(-1)
    ahead, late = Budget(database, clock.microseconds), Budget(database, behind.microseconds)
    taken(ahead, "recovery")
    for _ in range(10):
        assert (ahead.take("recovery") > 0, late.take("recovery") > 0) == (True, True)


def test_threads_and_processes_share_it(migrated_url: str) -> None:
    clock = Ticking()
    granted: list[int] = []

    def greedy() -> None:
        with closing(Database(migrated_url, connections=1)) as database:
            granted.append(taken(Budget(database, clock.microseconds), "recovery"))

    threads = [threading.Thread(target=greedy) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == CAPACITY


ASKED = st.lists(
    st.tuples(st.integers(0, 30_000), st.sampled_from(["recovery", "ordinary", "sweep"]), st.integers(1, 60)),
    min_size=1,
    max_size=25,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=ASKED, seed=st.integers(0, 1000))
def test_never_more_than_tokportal_grants(
    migrated_sqlite_file: Path, asked: list[tuple[int, Kind, int]], seed: int
) -> None:
    """Over any simulated ten minutes, as TokPortal counts: at most 120 and 2 a second, at most a tenth for sweeps; and
    recovery is granted whenever the bucket has a token."""
    random = Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(migrated_sqlite_file, Path(folder) / "b.db")
        with closing(Database(f"sqlite:///{folder}/b.db", connections=1)) as database:
            clock = Ticking()
            budget = Budget(database, clock.microseconds)
            vendors, at = CAPACITY, clock.at
            sweeps, began = 0, clock.at
            for pause, kind, count in asked:
                clock.at += pause * 1000
                for _ in range(count):
                    vendors, at = min(CAPACITY, vendors + (clock.at - at) / 1e6 * REFILL), clock.at
                    wait = budget.take(kind)
                    if wait == 0:
                        vendors -= 1
                        sweeps += kind == "sweep"
                    elif kind == "recovery":
                        assert vendors < 1 + 1e-6, "recovery was kept waiting for nothing"
                    assert vendors > -1e-6, "TokPortal would have refused it"
                    clock.at += random.randrange(0, 200_000)
            assert sweeps <= (CAPACITY + (clock.at - began) / 1e6 * REFILL) / 10 + 1
