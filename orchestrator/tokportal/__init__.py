"""The gateway to TokPortal: everything that this program sends to its API goes through here."""

import logging

from orchestrator.tokportal.gateway import Gateway, connect

__all__ = ["Gateway", "connect"]

# Commands that a person gives say themselves what went wrong, and set up no logs.
logging.getLogger(__name__).addHandler(logging.NullHandler())
