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
from typing import Protocol

from orchestrator.database import Database, Lease, LeaseLostError
from orchestrator.engine import Engine
from orchestrator.journal import committer
from projections import Follower
from projections.follower import OvertakenError

logger = logging.getLogger(__name__)

POLL = 0.025
"""Seconds between two looks at an empty queue."""
RENEW = 1.0
"""Seconds after which an idle worker renews its lease, and a standby asks for it."""
MAINTAIN = 0.25
"""Seconds between two checkpoints of SQLite's write-ahead log: at full load it grows by some 30 MB a second."""
LONGEST_BACKOFF = 5.0
NICENESS = 10
"""The door comes first: under load the system gives workers what it leaves."""


class Duty(Protocol):
    """What a worker does over and over: `step` returns how much it did, `forget` drops what it holds in memory."""

    def step(self) -> int: ...

    def forget(self) -> None: ...


WORKERS: dict[str, Callable[[Database, Lease], Duty]] = {"engine": Engine, "projections": Follower}


JOURNAL = "journal"
"""The process that commits what the door takes. It belongs to the door: no lease, and no niceness."""
JOURNAL_WAIT = 3.0
"""Seconds that the journal's statements may take: whoever waits for them is answered within four."""
CONNECTIONS = {"engine": 2, "projections": 2, JOURNAL: 1}
"""How many database connections each of the processes uses, at most."""


def run(name: str, url: str) -> None:
    """Runs the worker `name` until SIGTERM, or until the parent that holds our standard input is gone."""
    tune_collector()
    if name == JOURNAL:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # It ends when its pipe does, with everything stored.
        committer.run(url, lock_wait=JOURNAL_WAIT)
        return
    os.nice(NICENESS)
    stopping = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent says when to stop.
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    threading.Thread(target=_watch_parent, args=(stopping,), daemon=True).start()
    database = Database(url, connections=CONNECTIONS[name], name=f"orchestrator-{name}")
    lease = Lease(database, name, f"{socket.gethostname()}:{os.getpid()}")
    checkpoint = database.checkpoint if name == "engine" else None
    try:
        loop(WORKERS[name](database, lease), lease, stopping, checkpoint)
    finally:
        database.close()


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


def loop(duty: Duty, lease: Lease, stopping: threading.Event, maintain: Callable[[], None] | None = None) -> None:
    """Steps while the lease is held, and waits for it while somebody else has it. `maintain` is called in between."""
    failures = 0
    renewed_at = maintained_at = 0.0
    while not stopping.is_set():
        try:
            if lease.token is None:
                duty.forget()
                if not lease.acquire():
                    stopping.wait(RENEW)
                    continue
                renewed_at = time.monotonic()
                logger.info("working", extra={"lease": lease.name, "token": lease.token})
            if duty.step():
                renewed_at = time.monotonic()
            else:
                if time.monotonic() - renewed_at > RENEW:
                    lease.renew()
                    renewed_at = time.monotonic()
                stopping.wait(POLL)
            if maintain is not None and time.monotonic() - maintained_at > MAINTAIN:
                maintain()
                maintained_at = time.monotonic()
            failures = 0
        except (LeaseLostError, OvertakenError) as error:
            logger.warning("stepping back: %s", error)
            lease.token = None
        except Exception as error:
            failures += 1
            duty.forget()
            # What one sees in a log line; the trace comes with the first of a row of failures only.
            logger.error("a step failed: %s", error, exc_info=failures == 1)
            lease.token = None
            stopping.wait(min(LONGEST_BACKOFF, 0.1 * 2**failures) * random.uniform(0.5, 1))
    if lease.token is not None:
        lease.release()
