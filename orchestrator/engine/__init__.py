"""Takes messages in one recorded order, lets the domain say what follows, and commits it with the marks."""

from orchestrator.engine.engine import Engine

__all__ = ["Engine"]
