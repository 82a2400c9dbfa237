"""Bundles: TokPortal's orders, one social account each."""

from __future__ import annotations

from starlette.responses import Response

from orchestrator.api.answers import JsonResponse
from orchestrator.api.call import Call, not_found
from orchestrator.api.handlers.filters import COUNTRY, PLATFORM, with_country_code
from orchestrator.api.operations import PAGING, Answer, Operation, Parameter
from orchestrator.api.queries.bundles import bundle_item, list_bundles
from orchestrator.api.queries.histories import bundle_history
from orchestrator.api.schemas import BUNDLE_STATE, listing, ref


async def list_(call: Call) -> Response:
    return JsonResponse(await call.read(list_bundles, **with_country_code(call.query)))


async def show(call: Call) -> Response:
    item = await call.read(bundle_item, call.path["id"])
    if item is None:
        raise not_found("bundle")
    return JsonResponse(item)


async def history(call: Call) -> Response:
    found = await call.read(bundle_history, call.path["id"], **call.query)
    if found is None:
        raise not_found("bundle")
    return JsonResponse(found)


OPERATIONS = (
    Operation(
        "GET",
        "/api/bundles",
        "listBundles",
        "Bundles",
        "List bundles",
        "Every bundle that was ever heard of, by its id.",
        "viewer",
        list_,
        {200: Answer("A page of bundles.", listing("Bundle"))},
        parameters=(
            *PAGING,
            COUNTRY,
            PLATFORM,
            Parameter("state", "Its state.", BUNDLE_STATE, example="warming"),
            Parameter("postable", "Whether videos may be placed on it.", {"type": "boolean"}, example=True),
            Parameter("group", "Its brand or client.", {"type": "string"}, example="default"),
            Parameter("username", "The account's name on its platform, exactly.", {"type": "string"}),
        ),
    ),
    Operation(
        "GET",
        "/api/bundles/{id}",
        "getBundle",
        "Bundles",
        "One bundle",
        "What the bundle is, by all facts known.",
        "viewer",
        show,
        {200: Answer("The bundle.", ref("Bundle"))},
    ),
    Operation(
        "GET",
        "/api/bundles/{id}/history",
        "getBundleHistory",
        "Bundles",
        "A bundle's history",
        "The facts of the bundle, and of its accounts while they were its accounts, in the order of the log.",
        "viewer",
        history,
        {200: Answer("A page of facts.", listing("HistoryItem"))},
        parameters=PAGING,
    ),
)
