"""Documents that people write: YAML 1.2 (and so JSON), read with the place of everything in them."""

from orchestrator.documents.reader import Problem, Reader, Refused
from orchestrator.documents.yaml12 import Node, decode, load

__all__ = ["Node", "Problem", "Reader", "Refused", "decode", "load"]
