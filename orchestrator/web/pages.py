"""The pages at their addresses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from orchestrator.api.handlers.health import checks_of_work
from orchestrator.api.problems import Problem
from orchestrator.api.runtime import Runtime
from orchestrator.api.services import Services
from orchestrator.clock import instant_of
from orchestrator.domain import bundle, video
from orchestrator.domain.decisions import OURS
from orchestrator.domain.facts import KINDS
from orchestrator.domain.times import iso
from orchestrator.web import display, looking, words

POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
HEADERS = {"Content-Security-Policy": POLICY}
FILTERS = ("country", "bundle_state", "video_state")

TEMPLATES = Environment(
    loader=PackageLoader("orchestrator.web"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=display.clean,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters |= {
    "web_link": display.web_link,
    "path_part": display.path_part,
    "moment": display.moment,
    "counts": display.counts,
    "attempt_count": display.attempt_count,
    "target_day": display.target_day,
    "named": words.named,
}
TEMPLATES.globals |= {
    "bundle_states": bundle.STATES,
    "video_states": video.STATES,
    "decision_names": words.DECISIONS,
    "rows": looking.ROWS,
    # A browser hears only those events of a stream that it was told the names of.
    "event_names": sorted({*KINDS, *OURS}),
}


def page(template: str, status: int = 200, headers: Mapping[str, str] | None = None, **shown: Any) -> Response:
    return HTMLResponse(TEMPLATES.get_template(template).render(shown), status, headers={**HEADERS, **(headers or {})})


async def overview(request: Request, runtime: Runtime) -> Response:
    """The first page; with `?part=live` only what changes on it, for the script to put in its place."""
    query = {name: value for name, value in request.query_params.items() if "\0" not in value}
    template = "live.html" if query.get("part") == "live" else "overview.html"
    now = instant_of(runtime.services.clock.microseconds())
    failing = {name: problem for name, problem in (await checks_of_work(runtime)).items() if problem}

    def look(connection: sa.Connection) -> dict[str, Any] | None:
        return {
            **looking.overview(connection, query, now),
            "failing": failing,
            "link": lambda **changed: _link(query, changed),
        }

    return await _shown(runtime, template, look, "page")


async def bundle_page(request: Request, runtime: Runtime) -> Response:
    name, cursor = _id(request), request.query_params.get("after") or None
    return await _shown(runtime, "bundle.html", lambda c: looking.bundle_page(c, name, cursor), "bundle")


async def video_page(request: Request, runtime: Runtime) -> Response:
    name, cursor = _id(request), request.query_params.get("after") or None
    return await _shown(runtime, "video.html", lambda c: looking.video_page(c, name, cursor), "video")


async def _shown(
    runtime: Runtime, template: str, look: Callable[[sa.Connection], Mapping[str, Any] | None], what: str
) -> Response:
    """The page of what `look` found. It is written where it is read: webhooks would wait for both."""
    services = runtime.services

    def written(connection: sa.Connection) -> str | None:
        found = look(connection)
        return None if found is None else TEMPLATES.get_template(template).render({**_frame(services, found), **found})

    text = await runtime.read(written)
    if text is None:
        raise Problem("not-found", f"There is no such {what}.")
    return HTMLResponse(text, headers=HEADERS)


def _frame(services: Services, found: Mapping[str, Any]) -> dict[str, Any]:
    """What every page says about the service."""
    service = found["service"]
    return {
        "version": services.version,
        "mode": service.mode or "starting",
        "world": words.world(service.mode, services.speed),
        "now": iso(instant_of(services.clock.microseconds())),
        "paused": service.paused,
        "signed_in": bool(services.tokens),
    }


def _link(query: Mapping[str, str], changed: Mapping[str, Any]) -> str:
    """The first page with the filters that it has, and what is `changed` in them."""
    kept = {name: query[name] for name in FILTERS if query.get(name)}
    wanted = {name: value for name, value in {**kept, **changed}.items() if value}
    return f"/?{urlencode(wanted)}" if wanted else "/"


def _id(request: Request) -> str:
    name: str = request.scope["page_id"]
    return name
