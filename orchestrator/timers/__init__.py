"""What is to be looked at again, and when."""

from orchestrator.timers.timers import Ringer, Timers

__all__ = ["Ringer", "Timers"]
