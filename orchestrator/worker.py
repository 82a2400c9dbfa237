"""The processes behind the door: the engine, and the projections. Each is one loop under one lease."""

from __future__ import annotations

import gc
import logging
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Protocol

import sqlalchemy as sa

from orchestrator.database import Database, Lease, LeaseLostError, is_of_database, told
from orchestrator.database.tables import journal
from orchestrator.settings import Settings

logger = logging.getLogger(__name__)

GATHER = 0.05
"""Seconds between two steps of a worker that is not behind: what gathers meanwhile costs one commit, not many."""
RENEW = 1.0
"""Seconds after which an idle worker renews its lease, and a standby asks for it."""
TICK = 0.25
"""Seconds between two looks at timers."""
BUSY = 5_000.0
"""Webhooks per second from which on the door is given way to. Up to there one small machine keeps up with all of it."""
BUSY_FOR_REBUILDS = 1_000.0
"""A rebuild is in no hurry: it gives way earlier."""
GIVE_WAY = 6.0
"""While the door is busy, how long a worker waits for each second that it worked."""
LONGEST_BACKOFF = 5.0
NICENESS = 19
"""The door comes first: under load the system gives workers what it leaves."""


class Duty(Protocol):
    """What a worker does over and over: `step` returns how much it did, and `full` is as much as it can do in one;
    `forget` drops what it holds in memory."""

    @property
    def full(self) -> int: ...

    def step(self) -> int: ...

    def forget(self) -> None: ...


ENGINE, PROJECTIONS, OUTSIDE = "engine", "projections", "outside"
WORKERS = (ENGINE, PROJECTIONS, OUTSIDE)
"""Those that have a lease, and work as long as the service does."""
JOURNAL = "journal"
"""The process that commits what the door takes. It belongs to the door: no lease, and no niceness."""
JOURNAL_WAIT = 3.0
"""Seconds that the journal's statements may take: whoever waits for them is answered within four."""
REBUILD = "rebuild"
"""The worker that makes copies of read models, while any are wanted."""
CONNECTIONS = {JOURNAL: 1, ENGINE: 2, PROJECTIONS: 2, OUTSIDE: 8, REBUILD: 3}
"""How many database connections each of the processes uses, at most."""


def run(name: str, settings: Settings) -> None:
    """Runs the worker `name` until SIGTERM, or until the parent that holds our standard input is gone.

    Each imports what it needs, and no more: a service that starts starts five of them.
    """
    tune_collector()
    url = settings.database_url.reveal()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent says when to stop.
    if name == JOURNAL:
        from orchestrator.journal import committer

        committer.run(url, lock_wait=JOURNAL_WAIT)  # It ends when its pipe does, with everything stored.
        return
    os.nice(NICENESS)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    threading.Thread(target=_watch_parent, args=(stopping,), daemon=True).start()
    database = Database(url, connections=CONNECTIONS[name], name=f"orchestrator-{name}")
    lease = Lease(database, name, f"{socket.gethostname()}:{os.getpid()}")
    with closing(database):
        if name == ENGINE:
            from orchestrator.engine import Engine

            loop(Engine(database, lease), lease, stopping, Traffic(database).is_heavy)
        elif name == PROJECTIONS:
            from orchestrator.rebuilding import Keeper

            with closing(Keeper(database, lease)) as keeper:
                loop(keeper, lease, stopping, Traffic(database).is_heavy)
        elif name == REBUILD:
            _rebuild(database, lease, stopping)
        else:
            from orchestrator.outside import assemble
            from orchestrator.timers import Waker

            with closing(assemble(settings, database, lease, stopping)) as outside, Waker(TICK) as waker:
                loop(outside, lease, stopping, pause=lambda: waker.wait(RENEW))


def _rebuild(database: Database, lease: Lease, stopping: threading.Event) -> None:
    """Makes the read models anew that are wanted, and gives way to webhooks as the other workers do."""
    from projections.rebuild import Builder

    is_traffic_heavy = Traffic(database, BUSY_FOR_REBUILDS).is_heavy

    def give_way(worked: float) -> None:
        if is_traffic_heavy():
            _give_way(lease, stopping, GIVE_WAY * worked)
        if stopping.is_set():
            raise SystemExit

    while not stopping.is_set():
        if lease.acquire():
            Builder(database, lease, give_way=give_way).run()
            lease.release()
            return
        stopping.wait(RENEW)


def tune_collector() -> None:
    """Has the garbage collector look seldom: nearly all that messages and events leave behind is freed without it."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _watch_parent(stopping: threading.Event) -> None:
    # Not through sys.stdin, whose lock this thread would still hold when the interpreter shuts down.
    while os.read(0, 4096):
        pass
    stopping.set()
    time.sleep(10)
    os._exit(1)  # A step that hangs must not outlive the service.


class Traffic:
    """How many webhooks come in, told by the numbers that the journal gives them."""

    def __init__(self, database: Database, busy: float = BUSY) -> None:
        self._database = database
        self._busy = busy
        self._seen: tuple[float, int] | None = None
        self._is_heavy = False

    def is_heavy(self) -> bool:
        """Whether more than `busy` webhooks per second came in of late."""
        now = time.monotonic()
        if self._seen is not None and now - self._seen[0] < RENEW / 4:
            return self._is_heavy
        with self._database.read() as connection:
            last: int = connection.execute(sa.select(sa.func.coalesce(sa.func.max(journal.c.seq), 0))).scalar_one()
        if self._seen is not None:
            self._is_heavy = (last - self._seen[1]) / (now - self._seen[0]) > self._busy
        self._seen = (now, last)
        return self._is_heavy


def loop(
    duty: Duty,
    lease: Lease,
    stopping: threading.Event,
    is_traffic_heavy: Callable[[], bool] = lambda: False,
    pause: Callable[[], object] | None = None,
) -> None:
    """Steps while the lease is held, and waits for it while somebody else has it. `pause` waits between two steps.

    Under heavy traffic it works a part of the time only: the door comes first, and the backlog can wait.
    """
    failures = 0
    renewed_at = 0.0
    while not stopping.is_set():
        try:
            if lease.token is None:
                duty.forget()
                if not lease.acquire():
                    stopping.wait(RENEW)
                    continue
                renewed_at = time.monotonic()
                logger.info("working", extra={"lease": lease.name, "token": lease.token})
            began = time.monotonic()
            done = duty.step()
            if done:
                renewed_at = time.monotonic()
            elif time.monotonic() - renewed_at > RENEW:
                lease.renew()
                renewed_at = time.monotonic()
            if done and is_traffic_heavy():
                _give_way(lease, stopping, max(GATHER, GIVE_WAY * (time.monotonic() - began)))
            elif done < duty.full:
                pause() if pause is not None else stopping.wait(GATHER)
            failures = 0
        except LeaseLostError as error:
            logger.warning("stepping back: %s", error)
            lease.token = None
        except Exception as error:
            failures += 1
            duty.forget()
            logger.error("a step failed: %s", told(error), exc_info=failures == 1 and not is_of_database(error))
            lease.token = None
            stopping.wait(min(LONGEST_BACKOFF, 0.1 * 2**failures) * random.uniform(0.5, 1))
    if lease.token is not None:
        lease.release()


def _give_way(lease: Lease, stopping: threading.Event, seconds: float) -> None:
    """Waits, and keeps the lease meanwhile: a page of events takes longer to write than the lease may go unrenewed."""
    while seconds > RENEW:
        if stopping.wait(RENEW):
            return
        lease.renew()
        seconds -= RENEW
    stopping.wait(seconds)
