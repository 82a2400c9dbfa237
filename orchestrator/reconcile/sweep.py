"""What the sweeps have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import ClassVar

from orchestrator.reconcile.office import Office
from orchestrator.reconcile.store import Body
from orchestrator.tokportal.reads import Kind


class Sweep(ABC):
    """Reads one thing over and over. A step makes one request at most; the office's store says when the next one is
    due, and how far this one got."""

    name: ClassVar[str]
    kind: ClassVar[Kind] = "sweep"
    """On whose account its requests go."""
    every: ClassVar[timedelta]
    """How long after it began it begins again."""
    is_routine: ClassVar[bool] = True
    """Whether it takes its turn with the other sweeps, rather than before them."""
    needs_discovery: ClassVar[bool] = True
    """Whether it waits until everything that exists has been seen once."""

    def __init__(self, office: Office) -> None:
        self.office = office

    def due_at(self) -> datetime:
        return self.office.store.due_at(self.name)

    def next_kind(self, closed: Collection[Kind]) -> Kind | None:
        """On whose account its next request would go; None if there can be none while these are `closed`."""
        return None if self.kind in closed else self.kind

    @abstractmethod
    def step(self, now: datetime, kind: Kind) -> None:
        """Goes on by one request at most. Raises `TryAgain`, `Refused`."""

    def give_up(self, now: datetime) -> None:
        """TokPortal does not answer what it asked: it is asked again at the next time."""
        self.rest(now, {})

    @property
    def body(self) -> Body:
        return self.office.store.body(self.name)

    def go_on(self, now: datetime, body: Body) -> None:
        """There is more to do."""
        self.office.store.put(self.name, now, body)

    def rest(self, now: datetime, body: Body) -> None:
        """It is done for this time."""
        self.office.store.put(self.name, now + self.every, body)
