"""Whether the service lives, can do its work, and does it. Strangers read this: it names what fails, never why."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from starlette.responses import Response

from orchestrator.api.answers import JsonResponse
from orchestrator.api.call import Call
from orchestrator.api.operations import Answer, Operation
from orchestrator.api.problems import Problem
from orchestrator.api.queries.projections import list_projections
from orchestrator.api.runtime import Runtime
from orchestrator.api.schemas import ref
from orchestrator.database import Database
from orchestrator.database.migrate import head
from orchestrator.database.tables import inbox, journal, leases

logger = logging.getLogger(__name__)

READ_WITHIN = 2.0
"""Seconds in which the database must answer."""
SILENT_AFTER = 10.0
"""Seconds without a tick after which a worker counts as gone."""
PENDING_FOR = 30.0
"""Seconds that a message may wait for the engine."""
LAG = 50_000
"""Events that a read model may be behind the log."""
LEASES = ("engine", "projections", "outside")

Checks = dict[str, str | None]
"""What is wrong, by what was checked; None: nothing."""


class Work(NamedTuple):
    """How the work goes, as the database shows it. Seconds, the age of a message on the service's clock."""

    silent: Mapping[str, float]
    oldest_received_at: int | None
    projections: Sequence[Mapping[str, Any]]


async def live(call: Call) -> Response:
    return _answer({"loop": None})


async def ready(call: Call) -> Response:
    services = call.runtime.services
    checks: Checks = {}
    try:
        revision = await call.runtime.read.within(READ_WITHIN, _revision)
    except Problem:
        checks["database"] = f"cannot be read within {READ_WITHIN:g} s"
    else:
        checks["database"] = None
        if revision is None:
            checks["schema"] = "the database has none"
        elif revision != _head():
            checks["schema"] = f"the database is at revision {revision}, this program needs {_head()}"
        else:
            checks["schema"] = None
    trouble = services.group_commit.trouble()
    # What follows a colon there is for the log.
    checks["journal"] = trouble.partition(":")[0] if trouble else None
    return _answer(checks)


async def work(call: Call) -> Response:
    return _answer(await checks_of_work(call.runtime))


async def checks_of_work(runtime: Runtime) -> Checks:
    services = runtime.services
    checks: Checks = {}
    try:
        seen = await runtime.read.within(READ_WITHIN, functools.partial(_work, services.database))
    except Problem:
        checks["database"] = f"cannot be read within {READ_WITHIN:g} s"
    else:
        checks["database"] = None
        for name in LEASES:
            checks[name] = _silence(seen.silent.get(name))
        age = 0.0
        if seen.oldest_received_at is not None:
            age = (services.clock.microseconds() - seen.oldest_received_at) / 1_000_000 / services.speed
        checks["inbox"] = f"a message has been waiting for {age:.0f} s" if age > PENDING_FOR else None
        for item in seen.projections:
            checks[f"projection {item['name']}"] = _trouble(item)
    for name, problem in services.workers().items():
        if problem is not None:
            logger.warning("the worker %s does not work: %s", name, problem)
        checks[f"worker {name}"] = "is gone" if problem is not None else None
    return checks


def _answer(checks: Checks) -> Response:
    failed = any(checks.values())
    body = {
        "status": "fail" if failed else "pass",
        "checks": {
            name: {"status": "fail" if problem else "pass", "detail": problem or "well"}
            for name, problem in checks.items()
        },
    }
    return JsonResponse(body, 503 if failed else 200)


def _silence(seconds: float | None) -> str | None:
    if seconds is None:
        return "has never worked on this database"
    return f"has not ticked for {seconds:.0f} s" if seconds > SILENT_AFTER else None


def _trouble(projection: Mapping[str, Any]) -> str | None:
    """What is wrong with a read model. Of what stopped it only the kind: the rest may quote an event."""
    if (failure := projection["failure"]) is not None:
        event = f" ({failure['event']})" if failure["event"] is not None else ""
        kind = failure["reason"].partition(":")[0]
        return f"stopped at the event at position {failure['position']}{event}: {kind}; GET /api/projections tells more"
    return f"is {projection['lag']} events behind the log" if projection["lag"] > LAG else None


@functools.cache
def _head() -> str:
    return head()


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _work(database: Database, connection: sa.Connection) -> Work:
    now = database.now(connection)
    ticks = connection.execute(sa.select(leases.c.name, leases.c.ticked_at).where(leases.c.name.in_(LEASES)))
    first = sa.select(sa.func.min(inbox.c.seq)).scalar_subquery()
    oldest = sa.select(journal.c.received_at).where(journal.c.seq == first)
    return Work(
        silent={row.name: now - row.ticked_at for row in ticks},
        oldest_received_at=connection.execute(oldest).scalar(),
        projections=list_projections(connection, limit=500)["items"],
    )


def _operation(path: str, name: str, summary: str, description: str, handler: object) -> Operation:
    failing = "What fails." if name != "isLive" else ""
    return Operation(
        "GET",
        path,
        name,
        "Health",
        summary,
        description,
        None,
        handler,  # type: ignore[arg-type]
        {200: Answer("All is well.", ref("Health")), **({503: Answer(failing, ref("Health"))} if failing else {})},
    )


OPERATIONS = (
    _operation("/health/live", "isLive", "Is the process alive?", "Fails by not answering.", live),
    _operation(
        "/health/ready",
        "isReady",
        "Can it take webhooks and answer?",
        "Fails only on what stops journalling or answering: the database, its schema, the journal.",
        ready,
    ),
    _operation(
        "/health/work",
        "isWorking",
        "Is the work being done?",
        "Fails when the engine, the projections, or the worker for timers and commands (`outside`) are silent, "
        "messages wait too long, a read model has stopped or is far behind, or a worker is gone.",
        work,
    ),
)
