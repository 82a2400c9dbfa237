"""The audit: signs the log's chain, verifies it, and exports what it holds."""

from __future__ import annotations

from orchestrator.audit.checkpoints import Outside
from orchestrator.audit.keys import signing_key
from orchestrator.audit.sealer import Sealer
from orchestrator.database import Database, Lease
from orchestrator.settings import Settings

__all__ = ["Sealer", "build"]


def build(settings: Settings, database: Database, lease: Lease | None = None) -> Sealer:
    """Signs the chain of `database` as these settings want it."""
    return Sealer(database, Outside.of(settings, database), lambda: signing_key(settings), lease=lease)
