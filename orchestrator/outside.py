"""What reaches beyond this machine: timers, alerts, commands to TokPortal, and what is read there."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Sequence
from typing import Protocol

from orchestrator import alerts, audit, reconcile, tokportal
from orchestrator.briefing import go_live
from orchestrator.commands import Dispatcher
from orchestrator.database import Database, Lease, LeaseLostError, is_of_database, told
from orchestrator.restored import Watch
from orchestrator.settings import Mode, Settings
from orchestrator.timers import Ringer
from orchestrator.tokportal.identity import Identity
from orchestrator.world import OtherWorldError, clock_of

logger = logging.getLogger(__name__)

TICK = 0.25
"""Seconds between two looks of a hand that has nothing to do."""
LONGEST_BACKOFF = 5.0
STUCK = 90.0
"""Seconds after which a hand that has not come back counts as stuck. The longest call is bounded far below."""
CALLS = 4
"""Calls to TokPortal at a time."""


class Duty(Protocol):
    """What a hand does over and over: `step` returns how much it did; `forget` drops what it holds in memory."""

    def step(self) -> int: ...

    def forget(self) -> None: ...

    def close(self) -> None: ...


class StuckError(Exception):
    """A hand has not come back from what it began."""


class Hand(threading.Thread):
    """Steps a duty over and over, in a thread of its own, while the process holds the lease."""

    def __init__(self, name: str, duty: Duty, lease: Lease, stopping: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self._duty = duty
        self._lease = lease
        self._stopping = stopping
        self._stepped_at = time.monotonic()
        self._refused: OtherWorldError | None = None

    def check(self) -> None:
        """Raises `StuckError`, or `OtherWorldError`."""
        if self._refused is not None:
            raise self._refused
        silent = time.monotonic() - self._stepped_at
        if silent > STUCK:
            raise StuckError(f"{self.name} has not come back for {silent:.0f} s")

    def run(self) -> None:
        token: int | None = None
        failures = 0
        while not self._stopping.is_set():
            self._stepped_at = time.monotonic()
            if self._lease.token != token:
                token = self._lease.token
                self._duty.forget()
            done = 0
            try:
                done = self._duty.step() if token is not None else 0
                failures = 0
            except LeaseLostError as error:
                logger.warning("%s: stepping back: %s", self.name, error)
            except OtherWorldError as error:
                self._refused = error
            except Exception as error:
                failures += 1
                self._duty.forget()
                logger.error(
                    "%s: a step failed: %s",
                    self.name,
                    told(error),
                    exc_info=failures == 1 and not is_of_database(error),
                )
                self._stopping.wait(min(LONGEST_BACKOFF, 0.1 * 2**failures) * random.uniform(0.5, 1))
            if not done:
                self._stopping.wait(TICK)
        self._duty.close()


class Introduced:
    """A duty that begins when it is known that TokPortal's account is the one which the database belongs to."""

    def __init__(self, duty: Duty, identity: Identity) -> None:
        self._duty = duty
        self._identity = identity

    def step(self) -> int:
        """Raises `OtherWorldError` where it is another one's."""
        return self._duty.step() if self._identity.is_ours() else 0

    def forget(self) -> None:
        self._duty.forget()

    def close(self) -> None:
        self._duty.close()


class Outside:
    """Rings timers itself, and has hands for everything that may take long. All of them work under one lease."""

    full = 1
    """While there is anything to do it goes on at once: what waits for the engine is not done twice."""

    def __init__(self, ringer: Ringer, lease: Lease, hands: Sequence[Hand]) -> None:
        self._ringer = ringer
        self._lease = lease
        self._hands = hands
        for hand in hands:
            hand.start()

    def step(self) -> int:
        """Raises `StuckError` or `OtherWorldError`: the lease is then no longer renewed, and the health says so."""
        for hand in self._hands:
            hand.check()
        done = self._ringer.step()
        if done:
            self._lease.renew()
        return done

    def forget(self) -> None:
        self._ringer.forget()

    def close(self) -> None:
        """To be called once everything is told to stop."""
        for hand in self._hands:
            hand.join(STUCK)
        self._ringer.close()


def assemble(settings: Settings, database: Database, lease: Lease, stopping: threading.Event) -> Outside:
    """Everything outside, under way already."""
    clock = clock_of(database)
    gateway = tokportal.connect(settings, database, clock)
    commands = Dispatcher(
        database,
        clock.microseconds,
        None if gateway is None else gateway.hands,
        lease,
        threads=CALLS,
        sends=settings.mode is not Mode.OBSERVE,
    )
    duties: dict[str, Duty] = {
        "alerts": alerts.build(settings, database, lease),
        "commands": commands,
        "audit": audit.build(settings, database, clock, lease),
    }
    if settings.mode is Mode.LIVE:
        duties["restored"] = Watch(database, lambda: go_live(database, clock))
    if gateway is not None:
        duties["reconciliation"] = reconcile.build(
            database, clock, gateway.client, lease=lease, public_url=settings.public_url
        )
        duties["outage"] = reconcile.Outage(database, clock, gateway.client, lease)
        if settings.mode is not Mode.SANDBOX:
            # That TokPortal does not even say whose account this is, is told all the same.
            duties |= {name: Introduced(duties[name], gateway.identity) for name in ("commands", "reconciliation")}
    hands = [Hand(name, duty, lease, stopping) for name, duty in duties.items()]
    return Outside(Ringer(database, clock.microseconds), lease, hands)
