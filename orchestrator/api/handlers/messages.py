"""The journal: what came, and what became of it."""

from __future__ import annotations

from starlette.responses import Response

from orchestrator.api.answers import JsonResponse
from orchestrator.api.call import Call, not_found
from orchestrator.api.operations import PAGING, Answer, Operation, Parameter
from orchestrator.api.queries.messages import list_messages, message_item
from orchestrator.api.schemas import STATUS, listing, ref

FILTERS = (
    Parameter("status", "What became of it.", STATUS, example="quarantined"),
    Parameter("event_id", "The vendor's event id.", {"type": "string"}, example="evt_a03"),
)


async def list_(call: Call) -> Response:
    return JsonResponse(await call.read(list_messages, **call.query))


async def show(call: Call) -> Response:
    item = await call.read(message_item, call.path["id"])
    if item is None:
        raise not_found("message")
    return JsonResponse(item)


OPERATIONS = (
    Operation(
        "GET",
        "/api/messages",
        "listMessages",
        "Messages",
        "List messages",
        "The journal, the newest message first, with the first 2,000 characters of each body.",
        "viewer",
        list_,
        {200: Answer("A page of messages.", listing("Message"))},
        parameters=(*PAGING, *FILTERS),
    ),
    Operation(
        "GET",
        "/api/messages/{id}",
        "getMessage",
        "Messages",
        "One message",
        "The message as it came, and what became of it.",
        "viewer",
        show,
        {200: Answer("The message.", ref("Message"))},
    ),
)
