"""The event log: the one record of what happened, in one order, without a gap."""

from orchestrator.log.event_log import EventLog, Stored
from orchestrator.log.mapper import EventMapper, note, recorded_at, step

__all__ = ["EventLog", "EventMapper", "Stored", "note", "recorded_at", "step"]
