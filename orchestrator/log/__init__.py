"""The event log: the one record of what happened, in one order, without a gap."""

from orchestrator.log.chain import Chain
from orchestrator.log.event_log import EventLog, Stored
from orchestrator.log.mapper import EventMapper, note, recorded_at, step
from orchestrator.log.policies import applied_policies, policies_text
from orchestrator.log.upcasting import current

__all__ = [
    "Chain",
    "EventLog",
    "EventMapper",
    "Stored",
    "applied_policies",
    "current",
    "note",
    "policies_text",
    "recorded_at",
    "step",
]
