"""Figures for Prometheus. Nothing is labelled by bundle, account or video: there are too many of them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Counter, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from orchestrator.api.services import Services
from orchestrator.database.tables import bundles, events, inbox, marks, outbox, projections
from orchestrator.journal.inbox import PENDING, STATUSES
from orchestrator.outbox import outbox as commands

REGISTRY = CollectorRegistry()
"""What the process counts itself."""

WEBHOOKS = Counter(
    "orchestrator_webhooks",
    "Webhooks answered, by endpoint and outcome: accepted, duplicate, or the status of a refusal.",
    ["endpoint", "outcome"],
    registry=REGISTRY,
)

ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

UNTOLD = sa.select(sa.func.count()).where(
    outbox.c.status == commands.PENDING, outbox.c.kind == commands.ALERT, outbox.c.last_error.is_not(None)
)
KEPT = 5.0
"""Seconds that the counts by status are kept: counting them reads an index from end to end."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What the database says."""

    head: int
    pending: int
    projections: dict[str, int]
    bundles: dict[str, int]
    statuses: dict[str, int]
    untold: int
    """Alerts that a channel did not take."""


class Metrics:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._statuses: tuple[float, dict[str, int]] | None = None

    def stored(self, connection: sa.Connection) -> Stored:
        def counts(column: Any) -> dict[str, int]:
            return {row[0]: row[1] for row in connection.execute(sa.select(column, sa.func.count()).group_by(column))}

        kept = self._statuses
        if kept is None or time.monotonic() - kept[0] > KEPT:
            kept = (time.monotonic(), counts(marks.c.status))
            self._statuses = kept
        following = connection.execute(sa.select(projections.c.name, projections.c.position))
        return Stored(
            head=connection.execute(sa.select(sa.func.coalesce(sa.func.max(events.c.notification_id), 0))).scalar_one(),
            pending=connection.execute(sa.select(sa.func.count()).select_from(inbox)).scalar_one(),
            projections={row.name: row.position for row in following},
            bundles=counts(bundles.c.state),
            statuses=kept[1],
            untold=connection.execute(UNTOLD).scalar_one(),
        )

    def text(self, stored: Stored | None, streams: int) -> bytes:
        """Everything in Prometheus' text format. Without `stored` (the database cannot be read) only what the process
        knows by itself."""
        registry = CollectorRegistry()
        registry.register(_Gauges(self._services, stored, streams))
        return generate_latest(registry) + generate_latest(REGISTRY)


class _Gauges(Collector):
    def __init__(self, services: Services, stored: Stored | None, streams: int) -> None:
        self._services = services
        self._stored = stored
        self._streams = streams

    def collect(self) -> Iterable[Metric]:
        yield InfoMetricFamily("orchestrator", "The program.", {"version": self._services.version})
        queued = self._services.group_commit.waiting
        yield GaugeMetricFamily("orchestrator_journal_queue", "Messages that wait to be written.", queued)
        yield GaugeMetricFamily("orchestrator_streams", "Event streams that are open.", self._streams)
        stored = self._stored
        yield GaugeMetricFamily(
            "orchestrator_database_readable", "1 if the database could be read just now.", int(stored is not None)
        )
        if stored is None:
            return
        yield GaugeMetricFamily("orchestrator_log_head", "The last position of the log.", stored.head)
        yield GaugeMetricFamily(
            "orchestrator_messages_pending", "Messages that the engine has to take.", stored.pending
        )
        lags = {name: max(stored.head - position, 0) for name, position in stored.projections.items()}
        yield _by("orchestrator_projection_lag", "Events that a read model has to follow.", "projection", lags)
        statuses = {**dict.fromkeys(STATUSES, 0), **stored.statuses, PENDING: stored.pending}
        yield _by("orchestrator_messages", "Messages in the journal by what became of them.", "status", statuses)
        yield _by("orchestrator_bundles", "Bundles by state.", "state", stored.bundles)
        yield GaugeMetricFamily(
            "orchestrator_alerts_untold", "Alerts that a channel did not take and that are tried again.", stored.untold
        )


def _by(name: str, meaning: str, label: str, values: dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=[label])
    for value, number in sorted(values.items()):
        family.add_metric([value], number)
    return family
