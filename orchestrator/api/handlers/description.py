"""The API's description, for programs and for people."""

from __future__ import annotations

import functools
from importlib.resources import files

from starlette.responses import HTMLResponse, Response

from orchestrator.api.answers import JsonResponse
from orchestrator.api.call import Call
from orchestrator.api.openapi import document
from orchestrator.api.operations import Answer, Operation
from orchestrator.api.page import render

POLICY = "default-src 'none'; style-src 'self'; img-src 'self' data:; frame-ancestors 'none'"


async def openapi(call: Call) -> Response:
    return JsonResponse(document(call.request.app.state.operations, call.runtime.services.version))


async def docs(call: Call) -> Response:
    described = document(call.request.app.state.operations, call.runtime.services.version)
    page = render(described, str(call.request.base_url).rstrip("/"))
    return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})


async def style(call: Call) -> Response:
    return Response(_style(), media_type="text/css", headers={"Cache-Control": "private, max-age=300"})


@functools.cache
def _style() -> bytes:
    return files("orchestrator.api").joinpath("static", "docs.css").read_bytes()


OPERATIONS = (
    Operation(
        "GET",
        "/openapi.json",
        "getDescription",
        "Description",
        "The API as OpenAPI 3.1",
        "This very document.",
        "viewer",
        openapi,
        {200: Answer("The document.", {"type": "object"})},
    ),
    Operation(
        "GET",
        "/docs",
        "readDescription",
        "Description",
        "The API as a page to read",
        "Made from the same document; it needs no scripts.",
        "viewer",
        docs,
        {200: Answer("The page.", {"type": "string"}, media_type="text/html")},
    ),
    Operation(
        "GET", "/docs/docs.css", "getStyle", "Description", "", "", "viewer", style, {200: Answer("")}, shown=False
    ),
)
