"""The engine on a history that was: the same code, in memory, and nothing is written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from orchestrator.engine.aggregates import LoadedAggregates
from orchestrator.engine.decide import Judged
from orchestrator.engine.engine import Batch, Engine
from orchestrator.journal.inbox import Taken
from orchestrator.replay.source import Source
from orchestrator.replay.stores import RunDesk, RunInbox, RunLog, RunOutbox, temporary

BATCH = 500
"""Messages that are decided together. It changes nothing but the speed."""


class Rerun(Engine):
    """`committed` is called with each batch and what the run's stores hold then."""

    def __init__(self, source: Source, committed: Callable[[Batch], None], *, max_batch: int = BATCH) -> None:
        super().__init__(source.database, max_batch=max_batch)
        self._file = temporary()
        self._source = source
        self._committed = committed
        stores: Any = self  # The engine knows the stores of a database; these only look like them.
        stores._inbox = self.inbox = RunInbox(source)
        stores._log = self.log = RunLog(source, self._file)
        stores._outbox = self.outbox = RunOutbox(source, self._file)
        self._desk = self.desk = RunDesk(source.database)
        self._aggregates = LoadedAggregates(stores._log, self._mapper)

    def close(self) -> None:
        self._file.close()

    def _judge(self, message: Taken) -> Judged:
        return self._source.judged(message)

    def _chain_backlog(self) -> bool:
        return False

    def _commit(self, batch: Batch) -> None:
        self._committed(batch)
        follow = batch.follow
        self.log.add(batch.events)
        self.outbox.add(follow.commands.values())
        self.outbox.reprice(follow.prices)
        self.outbox.change(follow.moves)
        self.outbox.trim()
        self._desk.written()
        self._applied += len(batch.marks)
        self._first_position += len(batch.events)
        self._now = batch.now
        self._aggregates.trim()


@contextmanager
def quiet() -> Iterator[None]:
    """What the engine has to say of messages was said when they came."""
    logger = logging.getLogger("orchestrator.engine.engine")
    was = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(was)
