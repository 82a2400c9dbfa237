"""Signed synthetic webhooks in TokPortal's two dialects, and a load client that sends them."""

from orchestrator.simulate.client import Answer, Prepared, drive, run
from orchestrator.simulate.dialect import Dialect
from orchestrator.simulate.error import SimulateError
from orchestrator.simulate.events import UNKNOWN_TYPE, Message, build, types
from orchestrator.simulate.figures import Figures
from orchestrator.simulate.signing import sign
from orchestrator.simulate.storm import storm
from orchestrator.simulate.world import World

__all__ = [
    "UNKNOWN_TYPE",
    "Answer",
    "Dialect",
    "Figures",
    "Message",
    "Prepared",
    "SimulateError",
    "World",
    "build",
    "drive",
    "run",
    "sign",
    "storm",
    "types",
]
