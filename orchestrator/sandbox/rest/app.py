from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from orchestrator.sandbox.rest.doors import Doors, Operation
from orchestrator.sandbox.rest.operations import operations
from orchestrator.sandbox.rest.quota import Quota
from orchestrator.sandbox.world import World

BASE_PATH: Final = "/api/ext"


def create_app(world: World) -> Starlette:
    """TokPortal's public REST API under `/api/ext`, for one event loop in one thread."""
    quota = Quota(world)
    doors = Doors(world, quota, BASE_PATH)
    routes = [
        Route(operation.path, _endpoint(doors, operation), methods=[operation.method], name=operation.id)
        for operation in operations(quota)
    ]
    return Starlette(routes=[Mount(BASE_PATH, routes=routes)], exception_handlers={HTTPException: _unknown})


def _endpoint(doors: Doors, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await doors.serve(operation, request)

    return endpoint


async def _unknown(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    message = f"There is no {request.method} {request.url.path}."
    body = {"error": {"code": "NOT_FOUND", "message": message, "details": {}}}
    return Response(msgspec.json.encode(body), status, media_type="application/json")
