"""The read models: how far each has come."""

from __future__ import annotations

from starlette.responses import Response

from orchestrator.api.answers import JsonResponse
from orchestrator.api.call import Call
from orchestrator.api.operations import PAGING, Answer, Operation
from orchestrator.api.queries.projections import list_projections
from orchestrator.api.schemas import listing


async def list_(call: Call) -> Response:
    return JsonResponse(await call.read(list_projections, **call.query))


OPERATIONS = (
    Operation(
        "GET",
        "/api/projections",
        "listProjections",
        "The log",
        "List read models",
        "How far each read model has followed the log.",
        "viewer",
        list_,
        {200: Answer("A page of read models.", listing("Projection"))},
        parameters=PAGING,
    ),
)
