"""Signs the chain from time to time, in the database and outside."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa

from orchestrator.audit.checkpoints import Checkpoint, Outside, store
from orchestrator.audit.keys import SigningKey
from orchestrator.database import Database, Lease
from orchestrator.database.tables import chain, checkpoints
from orchestrator.domain.times import iso
from orchestrator.restored import Restored, restored

logger = logging.getLogger(__name__)

LOOK: Final = 1.0
"""Seconds between two looks at the chain."""
BATCHES: Final = 1_000
"""A checkpoint is made after so many batches,"""
SECONDS: Final = 60.0
"""or after so many seconds, if anything was committed."""
REPEAT: Final = 600.0
"""Seconds between two complaints."""


class Sealer:
    """It signs nothing that does not continue what it signed before: whoever wrote the chain anew gets no signature.

    `told` hears why it does not sign, and None once it does again. `clock` tells the real time, `monotonic` seconds
    that only pass. `lease` None is for tests.
    """

    def __init__(
        self,
        database: Database,
        outside: Outside,
        key: Callable[[], SigningKey],
        *,
        lease: Lease | None = None,
        told: Callable[[str | None], None] = lambda why: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._outside = outside
        self._make_key = key
        self._key: SigningKey | None = None
        self._lease = lease
        self._told = told
        self._clock = clock
        self._monotonic = monotonic
        self._looked_at: float | None = None
        self._sealed: int | None = None
        self._sealed_at: float | None = None
        self._complained_at: float | None = None

    def forget(self) -> None:
        """The next look compares with what stands outside."""
        self._looked_at = self._sealed = self._sealed_at = None

    def close(self) -> None:
        """The last checkpoint of a service that stops: what the engine commits after it is signed at the next start."""
        if self._sealed is None:
            return  # It stood by, and never had the lease.
        try:
            self._seal(fenced=False)
        except Exception:
            logger.exception("the last checkpoint could not be made; the next start makes it")

    def step(self) -> int:
        """1 where a checkpoint was made. Raises `LeaseLostError`, OSError, `SecretError`."""
        now = self._monotonic()
        if self._looked_at is not None and now - self._looked_at < LOOK:
            return 0
        self._looked_at = now
        with self._database.read() as connection:
            head: int = connection.execute(sa.select(sa.func.coalesce(sa.func.max(chain.c.batch), 0))).scalar_one()
        if self._sealed is not None and self._sealed_at is not None:
            is_new = head != self._sealed
            if not is_new or (head - self._sealed < BATCHES and now - self._sealed_at < SECONDS):
                return 0
        return int(self._seal(fenced=True))

    def _seal(self, *, fenced: bool) -> bool:
        if self._key is None:
            self._key = self._make_key()
        with self._database.read() as connection:
            found = connection.execute(sa.select(chain).order_by(chain.c.batch.desc()).limit(1)).first()
            if found is None:
                return False
            last = self._outside.head()
            known = self._digest(connection, last.batch) if last is not None else None
            is_signed = connection.execute(sa.select(checkpoints.c.batch).limit(1)).first() is not None
            mark = restored(connection)
        checkpoint = Checkpoint(
            found.batch,
            found.last_position,
            found.last_applied,
            bytes(found.digest),
            iso(self._clock()),
            self._key.public.key_id,
            b"",
        )
        if last is not None and last.digest != known:
            continued = self._continue(checkpoint, mark, is_signed)
            if continued is None:
                return False
            checkpoint = continued
        if self._complained_at is not None:
            self._complained_at = None
            self._told(None)
        if last is not None and last.batch == found.batch and last.digest == known:
            self._note(found.batch)
            return False
        checkpoint = checkpoint.signed(self._key)
        with self._database.write() as connection:
            if self._lease is not None and fenced:
                self._lease.fence(connection)
            store(connection, checkpoint._replace(lost_after=None, restored=None).signed(self._key))
        self._outside.add(checkpoint, self._key.public)
        self._note(found.batch)
        return True

    def _continue(self, checkpoint: Checkpoint, mark: Restored | None, is_signed: bool) -> Checkpoint | None:
        """What to sign where the database does not continue what stands outside; None for nothing.

        `is_signed`: whether the database has checkpoints of its own. One without is a new one, and took the place of
        another: the audit says so.
        """
        accounted = {one.restored for _, one in self._outside.read() if one is not None}
        if mark is not None and mark.name not in accounted:
            logger.warning("the database was restored: what stood after batch %d of the log is lost", mark.batch)
            return checkpoint._replace(lost_after=mark.batch, restored=mark.name)
        if not is_signed:
            aside = self._outside.put_aside()
            logger.warning("another database has taken the place of the one whose checkpoints are now in %s", aside)
            return checkpoint
        now = self._monotonic()
        if self._complained_at is None or now - self._complained_at > REPEAT:
            is_new = self._complained_at is None
            self._complained_at = now
            said = (
                "no checkpoint is made: the log does not continue what was signed last, in "
                f"{self._outside.folder}. Run orchestrator audit verify, which tells what was changed"
            )
            logger.error("%s", said)
            if is_new:
                self._told(said)
        self._note(checkpoint.batch)
        return None

    def _digest(self, connection: sa.Connection, batch: int) -> bytes | None:
        digest = connection.execute(sa.select(chain.c.digest).where(chain.c.batch == batch)).scalar_one_or_none()
        return bytes(digest) if digest is not None else None

    def _note(self, batch: int) -> None:
        self._sealed, self._sealed_at = batch, self._monotonic()
