"""What is to be looked at again, and when."""

from orchestrator.timers.timers import Ringer, Timers
from orchestrator.timers.waker import Waker

__all__ = ["Ringer", "Timers", "Waker"]
