"""The read models: how far each has come, and orders to make one anew."""

from __future__ import annotations

from starlette.responses import Response

from orchestrator.api.answers import JsonResponse
from orchestrator.api.call import Call, not_found
from orchestrator.api.giving import ANSWERS, LONGEST_TEXT, PREFER, give, message_of, read_order
from orchestrator.api.operations import PAGING, Answer, Operation
from orchestrator.api.queries.projections import known_projection, list_projections
from orchestrator.api.schemas import listing, record

REASON = {"type": ["string", "null"], "maxLength": LONGEST_TEXT, "description": "why, for the record"}


async def list_(call: Call) -> Response:
    return JsonResponse(await call.read(list_projections, **call.query))


async def rebuild(call: Call) -> Response:
    given = await read_order(call)
    name = await call.read(known_projection, call.path["name"])
    if name is None:
        raise not_found("read model")
    return await give(call, message_of(call, {"command": "projection.rebuild", "name": name, "reason": None, **given}))


OPERATIONS = (
    Operation(
        "GET",
        "/api/projections",
        "listProjections",
        "The log",
        "List read models",
        "How far each read model has followed the log, what stopped it, and how its newest rebuild goes.",
        "viewer",
        list_,
        {200: Answer("A page of read models.", listing("Projection"))},
        parameters=PAGING,
    ),
    Operation(
        "POST",
        "/api/projections/{name}/rebuild",
        "rebuildProjection",
        "The log",
        "Make a read model anew",
        "It is made from the whole log beside the live one, and takes its place in one transaction when it has caught "
        "up. How far it is shows in the list of read models.",
        "admin",
        rebuild,
        ANSWERS,
        parameters=(PREFER,),
        body=record(optional=["reason"], reason=REASON),
        body_example={"reason": "a row was changed by hand"},
        problems=(404, 408, 409, 413, 422),
    ),
)
