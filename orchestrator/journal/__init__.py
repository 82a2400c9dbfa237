"""The inbox of everything that happens: appended to by the doors, taken from by the engine."""

from orchestrator.journal.journal import Appended, Journal, Message, message_id_of

__all__ = ["Appended", "Journal", "Message", "message_id_of"]
