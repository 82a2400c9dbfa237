"""History run again: the journal through today's program, beside what it gave when it happened."""

from orchestrator.replay.differences import Difference
from orchestrator.replay.replay import Report, replay

__all__ = ["Difference", "Report", "replay"]
