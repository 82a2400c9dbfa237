"""The application: every operation at its address, behind the checks that all of them share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from orchestrator.api.auth import STRANGER, Auth, Caller
from orchestrator.api.call import Call, not_found
from orchestrator.api.handlers import (
    brain,
    bundles,
    campaigns,
    countries,
    description,
    events,
    health,
    messages,
    metrics,
    orders,
    projections,
    stream,
    videos,
)
from orchestrator.api.headers import SecurityHeaders
from orchestrator.api.operations import Operation
from orchestrator.api.parameters import parse
from orchestrator.api.problems import LastResort, Problem, answer_http_exception, answer_problem
from orchestrator.api.runtime import Runtime
from orchestrator.api.services import Services
from orchestrator.web import routes as web
from orchestrator.web.sessions import Sessions

OPERATIONS: tuple[Operation, ...] = (
    *bundles.OPERATIONS,
    *videos.OPERATIONS,
    *countries.OPERATIONS,
    *campaigns.OPERATIONS,
    *orders.OPERATIONS,
    *brain.OPERATIONS,
    *messages.OPERATIONS,
    *events.OPERATIONS,
    *stream.OPERATIONS,
    *projections.OPERATIONS,
    *health.OPERATIONS,
    *metrics.OPERATIONS,
    *description.OPERATIONS,
)
"""Everything that the API does."""


def create_app(
    services: Services, door: Sequence[BaseRoute] = (), lifespan: Lifespan[Starlette] | None = None
) -> Starlette:
    """The application. `door` are the routes at /webhooks, which answer for themselves; `lifespan` begins before and
    ends after everything of ours. The server must not rewrite the client's address from forwarding headers."""
    runtime = Runtime(services)
    sessions = Sessions(services.tokens)

    @asynccontextmanager
    async def ours(app: Starlette) -> AsyncIterator[Mapping[str, Any] | None]:
        theirs: AbstractAsyncContextManager[Any] = nullcontext() if lifespan is None else lifespan(app)
        async with theirs as state:
            try:
                yield state
            finally:
                runtime.stop()

    app = Starlette(
        routes=[*door, *_routes(OPERATIONS, runtime), *web.routes(runtime, sessions)],
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(LastResort),
            Middleware(Auth, tokens=services.tokens, browsers=web.SignIn(sessions)),
            Middleware(EncodedPaths),
        ],
        exception_handlers={Problem: answer_problem, HTTPException: answer_http_exception},
        lifespan=ours,  # type: ignore[arg-type]
    )
    app.router.redirect_slashes = False
    app.state.runtime = runtime
    app.state.operations = OPERATIONS
    return app


BY_ID = ("/api/", "/bundles/", "/videos/")


class EncodedPaths:
    """Has the addresses with ids in them routed as they were sent, so that an id may hold a slash, sent as %2F."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = (scope.get("raw_path") or b"").decode("latin-1")
        if scope["type"] == "http" and any(scope["path"].startswith(root) and raw.startswith(root) for root in BY_ID):
            scope = {**scope, "path": raw, "encoded": True}
        await self._app(scope, receive, send)


def _routes(operations: Sequence[Operation], runtime: Runtime) -> list[Route]:
    """One route for each address, so that a wrong method is answered with all the right ones."""
    addresses: defaultdict[str, dict[str, Operation]] = defaultdict(dict)
    for operation in operations:
        addresses[operation.path][operation.method] = operation
    return [
        Route(path, _endpoint(methods, runtime), methods=list(methods), name=path)
        for path, methods in addresses.items()
    ]


def _endpoint(methods: Mapping[str, Operation], runtime: Runtime) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        operation = methods[method]
        caller: Caller = request.scope.get("caller", STRANGER)
        if operation.role is not None and not caller.may(operation.role):
            raise Problem("forbidden", f"This needs the role {operation.role}.")
        return await operation.handler(Call(request, runtime, caller, _query(request, operation), _path(request)))

    return endpoint


def _query(request: Request, operation: Operation) -> dict[str, Any]:
    try:
        return parse(request.query_params.multi_items(), operation.parameters, strict=operation.is_strict)
    except Problem as problem:
        if operation.method == "GET":
            raise
        # The parameters of an order are a part of it.
        raise Problem("malformed-command", problem.detail, members=problem.members) from None


def _path(request: Request) -> dict[str, str]:
    encoded = request.scope.get("encoded", False)
    path = {name: unquote(value) if encoded else value for name, value in request.path_params.items()}
    if any("\0" in value for value in path.values()):
        raise not_found("thing")
    return path
