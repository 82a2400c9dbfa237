"""Carries out what the outbox holds."""

from orchestrator.commands.executor import Dispatcher, Executor, Outcome, Recorder, TryAgain

__all__ = ["Dispatcher", "Executor", "Outcome", "Recorder", "TryAgain"]
