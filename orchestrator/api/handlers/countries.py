"""Countries and platforms at a glance."""

from __future__ import annotations

from starlette.responses import Response

from orchestrator.api.answers import JsonResponse
from orchestrator.api.call import Call
from orchestrator.api.operations import PAGING, Answer, Operation
from orchestrator.api.queries.countries import list_countries
from orchestrator.api.schemas import listing
from orchestrator.clock import instant_of


async def list_(call: Call) -> Response:
    now = instant_of(call.runtime.services.clock.microseconds())
    return JsonResponse(await call.read(list_countries, now=now, **call.query))


OPERATIONS = (
    Operation(
        "GET",
        "/api/countries",
        "listCountries",
        "Countries",
        "Countries and platforms",
        "How many bundles and videos are in which state, by country and platform; how many more videos the accounts "
        "could post on which of the coming days; and whether the breaker is open.",
        "viewer",
        list_,
        {200: Answer("A page of countries and platforms.", listing("Country"))},
        parameters=PAGING,
    ),
)
