"""The REST operations of TokPortal's public API that an orchestrator uses."""

from orchestrator.sandbox.rest.app import BASE_PATH, create_app

__all__ = ["BASE_PATH", "create_app"]
