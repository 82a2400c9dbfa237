"""Where the pages are, who may see them, and how browsers sign in."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Scope

from orchestrator.api.auth import SAFE, STRANGER, Caller
from orchestrator.api.cursors import BadCursor
from orchestrator.api.giving import read_body
from orchestrator.api.problems import Problem
from orchestrator.api.runtime import Runtime
from orchestrator.web import pages
from orchestrator.web.sessions import Sessions, cookie

Page = Callable[[Request, Runtime], Coroutine[Any, Any, Response]]

PAGES: dict[str, Page] = {
    "/": pages.overview,
    "/bundles/{id}": pages.bundle_page,
    "/videos/{id}": pages.video_page,
}
READ_BY_PAGES = ("/api/stream", "/docs", "/docs/docs.css", "/openapi.json")
"""What a session may read besides: what the pages are fed by, and the description that they lead to."""
FILES = {"live.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg+xml"}
SIGN_IN = "/sign-in"
SIGN_OUT = "/sign-out"
LARGEST_FORM = 4_096
FRESH = 0.9
"""Seconds; a little less than the pages' scripts wait between two looks."""
LONGEST_PATH = 1_000


class SignIn:
    """How browsers come in where callers need tokens."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def is_open(self, path: str) -> bool:
        return path in (SIGN_IN, SIGN_OUT) or path.removeprefix("/static/") in FILES

    def viewer(self, scope: Scope) -> str | None:
        # An order needs a token in a header, which no page from elsewhere can make a browser send.
        if scope["method"] not in SAFE or not _is_for_sessions(scope["path"]):
            return None
        return self._sessions.viewer(scope["headers"])

    def sign_in(self, scope: Scope, problem: Problem) -> Response | None:
        wanted = b",".join(value for name, value in scope["headers"] if name == b"accept")
        if scope["method"] not in SAFE or b"text/html" not in wanted:
            return None
        where = (scope.get("raw_path") or b"/").decode("latin-1")
        return _form(problem.status, where, None, problem.headers)


def shared(page: Page, fresh: float = FRESH) -> Page:
    """The same page for all who ask for it within `fresh` seconds: many may watch, each asks again whenever something
    happens, and a large house takes a tenth of a second to look through."""
    written: dict[str, tuple[float, asyncio.Task[Response]]] = {}

    async def once(request: Request, runtime: Runtime) -> Response:
        now = asyncio.get_running_loop().time()
        for query in [query for query, (until, _) in written.items() if until <= now]:
            del written[query]
        query = request.url.query
        if query not in written:
            written[query] = now + fresh, asyncio.create_task(page(request, runtime))
        # Whoever leaves does not take it away from the others.
        return await asyncio.shield(written[query][1])

    return once


def routes(runtime: Runtime, sessions: Sessions) -> list[Route]:
    """Every page, what they are made of, and the form."""
    shown = {**PAGES, "/": shared(PAGES["/"])}
    return [
        *(Route(path, _endpoint(page, runtime), methods=["GET"], name=path) for path, page in shown.items()),
        *(Route(f"/static/{name}", _file(name), methods=["GET"]) for name in FILES),
        Route(SIGN_IN, _sign_in(runtime, sessions), methods=["GET", "POST"]),
        Route(SIGN_OUT, _sign_out, methods=["POST"]),
    ]


def _endpoint(page: Page, runtime: Runtime) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        caller: Caller = request.scope.get("caller", STRANGER)
        try:
            if not caller.may("viewer"):
                raise Problem("forbidden", "This needs the role viewer.")
            name = request.path_params.get("id", "")
            request.scope["page_id"] = unquote(name) if request.scope.get("encoded") else name
            if "\0" in request.scope["page_id"]:
                raise Problem("not-found", "There is no such page.")
            return await page(request, runtime)
        except BadCursor:
            return _problem(Problem("bad-query", "The place in the list cannot be read: begin again at its start."))
        except Problem as problem:
            return _problem(problem)

    return endpoint


def _problem(problem: Problem) -> Response:
    headers = problem.headers
    return pages.page("problem.html", problem.status, headers, title=problem.title, detail=problem.detail)


def _file(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(_: Request) -> Response:
        return Response(_content(name), media_type=FILES[name], headers={"Cache-Control": "private, max-age=300"})

    return endpoint


@functools.cache
def _content(name: str) -> bytes:
    return files("orchestrator.web").joinpath("static", name).read_bytes()


def _sign_in(runtime: Runtime, sessions: Sessions) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        if not runtime.services.tokens:
            return RedirectResponse("/", 303)
        if request.method != "POST":
            return _form(200, "/", None)
        if _is_from_elsewhere(request):
            return _form(403, "/", "This form was sent by a page from elsewhere.")
        form = parse_qs((await read_body(request, LARGEST_FORM)).decode("utf-8", "replace"))
        where = _local(form.get("next", ["/"])[0])
        session = sessions.begin(form.get("token", [""])[0])
        if session is None:
            return _form(401, where, "This token is not known.")
        return RedirectResponse(where, 303, headers={"Set-Cookie": cookie(session, secure=_is_https(request))})

    return endpoint


async def _sign_out(request: Request) -> Response:
    return RedirectResponse(SIGN_IN, 303, headers={"Set-Cookie": cookie("", secure=_is_https(request))})


def _form(status: int, where: str, wrong: str | None, headers: dict[str, str] | None = None) -> Response:
    return pages.page("sign_in.html", status, headers, where=_local(where), wrong=wrong, action=SIGN_IN)


def _is_for_sessions(path: str) -> bool:
    return path == "/" or path in READ_BY_PAGES or path.startswith(("/bundles/", "/videos/"))


def _local(where: str) -> str:
    """`where` if it is one of the pages: whoever signs in is sent nowhere else."""
    is_page = where == "/" or where.startswith(("/bundles/", "/videos/"))
    is_plain = where.isascii() and where.isprintable() and "\\" not in where and len(where) <= LONGEST_PATH
    return where if is_page and is_plain else "/"


def _is_from_elsewhere(request: Request) -> bool:
    """Whether a page of another origin sent this. Browsers tell; behind a proxy the ports may differ."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).hostname != urlsplit(f"//{request.headers.get('host', '')}").hostname


def _is_https(request: Request) -> bool:
    """Whether the browser came over HTTPS, as the proxy says. Believed of anybody: it only makes the cookie safer."""
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", "").lower())
