"""Carries out what the outbox holds."""

from orchestrator.commands.executor import Dispatcher, Executor, Outcome, TryAgain

__all__ = ["Dispatcher", "Executor", "Outcome", "TryAgain"]
