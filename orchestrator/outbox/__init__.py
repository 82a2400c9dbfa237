"""Commands to TokPortal and alerts, as rows that are written in the engine's transactions."""

from orchestrator.outbox.outbox import ORDINARY, RECOVERY, WHENEVER, Command, Move, Outbox

__all__ = ["ORDINARY", "RECOVERY", "WHENEVER", "Command", "Move", "Outbox"]
