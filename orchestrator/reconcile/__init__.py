"""Reconciliation: what TokPortal says when it is asked, for whatever its webhooks did not tell.

Nothing is decided here. What was read goes into the journal, as a message that names its source; the engine holds it
against what is known, and records what differs.
"""

from __future__ import annotations

from orchestrator.clock import Clock
from orchestrator.database import Database, Lease
from orchestrator.reconcile.outage import Outage
from orchestrator.reconcile.reading import Readings
from orchestrator.reconcile.reconciler import Reconciler

__all__ = ["Outage", "Reconciler", "build"]


def build(
    database: Database, clock: Clock, reads: Readings, *, lease: Lease | None = None, public_url: str | None = None
) -> Reconciler:
    """`public_url`: how the world reaches this service, which tells its webhook endpoints from others."""
    return Reconciler(database, clock, reads, lease=lease, public_url=public_url)
