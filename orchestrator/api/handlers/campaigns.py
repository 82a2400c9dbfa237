"""Campaigns: read, drafted, shown."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from starlette.responses import Response

from orchestrator.api.answers import JsonResponse
from orchestrator.api.call import Call, not_found
from orchestrator.api.giving import append, malformed, message_of, outcome, read_body, refusal
from orchestrator.api.handlers.filters import COUNTRY, PLATFORM
from orchestrator.api.operations import AS_OF, PAGING, Answer, Operation, Parameter
from orchestrator.api.problems import Problem, unavailable
from orchestrator.api.queries.campaigns import campaign_entry, campaign_item, list_campaigns
from orchestrator.api.queries.histories import campaign_history
from orchestrator.api.queries.page import log_head
from orchestrator.api.schemas import SOME_TEXT, TEXT, TEXTS, listing, record, ref
from orchestrator.campaigns import CampaignSpec, read_csv, read_document
from orchestrator.campaigns.files import LARGEST, LONGEST_CAPTION, LONGEST_URL, MOST_VIDEOS, SPREADS, TYPES
from orchestrator.clock import instant_of
from orchestrator.database import Database
from orchestrator.documents import Problem as Wrong
from orchestrator.documents import Refused
from orchestrator.domain.campaign import STATUSES
from orchestrator.domain.countries import PLATFORMS, country_code
from orchestrator.journal.inbox import APPLIED, PENDING
from orchestrator.planning import draft

WAIT = 10
DAY = {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "description": "a day such as 2026-12-01"}
FLAG = {"type": "boolean"}
OF_CSV = (
    Parameter("name", "CSV only: the campaign's name.", {"type": "string"}),
    Parameter("group", "CSV only: its group.", {"type": "string"}),
    Parameter("starts", "CSV only: its first day.", DAY),
    Parameter("ends", "CSV only: its last day.", DAY),
    Parameter("country", "CSV only: where a row names none.", COUNTRY.schema),
    Parameter("platform", "CSV only: where a row names none.", PLATFORM.schema),
    Parameter("disclose_as_ads", "CSV only, and must be stated.", FLAG),
    Parameter("ai_content_disclaimer", "CSV only, and must be stated.", FLAG),
)
"""Without examples: a line to copy sends JSON, which says these things itself."""


async def list_(call: Call) -> Response:
    return JsonResponse(await call.read(list_campaigns, **call.query))


async def show(call: Call) -> Response:
    item = await call.read(campaign_item, call.path["id"])
    if item is None:
        raise not_found("campaign")
    return JsonResponse(item)


async def history(call: Call) -> Response:
    found = await call.read(campaign_history, call.path["id"], as_of=call.as_of, **call.without("as_of"))
    if found is None:
        raise not_found("campaign")
    return JsonResponse(found)


async def create(call: Call) -> Response:
    body = await read_body(call.request, LARGEST)
    study, services = call.runtime.study, call.runtime.services
    spec = await study.compute(lambda: _spec(call, body))
    known = await call.read(campaign_entry, spec.campaign_id)
    if known is not None and known.digest != spec.digest:
        raise Problem("conflict", f"There is a campaign {spec.name!r} with other content. Give this one another name.")
    location = {"Location": f"/api/campaigns/{spec.campaign_id}"}
    # Planned once more, what runs would stand in its own way.
    if known is not None and (known.status != "draft" or not call.query["dry_run"]):
        return JsonResponse(await _shown(call, spec.campaign_id), headers=location)
    now = instant_of(services.clock.microseconds())
    wanted, answer = await study(_planned, services.database, spec, now)
    if call.query["dry_run"]:
        return JsonResponse(answer)
    message = message_of(call, wanted, once=f"{spec.campaign_id}:{spec.digest}")
    await append(call, message)
    item = await outcome(call, message, WAIT)
    if item is not None and item["status"] not in (APPLIED, PENDING):
        raise refusal("conflict", item)
    return JsonResponse(answer, 201, headers=location)


async def _shown(call: Call, campaign_id: str) -> dict[str, Any]:
    """The campaign, which the engine knows: the read models are waited for."""
    item = await call.runtime.head.hold(
        lambda: call.read(campaign_item, campaign_id), lambda found: found is not None, WAIT
    )
    if item is None:
        raise unavailable("The campaign is known, but cannot be shown yet.")
    return item


def _planned(
    connection: sa.Connection, database: Database, spec: CampaignSpec, now: datetime
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The order that drafts the campaign, and what is answered."""
    planned = draft(connection, database, spec, now)
    wanted = planned.order(spec)
    answer = {
        "campaign_id": spec.campaign_id,
        "status": "draft",
        "plan": wanted["plan"],
        "unmet": wanted["unmet"],
        "notes": list(planned.notes),
        "position": log_head(connection),
    }
    return wanted, answer


def _spec(call: Call, body: bytes) -> CampaignSpec:
    """Raises the problem `malformed-document` with everything that is wrong."""
    kind = call.request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "text/csv":
            return _of_csv(call, body)
        stray = [parameter.name for parameter in OF_CSV if call.query[parameter.name] is not None]
        if stray:
            raise malformed(f"The parameters {', '.join(stray)} are for CSV only: the document says it itself.")
        return read_document(body.decode())
    except UnicodeDecodeError:
        raise Problem("malformed-document", "The document is not UTF-8.") from None
    except Refused as error:
        raise refused(error) from None


def _of_csv(call: Call, body: bytes) -> CampaignSpec:
    query = call.query
    missing = [name for name in ("name", "disclose_as_ads", "ai_content_disclaimer") if query[name] is None]
    if missing:
        raise malformed(f"A campaign in CSV needs the parameters {', '.join(missing)}; there is no default.")
    country = country_code(query["country"]) if query["country"] is not None else None
    if query["country"] is not None and country is None:
        raise malformed("The parameter country is a code of ISO 3166 alpha-2.")
    days: dict[str, date | None] = {}
    for name in ("starts", "ends"):
        try:
            days[name] = date.fromisoformat(query[name]) if query[name] is not None else None
        except ValueError:
            raise malformed(f"The parameter {name} is no day that exists.") from None
    return read_csv(
        body,
        name=query["name"],
        group=query["group"] or "default",
        country=country,
        platform=query["platform"],
        starts=days["starts"],
        ends=days["ends"],
        disclose_as_ads=query["disclose_as_ads"],
        ai_content_disclaimer=query["ai_content_disclaimer"],
    )


def refused(error: Refused) -> Problem:
    """What is wrong with a document, all of it."""
    wrong: list[Wrong] = error.problems
    first = wrong[0]
    where = f" in line {first.line}" if first.line else ""
    return Problem(
        "malformed-document",
        f"{len(wrong)} problem{'s' if len(wrong) > 1 else ''}, the first{where}: "
        f"{f'{first.key}: ' if first.key else ''}{first.message}",
        members={"errors": [listed(problem) for problem in wrong]},
    )


def listed(problem: Wrong) -> dict[str, Any]:
    return {"line": problem.line, "column": problem.column, "key": problem.key, "message": problem.message}


_URL = {**TEXT, "maxLength": LONGEST_URL, "description": "https://…"}
_VIDEO = record(
    optional=["type", "caption", "captions", "tiktok", "instagram"],
    ref=TEXT,
    type={"type": "string", "enum": list(TYPES), "default": "video"},
    media={"anyOf": [_URL, {"type": "array", "items": _URL}], "description": "of a carousel: its images"},
    caption={**SOME_TEXT, "maxLength": LONGEST_CAPTION},
    captions={"type": "object", "additionalProperties": TEXT, "description": "by country"},
    tiktok=record(optional=["sound_url"], sound_url=SOME_TEXT),
    instagram=record(optional=["content_type"], content_type={"type": "string", "enum": ["reel", "post"]}),
)
_TARGET = record(
    optional=["accounts", "bundles"],
    country=TEXT,
    platform={"type": "string", "enum": sorted(PLATFORMS)},
    accounts={"type": "integer", "minimum": 1, "description": "up to so many; without `bundles`, all if not given"},
    bundles={**TEXTS, "minItems": 1, "uniqueItems": True},
)
DOCUMENT = record(
    optional=["group", "origin", "labels", "starts", "ends", "spread"],
    name={**TEXT, "minLength": 1, "maxLength": 120},
    group=TEXT,
    origin=record(optional=["system", "object", "id"], system=TEXT, object=TEXT, id=TEXT),
    labels={"type": "object", "additionalProperties": TEXT},
    starts=DAY,
    ends=DAY,
    videos={"type": "array", "items": _VIDEO, "minItems": 1, "maxItems": MOST_VIDEOS},
    targets={"type": "array", "items": _TARGET, "minItems": 1},
    spread={"type": "string", "enum": list(SPREADS), "default": "every_account"},
    disclose_as_ads=FLAG,
    ai_content_disclaimer=FLAG,
)

OPERATIONS = (
    Operation(
        "GET",
        "/api/campaigns",
        "listCampaigns",
        "Campaigns",
        "List campaigns",
        "Every campaign, by its name, with its progress.",
        "viewer",
        list_,
        {200: Answer("A page of campaigns.", listing("Campaign"))},
        parameters=(*PAGING, Parameter("status", "Its status.", {"type": "string", "enum": list(STATUSES)})),
    ),
    Operation(
        "POST",
        "/api/campaigns",
        "createCampaign",
        "Campaigns",
        "Draft a campaign",
        "YAML or JSON, or CSV with one row for each post (`text/csv`, its settings as parameters). The answer is the "
        "calendar, and every unmet wish with its reason. A draft reserves nothing; `dry_run` keeps nothing either.",
        "operator",
        create,
        {
            200: Answer(
                "The plan of a dry run, or the campaign that was there with the same content.",
                {"anyOf": [ref("Plan"), ref("Campaign")]},
            ),
            201: Answer("The draft.", ref("Plan"), headers={"Location": "the campaign"}),
        },
        parameters=(
            Parameter("dry_run", "Only plan.", {"type": "boolean", "default": False}, example=True),
            *OF_CSV,
        ),
        body=DOCUMENT,
        body_types=("application/json", "application/yaml", "text/csv"),
        body_example={
            "name": "spring-launch",
            "videos": [{"ref": "teaser-1", "media": "https://cdn.example.com/teaser-1.mp4"}],
            "targets": [{"country": "US", "platform": "tiktok", "accounts": 5}],
            "disclose_as_ads": True,
            "ai_content_disclaimer": False,
        },
        problems=(408, 409, 413, 422),
    ),
    Operation(
        "GET",
        "/api/campaigns/{id}",
        "getCampaign",
        "Campaigns",
        "One campaign",
        "Its progress, its plan, and what could not be placed.",
        "viewer",
        show,
        {200: Answer("The campaign.", ref("Campaign"))},
    ),
    Operation(
        "GET",
        "/api/campaigns/{id}/history",
        "getCampaignHistory",
        "Campaigns",
        "A campaign's history",
        "What was ordered and what became of it, in the order of the log.",
        "viewer",
        history,
        {200: Answer("A page of events.", listing("HistoryItem"))},
        parameters=(*PAGING, AS_OF),
    ),
)
