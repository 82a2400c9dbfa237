"""The log as JSON, page by page."""

from __future__ import annotations

from starlette.responses import Response

from orchestrator.api.answers import JsonResponse
from orchestrator.api.call import Call
from orchestrator.api.operations import LIMIT, Answer, Operation, Parameter
from orchestrator.api.problems import Problem
from orchestrator.api.queries.events import list_events
from orchestrator.api.schemas import listing


async def list_(call: Call) -> Response:
    after, cursor = call.query["after"], call.query["cursor"]
    if after is not None and cursor is not None:
        raise Problem("bad-query", "The parameters after and cursor say the same: give one of them.")
    start = cursor if after is None else str(after)
    return JsonResponse(await call.read(list_events, limit=call.query["limit"], cursor=start))


OPERATIONS = (
    Operation(
        "GET",
        "/api/events",
        "listEvents",
        "The log",
        "Read the log",
        "Every event in the order of the log. `next` is the position to go on after, and null at the end.",
        "viewer",
        list_,
        {200: Answer("A page of the log.", listing("Event"))},
        parameters=(
            Parameter("after", "The position to start after.", {"type": "integer", "minimum": 0}, example=0),
            LIMIT,
            Parameter("cursor", "The same as `after`, as in every list.", {"type": "string", "minLength": 1}),
        ),
    ),
)
