"""Every error as RFC 9457 problem details, telling callers what they can do and nothing about our insides."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.api.answers import JsonResponse

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

TITLES = {
    "bad-query": (400, "The query cannot be answered"),
    "unauthenticated": (401, "Who is asking?"),
    "forbidden": (403, "Not allowed"),
    "not-found": (404, "Not found"),
    "method-not-allowed": (405, "Method not allowed"),
    "too-slow": (408, "The request took too long"),
    "conflict": (409, "There is something else of this name"),
    "malformed-document": (422, "The document cannot be used"),
    "refused": (409, "The command was refused"),
    "too-large": (413, "The body is too large"),
    "malformed-command": (422, "The command cannot be read"),
    "internal": (500, "Something went wrong here"),
    "unavailable": (503, "Not available at the moment"),
}
"""The kinds of problem: their status and title. A problem's `type` is `urn:orchestrator:problem:KIND`."""


class Problem(Exception):
    """An error to be answered. `detail` is shown to the caller, `members` are added to the body."""

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.status, self.title = TITLES[kind]
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = dict(members or {})

    def response(self) -> Response:
        body = {
            "type": f"urn:orchestrator:problem:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        return JsonResponse({**body, **self.members}, self.status, headers=self.headers, media_type=MEDIA_TYPE)


def unavailable(detail: str) -> Problem:
    """A 503 that asks to come back in a second."""
    return Problem("unavailable", detail, headers={"Retry-After": "1"})


async def answer_problem(_: Request, problem: Exception) -> Response:
    """The answer to a `Problem` that a handler raised."""
    if not isinstance(problem, Problem):
        raise problem
    return problem.response()


async def answer_http_exception(request: Request, error: Exception) -> Response:
    """The answer where the router itself found nothing to call."""
    if not isinstance(error, HTTPException):
        raise error
    headers = dict(error.headers or {})
    if error.status_code == 405:
        allowed = ", ".join(sorted(name.strip() for name in headers.get("Allow", "").split(",") if name.strip()))
        detail = f"This address takes {allowed}, not {request.method[:20]}." if allowed else "Not with this method."
        return Problem("method-not-allowed", detail, headers={"Allow": allowed}).response()
    if error.status_code == 404:
        return Problem("not-found", "There is nothing at this address; /docs lists what there is.").response()
    kinds = {status: kind for kind, (status, _) in TITLES.items()}
    return Problem(kinds.get(error.status_code, "bad-query"), "The request cannot be answered.").response()


class LastResort:
    """Answers what nobody foresaw with a bare 500; the log has the rest, under the id in the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except ClientDisconnect:
            logger.info("a client left in the middle of its request")
        except Exception:
            request_id = secrets.token_hex(8)
            logger.exception("request %s failed: %s %s", request_id, scope["method"], scope["path"][:200])
            if started:
                raise
            problem = Problem(
                "internal",
                "The request could not be answered. The service's log says more under this request id.",
                members={"request_id": request_id},
            )
            await problem.response()(scope, receive, send)
