"""The requests that TokPortal grants, shared by every thread and process: a token bucket in the database.

TokPortal's documentation: 120 requests a minute and key, as a bucket that refills by about 2 a second. Beside it stands
a capacity that it does not show, and that it refuses with `capacity_cooldown`: that closes what was refused, and
nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.database.tables import quotas
from orchestrator.tokportal.reads import Kind

CAPACITY: Final = 120.0
REFILL: Final = 2.0
"""Tokens a second."""
RESERVE: Final = 12.0
"""What is left for recovery, which somebody waits for."""
SWEEP_SHARE: Final = 0.1
"""Of the whole, for routine sweeps."""
LONGEST_CLOSURE: Final = 3600.0
"""Seconds. A longer one is no quota of so many a minute, or the clock was set back meanwhile."""
SKEW: Final = 60.0
"""Seconds by which the clocks of two machines may differ: what one of them has counted, the other does not again."""
SECOND: Final = 1_000_000

_REQUESTS: Final = "requests"
_SWEEPS: Final = "sweeps"
_COOLDOWN: Final = "cooldown "


_ROW: Final = "(name, tokens, at, closed_until) VALUES (:name, :tokens, :at, :closed_until)"
FIRST: Final = sa.text(f"INSERT INTO quotas {_ROW} ON CONFLICT (name) DO NOTHING")
WRITE: Final = sa.text(
    f"INSERT INTO quotas {_ROW} ON CONFLICT (name) DO UPDATE "
    "SET tokens = excluded.tokens, at = excluded.at, closed_until = excluded.closed_until"
)


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: int
    closed_until: int


class Budget:
    """Times are microseconds of the service's clock, waits are seconds of it."""

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._under_way = 0
        self._ceiling: tuple[float, int] | None = None
        """What TokPortal last said was left, and when; taken into account at the next request."""

    def take(self, kind: Kind, operation: str | None = None) -> float:
        """Take one request. 0: granted; else the seconds after which to ask again, and nothing was taken.

        `recovery` may have the last token, `ordinary` leaves `RESERVE` of them. A `sweep` has a bucket of its own
        besides, of a tenth of the whole, and leaves twice the reserve, unless it has been waiting so long that its own
        bucket is full: busy hours do not put routine reads off for ever.
        """
        names = [_REQUESTS, _SWEEPS]
        if operation is not None:
            names.append(_COOLDOWN + operation)
        with self._database.write() as connection:
            found = self._read(connection, names)
            now = self._clock()  # Only now: whoever held the lock may have counted up to a later moment than before.
            requests = self._refilled(found.get(_REQUESTS), now, CAPACITY, REFILL)
            sweeps = self._refilled(found.get(_SWEEPS), now, CAPACITY * SWEEP_SHARE, REFILL * SWEEP_SHARE)
            self._correct(requests, now)
            needed = 1.0 + self._reserve(kind, sweeps)
            waits = [_closure(requests, now), (needed - requests.tokens) / REFILL]
            if operation is not None and (cooldown := found.get(_COOLDOWN + operation)) is not None:
                waits.append(_closure(cooldown, now))
            if kind == "sweep":
                waits.append((1.0 - sweeps.tokens) / (REFILL * SWEEP_SHARE))
            wait = max(0.0, *waits)
            if wait == 0:
                requests.tokens -= 1
                sweeps.tokens -= kind == "sweep"
            was_set_back = any(now < found[name].at - SKEW * SECOND for name in (_REQUESTS, _SWEEPS) if name in found)
            if wait == 0 or was_set_back:
                self._write(connection, _REQUESTS, requests)
            if (wait == 0 and kind == "sweep") or was_set_back:
                self._write(connection, _SWEEPS, sweeps)
            return wait

    def room(self, kind: Kind) -> int:
        """How many requests `take` would grant now. Nothing is taken."""
        with self._database.read() as connection:
            now = self._clock()
            found = self._read(connection, [_REQUESTS, _SWEEPS], locking=False)
        requests = self._refilled(found.get(_REQUESTS), now, CAPACITY, REFILL)
        sweeps = self._refilled(found.get(_SWEEPS), now, CAPACITY * SWEEP_SHARE, REFILL * SWEEP_SHARE)
        self._correct(requests, now)
        if _closure(requests, now) > 0:
            return 0
        room = requests.tokens - self._reserve(kind, sweeps)
        return max(0, int(min(room, sweeps.tokens) if kind == "sweep" else room))

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Around a request that was granted: TokPortal has not counted it yet when it answers another one."""
        with self._lock:
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    def correct(self, remaining: int) -> None:
        """TokPortal said that so many requests are left, to be called within `under_way`. Only ever less is believed:
        what is under way may not be in it."""
        with self._lock:
            left = float(remaining - (self._under_way - 1))
            now = self._clock()
            if self._ceiling is None or left < self._left(self._ceiling, now):
                self._ceiling = (left, now)

    def close(self, seconds: float) -> None:
        """TokPortal refused a request because of its rate: nothing is asked for before so many seconds have passed."""
        with self._database.write() as connection:
            found = self._read(connection, [_REQUESTS]).get(_REQUESTS)
            now = self._clock()
            bucket = self._refilled(found, now, CAPACITY, REFILL)
            bucket.tokens = min(bucket.tokens, 0.0)
            bucket.closed_until = max(bucket.closed_until, now + int(min(seconds, LONGEST_CLOSURE) * SECOND))
            self._write(connection, _REQUESTS, bucket)

    def cool_down(self, operation: str, seconds: float) -> None:
        """TokPortal refused this operation with `capacity_cooldown`: it alone is not called for so many seconds."""
        with self._database.write() as connection:
            now = self._clock()
            until = now + int(min(seconds, LONGEST_CLOSURE) * SECOND)
            self._write(connection, _COOLDOWN + operation, _Bucket(0.0, now, until))

    def _reserve(self, kind: Kind, sweeps: _Bucket) -> float:
        if kind == "recovery":
            return 0.0
        if kind == "sweep" and sweeps.tokens < CAPACITY * SWEEP_SHARE:
            return 2 * RESERVE
        return RESERVE

    def _refilled(self, bucket: _Bucket | None, now: int, capacity: float, refill: float) -> _Bucket:
        if bucket is None:
            return _Bucket(capacity, now, 0)
        if 0 < bucket.at - now <= SKEW * SECOND:
            return bucket
        # A clock that was set back by more refills nothing, and starts to count anew.
        passed = max(0, now - bucket.at) / SECOND
        return _Bucket(min(capacity, bucket.tokens + passed * refill), now, bucket.closed_until)

    def _correct(self, requests: _Bucket, now: int) -> None:
        with self._lock:
            if self._ceiling is None:
                return
            left = self._left(self._ceiling, now)
            if left >= CAPACITY:
                self._ceiling = None
        requests.tokens = min(requests.tokens, left)

    @staticmethod
    def _left(ceiling: tuple[float, int], now: int) -> float:
        tokens, at = ceiling
        return tokens + max(0, now - at) / SECOND * REFILL

    def _read(self, connection: sa.Connection, names: list[str], *, locking: bool = True) -> dict[str, _Bucket]:
        query = sa.select(quotas).where(quotas.c.name.in_(names)).order_by(quotas.c.name)
        if not locking or self._database.is_sqlite:
            return _buckets(connection.execute(query))
        found = _buckets(connection.execute(query.with_for_update()))
        if _REQUESTS in found:
            return found
        # The first two to come at once have no row yet to wait for each other at.
        connection.execute(FIRST, {"name": _REQUESTS, "tokens": CAPACITY, "at": self._clock(), "closed_until": 0})
        return _buckets(connection.execute(query.with_for_update()))

    def _write(self, connection: sa.Connection, name: str, bucket: _Bucket) -> None:
        values = {"name": name, "tokens": bucket.tokens, "at": bucket.at, "closed_until": bucket.closed_until}
        connection.execute(WRITE, values)


def _buckets(rows: Iterable[Any]) -> dict[str, _Bucket]:
    return {row.name: _Bucket(row.tokens, row.at, row.closed_until) for row in rows}


def _closure(bucket: _Bucket, now: int) -> float:
    """Seconds for which the bucket stays closed."""
    seconds = (bucket.closed_until - now) / SECOND
    return seconds if 0 < seconds <= LONGEST_CLOSURE else 0.0
