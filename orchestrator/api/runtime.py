"""What all requests of one application share."""

from __future__ import annotations

from orchestrator.api.head import Head
from orchestrator.api.metrics import Metrics
from orchestrator.api.reader import Reader
from orchestrator.api.services import Services

STUDY_TIMEOUT = 60.0


class Runtime:
    def __init__(self, services: Services) -> None:
        self.services = services
        self.read = Reader(services.database, threads=max(1, services.threads - 1), timeout=services.read_timeout)
        self.study = Reader(services.database, threads=1, timeout=STUDY_TIMEOUT)
        """For what keeps a thread busy for seconds, one thing at a time: many short reads go on meanwhile."""
        self.head = Head(self.read)
        self.metrics = Metrics(services)
        self.streams = 0
        """How many event streams are open."""

    def stop(self) -> None:
        """Ends streams and waits, and lets no further read begin. To be called on the event loop."""
        self.head.stop()
        self.read.close()
        self.study.close()
