"""What people order: each order is a message in the journal, and the engine says whether the rules allow it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
from starlette.responses import Response

from orchestrator.api.answers import JsonResponse
from orchestrator.api.call import Call, not_found
from orchestrator.api.handlers.filters import PLATFORM
from orchestrator.api.handlers.messages import LONGEST_WAIT, append, give, read_body
from orchestrator.api.operations import Answer, Operation, Parameter
from orchestrator.api.problems import Problem
from orchestrator.api.queries.commands import list_commands
from orchestrator.api.queries.exists import exists
from orchestrator.api.queries.messages import list_messages
from orchestrator.api.queries.videos import list_videos, ours_of
from orchestrator.api.schemas import NUMBER, TEXT, TEXTS, record, ref
from orchestrator.database.tables import bundles, campaigns, outbox
from orchestrator.domain.countries import country_code
from orchestrator.journal import Message
from orchestrator.journal.commands import order

Handler = Callable[[Call], Awaitable[Response]]

MOST_AT_ONCE = 1_000
SAMPLE = 20

PREFER = Parameter(
    "Prefer",
    f"`wait=N` holds the answer until the order was applied or N seconds passed, at most {LONGEST_WAIT}.",
    {"type": "string"},
    where="header",
    example="wait=10",
)
ANSWERS = {
    200: Answer(
        "The order's message, applied within the time of `Prefer: wait`.",
        ref("Message"),
        headers={"Location": "the order's message", "Preference-Applied": "how long was waited at most"},
    ),
    202: Answer("The order is journalled.", ref("Accepted"), headers={"Location": "the order's message"}),
}
REASON = {"type": "string", "description": "why, for the record"}


async def read_order(call: Call, *known: str) -> dict[str, Any]:
    """The members of the body: `reason`, and those `known`, all texts. Raises the problem `malformed-command`."""
    body = await read_body(call.request)
    if not body.strip():
        return {}
    try:
        given = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem("malformed-command", "The body is not JSON.") from None
    if not isinstance(given, dict):
        raise Problem("malformed-command", 'The body is a JSON object such as {"reason": "as agreed"}.')
    names = ("reason", *known)
    if any(name not in names for name in given):
        raise Problem(
            "malformed-command",
            f"The body has members that this order does not know; it knows {', '.join(names)}.",
        )
    for name, value in given.items():
        if not isinstance(value, str) or "\0" in value or len(value) > 2_000:
            raise Problem("malformed-command", f"The {name} is a text of at most 2,000 characters.")
    return given


def message_of(call: Call, command: Mapping[str, Any]) -> Message:
    return order(
        command,
        endpoint="api",
        name=call.caller.name,
        received_at=call.runtime.services.clock.microseconds(),
    )


def _order(
    path: str,
    command: str,
    member: str,
    table: sa.Column[Any],
    what: str,
    summary: str,
    description: str,
    *,
    role: str = "operator",
    extra: tuple[str, ...] = (),
) -> Operation:
    """One order about one thing, which has to exist."""

    async def handler(call: Call) -> Response:
        given = await read_order(call, *extra)
        name = call.path["id"]
        if what == "video":
            found = await call.read(ours_of, name)
        else:
            found = name if await call.read(exists, table, name) else None
        if found is None:
            raise not_found(what)
        return await give(call, message_of(call, {"command": command, member: found, "reason": None, **given}))

    subject, _, verb = command.partition(".")
    members = {"reason": REASON, **dict.fromkeys(extra, TEXT)}
    return Operation(
        "POST",
        path,
        f"{verb}{subject.capitalize()}",
        f"{what.capitalize()}s",
        summary,
        description,
        role,
        handler,
        ANSWERS,
        parameters=(PREFER,),
        body=record(optional=list(members), **members),
        body_example={"reason": "as agreed"},
        problems=(404, 408, 409, 413, 422),
    )


def _of_videos(verb: str, summary: str, description: str, extra: tuple[str, ...] = ()) -> Operation:
    path = f"/api/videos/{{id}}/{verb}"
    return _order(path, f"video.{verb}", "video_id", bundles.c.bundle_id, "video", summary, description, extra=extra)


def _of_bundles(verb: str, summary: str, description: str, role: str = "operator") -> Operation:
    path = f"/api/bundles/{{id}}/{verb}"
    return _order(path, f"bundle.{verb}", "bundle_id", bundles.c.bundle_id, "bundle", summary, description, role=role)


def _of_campaigns(verb: str, summary: str, description: str) -> Operation:
    path = f"/api/campaigns/{{id}}/{verb}"
    column = campaigns.c.campaign_id
    return _order(path, f"campaign.{verb}", "campaign_id", column, "campaign", summary, description)


def _of_commands(verb: str, summary: str, description: str, role: str = "operator") -> Operation:
    path = f"/api/commands/{{id}}/{verb}"
    return _order(
        path, f"command.{verb}", "command_id", outbox.c.command_id, "command", summary, description, role=role
    )


def _of_country(verb: str) -> Handler:
    async def handler(call: Call) -> Response:
        given = await read_order(call)
        code = country_code(call.path["country"])
        if code is None:
            raise Problem("malformed-command", "The country is a code of ISO 3166 alpha-2, such as US.")
        command = {"command": f"market.{verb}", "country": code, "platform": call.query["platform"]}
        return await give(call, message_of(call, {**command, "reason": None, **given}))

    return handler


def _of_service(verb: str) -> Handler:
    async def handler(call: Call) -> Response:
        given = await read_order(call)
        return await give(call, message_of(call, {"command": f"service.{verb}", "reason": None, **given}))

    return handler


# Many at once.

BULK: dict[str, dict[str, tuple[str, str, str]]] = {
    "videos": {verb: (f"video.{verb}", "video_id", "operator") for verb in ("reroute", "retry", "cancel", "release")},
    "messages": {"retry": ("retry", "message_id", "operator")},
    "commands": {
        "retry": ("command.retry", "command_id", "operator"),
        "discard": ("command.discard", "command_id", "operator"),
        "approve": ("command.approve", "command_id", "admin"),
    },
}
LISTS: dict[str, tuple[Callable[..., dict[str, Any]], str, tuple[str, ...]]] = {
    "videos": (
        list_videos,
        "video_id",
        ("state", "country", "platform", "bundle_id", "campaign_id", "ref", "error_code"),
    ),
    "messages": (list_messages, "message_id", ("status", "event_id")),
    "commands": (list_commands, "command_id", ("status", "kind", "bundle_id", "video_id")),
}


def _bulk(what: str) -> Handler:
    async def handler(call: Call) -> Response:
        action, wanted, dry, reason = await _read_bulk(call, what)
        command, member, role = BULK[what][action]
        if not call.caller.may(role):
            raise Problem("forbidden", f"This needs the role {role}.")
        query, name, _ = LISTS[what]
        found: list[str] = []
        cursor: str | None = None
        truncated = False
        while True:
            page = await call.read(query, limit=500, cursor=cursor, **wanted)
            found += [item[name] for item in page["items"]]
            cursor = page["next"]
            truncated = len(found) > MOST_AT_ONCE or (cursor is not None and len(found) == MOST_AT_ONCE)
            if cursor is None or truncated:
                break
        found = found[:MOST_AT_ONCE]
        if dry:
            return JsonResponse({"count": len(found), "truncated": truncated, "sample": found[:SAMPLE]})
        messages = [message_of(call, {"command": command, member: item, "reason": reason}) for item in found]
        for message in messages:
            await append(call, message)
        answer = {
            "count": len(messages),
            "truncated": truncated,
            "message_ids": [message.message_id for message in messages],
        }
        return JsonResponse(answer, 202)

    return handler


async def _read_bulk(call: Call, what: str) -> tuple[str, dict[str, Any], bool, str | None]:
    try:
        given = msgspec.json.decode(await read_body(call.request))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem("malformed-command", "The body is not JSON.") from None
    known = ("action", "filter", "dry_run", "reason")
    if not isinstance(given, dict) or any(name not in known for name in given):
        raise Problem("malformed-command", f"The body is a JSON object with {', '.join(known)}.")
    action, wanted = given.get("action"), given.get("filter")
    if action not in BULK[what]:
        raise Problem("malformed-command", f"The action is one of {', '.join(BULK[what])}.")
    filters = LISTS[what][2]
    if not isinstance(wanted, dict) or not wanted:
        raise Problem("malformed-command", f"The filter names at least one of {', '.join(filters)}.")
    for name, value in wanted.items():
        if name not in filters:
            raise Problem("malformed-command", f"The filter knows {', '.join(filters)}.")
        if not isinstance(value, str) or "\0" in value:
            raise Problem("malformed-command", f"The filter's {name} is a text.")
    if "country" in wanted:
        wanted = {**wanted, "country": country_code(wanted["country"])}
        if wanted["country"] is None:
            raise Problem("malformed-command", "The filter's country is a code of ISO 3166 alpha-2.")
    dry, reason = given.get("dry_run", False), given.get("reason")
    if not isinstance(dry, bool) or not (reason is None or (isinstance(reason, str) and "\0" not in reason)):
        raise Problem("malformed-command", "dry_run is true or false, and the reason a text.")
    return action, wanted, dry, reason


def _bulk_operation(what: str) -> Operation:
    filters = LISTS[what][2]
    return Operation(
        "POST",
        f"/api/{what}/bulk",
        f"bulk{what.capitalize()}",
        what.capitalize(),
        f"One order for many {what}",
        f"One message for each of the {what} that the filter finds, at most {MOST_AT_ONCE:,}; `dry_run` only counts.",
        "operator",
        _bulk(what),
        {
            200: Answer("What it would be done to.", record(count=NUMBER, truncated={"type": "boolean"}, sample=TEXTS)),
            202: Answer(
                "The orders are journalled.",
                record(count=NUMBER, truncated={"type": "boolean"}, message_ids=TEXTS),
            ),
        },
        body=record(
            optional=["dry_run", "reason"],
            action={"type": "string", "enum": list(BULK[what])},
            filter={
                "type": "object",
                "properties": dict.fromkeys(filters, TEXT),
                "minProperties": 1,
                "additionalProperties": False,
            },
            dry_run={"type": "boolean"},
            reason=REASON,
        ),
        body_example={"action": next(iter(BULK[what])), "filter": {filters[0]: "failed"}, "dry_run": True},
        problems=(408, 413, 422),
    )


def _plain(
    path: str,
    verb: str,
    handler: Handler,
    name: str,
    tag: str,
    summary: str,
    description: str,
    role: str,
    parameters: tuple[Parameter, ...] = (),
) -> Operation:
    return Operation(
        "POST",
        path,
        name,
        tag,
        summary,
        description,
        role,
        handler,
        ANSWERS,
        parameters=(PREFER, *parameters),
        body=record(optional=["reason"], reason=REASON),
        body_example={"reason": "as agreed"},
        problems=(408, 409, 413, 422),
    )


OPERATIONS = (
    *(_bulk_operation(what) for what in BULK),
    _of_videos(
        "reroute",
        "Move a video to another account",
        "TokPortal is asked first where the account may still post it. `bundle_id` names the account to move it to.",
        ("bundle_id",),
    ),
    _of_videos("retry", "Try a video again", "On the account that it failed on."),
    _of_videos("cancel", "Cancel a video", "It is not posted any more, as far as that can be prevented."),
    _of_videos("release", "Release a held video", "Policies go on with it."),
    _of_bundles("pause", "Pause a bundle", "Nothing is placed on it or handed to it."),
    _of_bundles("resume", "Resume a paused bundle", "Policies go on with it."),
    _of_bundles("review", "Ask for a review", "Nothing is placed on it until a person has looked."),
    _of_bundles("reviewed", "A bundle was reviewed", "Lifts the hold, and what asked for it."),
    _of_bundles("warm", "Warm an account", "Starts warming as the policies say how."),
    _of_bundles("reinstate", "Reinstate an account", "Lifts the bans that are known now.", role="admin"),
    _of_campaigns("start", "Start a campaign", "Its videos are placed, as far as that is still possible as drafted."),
    _of_campaigns("pause", "Pause a campaign", "Nothing of it is handed over; what TokPortal holds stays."),
    _of_campaigns("resume", "Resume a campaign", "Videos whose day has passed get another."),
    _of_campaigns("cancel", "Cancel a campaign", "What is not posted yet is cancelled."),
    _of_commands("retry", "Send a command again", "For one whose attempts are used up, or whose outcome is unknown."),
    _of_commands("discard", "Discard a command", "It is not sent."),
    _of_commands("approve", "Approve what a command costs", "For one that waits for it.", role="admin"),
    _plain(
        "/api/countries/{country}/pause",
        "pause",
        _of_country("pause"),
        "pauseCountry",
        "Countries",
        "Pause a country",
        "Nothing is placed, rerouted or handed over there.",
        "operator",
        (PLATFORM,),
    ),
    _plain(
        "/api/countries/{country}/resume",
        "resume",
        _of_country("resume"),
        "resumeCountry",
        "Countries",
        "Resume a country",
        "Ends a pause, and closes the breaker.",
        "operator",
        (PLATFORM,),
    ),
    _plain(
        "/api/pause",
        "pause",
        _of_service("pause"),
        "pauseAll",
        "Service",
        "Pause everything",
        "No command is sent to TokPortal. Webhooks go on.",
        "admin",
    ),
    _plain(
        "/api/resume",
        "resume",
        _of_service("resume"),
        "resumeAll",
        "Service",
        "Resume everything",
        "Commands that wait are judged again.",
        "admin",
    ),
)
