"""Bundles: TokPortal's orders, one social account each."""

from __future__ import annotations

from starlette.responses import Response

from orchestrator.api.answers import JsonResponse
from orchestrator.api.call import Call, not_found
from orchestrator.api.handlers.filters import COUNTRY, PLATFORM, with_country_code
from orchestrator.api.operations import AS_OF, PAGING, Answer, Operation, Parameter
from orchestrator.api.queries import as_of
from orchestrator.api.queries.bundles import bundle_item, list_bundles
from orchestrator.api.queries.histories import bundle_history
from orchestrator.api.schemas import BUNDLE_STATE, listing, ref


async def list_(call: Call) -> Response:
    moment, filters = call.as_of, with_country_code(call.without("as_of"))
    if moment is not None:
        return JsonResponse(await call.search_past(as_of.list_bundles, moment, filters))
    return JsonResponse(await call.read(list_bundles, **filters))


async def show(call: Call) -> Response:
    moment, bundle_id = call.as_of, call.path["id"]
    found = call.read(bundle_item, bundle_id) if moment is None else call.read(as_of.bundle_item, moment, bundle_id)
    item = await found
    if item is None:
        raise not_found("bundle")
    return JsonResponse(item)


async def history(call: Call) -> Response:
    found = await call.read(bundle_history, call.path["id"], as_of=call.as_of, **call.without("as_of"))
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
            AS_OF,
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
        parameters=(AS_OF,),
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
        parameters=(*PAGING, AS_OF),
    ),
)
