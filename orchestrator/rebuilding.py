"""Read models that are followed, and made anew where that is wanted, by processes beside the service.

A rebuild is a process of its own: it takes as long as the log is long, and the follower goes on meanwhile. What it made
is put in place here, between two steps of the follower.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from orchestrator.database import Database, Lease
from orchestrator.journal.commands import report
from orchestrator.worker import REBUILD
from orchestrator.world import clock_of
from projections import Follower
from projections.follower import Failure
from projections.rebuild import (
    FAILED,
    UNDER_WAY,
    Finisher,
    Rebuild,
    is_ready,
    new_orders,
    outdated,
    read_rebuilds,
    want,
)

logger = logging.getLogger(__name__)

LOOK = 1.0
"""Seconds between two looks at what is to be made anew."""
FIRST_PAUSE = 1.0
"""Seconds until a rebuild that ended without being ready is begun again; doubled each time."""
LONGEST_PAUSE = 300.0
ENDS_WITHIN = 5.0


class Keeper:
    """Follows the log, and has read models made anew: those that people order, and those whose rows another version of
    the program has made."""

    def __init__(
        self,
        database: Database,
        lease: Lease,
        *,
        command: Sequence[str] = (sys.executable, "-m", "orchestrator", "worker", REBUILD),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._lease = lease
        self._follower = Follower(database, lease, told=self._tell)
        self._finisher = Finisher(database, lease)
        self._command = command
        self._clock = clock
        self._child: subprocess.Popen[bytes] | None = None
        self._look_at = 0.0
        self._begin_at, self._pause = 0.0, FIRST_PAUSE

    @property
    def full(self) -> int:
        return self._follower.full

    def forget(self) -> None:
        self._follower.forget()

    def step(self) -> int:
        if self._clock() >= self._look_at:
            self._look()
            self._look_at = self._clock() + LOOK
        return self._follower.step()

    def _look(self) -> None:
        self._reap()
        with self._database.read() as connection:
            orders, old, known = new_orders(connection), outdated(connection), read_rebuilds(connection)
        under_way = {name for name, rebuild in known.items() if rebuild.stage in UNDER_WAY}
        old = [name for name in old if name not in under_way and not self._has_just_failed(name, known)]
        if orders or old:
            with self._database.write() as connection:
                self._lease.fence(connection)
                for name, position in orders.items():
                    want(self._database, connection, [name], position)
                want(self._database, connection, old)
            logger.info("read models are made anew", extra={"projections": sorted({*orders, *old})})
            return
        if not under_way:
            return
        if all(is_ready(known[name]) for name in under_way):
            if self._finisher.finish():
                self._follower.forget()
                self._pause = FIRST_PAUSE
                logger.info("read models made anew are in place", extra={"projections": sorted(under_way)})
            return
        self._build()

    def _has_just_failed(self, name: str, known: Mapping[str, Rebuild]) -> bool:
        return name in known and known[name].stage == FAILED and self._clock() < self._begin_at

    def _build(self) -> None:
        if self._child is None and self._clock() >= self._begin_at:
            # It reads its end of our pipe, and leaves when we are gone, however we went.
            self._child = subprocess.Popen(  # noqa: S603  # Our own program, with arguments of our own.
                self._command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
            )

    def _reap(self) -> None:
        """Notices that the process of a rebuild has ended."""
        if self._child is None or (code := self._child.poll()) is None:
            return
        self._let_go(self._child)
        if code:
            logger.error("a rebuild ended", extra={"code": code})
            self._begin_at = self._clock() + self._pause
            self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _let_go(self, child: subprocess.Popen[bytes]) -> None:
        if child.stdin is not None:
            child.stdin.close()
        self._child = None

    def _tell(self, failure: Failure) -> None:
        """A read model that stopped, or goes on, is news for people."""
        verb = "stopped" if failure.why is not None else "going_on"
        said = {"command": f"projection.{verb}", "name": failure.name, "position": failure.position}
        now = clock_of(self._database).microseconds()
        report(self._database, {**said, "reason": failure.why}, name="projections", received_at=now)

    def close(self) -> None:
        """Ends the rebuild that is under way: the next one begins it anew."""
        child = self._child
        if child is None:
            return
        child.terminate()
        try:
            child.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        self._let_go(child)
