"""The HTTP API: reads the log and its read models, and puts commands into the journal."""

from orchestrator.api.app import create_app
from orchestrator.api.services import Services, Token

__all__ = ["Services", "Token", "create_app"]
