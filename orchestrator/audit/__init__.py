"""The audit: signs the log's chain, verifies it, and exports what it holds."""

from __future__ import annotations

from orchestrator.audit.checkpoints import Outside
from orchestrator.audit.keys import signing_key
from orchestrator.audit.sealer import Sealer
from orchestrator.clock import Clock
from orchestrator.database import Database, Lease
from orchestrator.journal.commands import report
from orchestrator.settings import Settings

__all__ = ["Sealer", "build"]


def build(settings: Settings, database: Database, clock: Clock, lease: Lease | None = None) -> Sealer:
    """Signs the chain of `database` as these settings want it. What people have to hear of is journalled, at the time
    of `clock`."""

    def tell(why: str | None) -> None:
        verb = "broken" if why is not None else "mended"
        said = {"command": f"audit.{verb}", "reason": why}
        report(database, said, name="audit", received_at=clock.microseconds())

    return Sealer(database, Outside.of(settings, database), lambda: signing_key(settings), lease=lease, told=tell)
