"""Commands to TokPortal and alerts, as rows that are written in the engine's transactions."""

from orchestrator.outbox.outbox import Command, Move, Outbox

__all__ = ["Command", "Move", "Outbox"]
