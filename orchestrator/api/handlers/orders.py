"""What people order: each order is a message in the journal, and the engine says whether the rules allow it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import sqlalchemy as sa
from starlette.responses import Response

from orchestrator.api.answers import JsonResponse
from orchestrator.api.call import Call, not_found
from orchestrator.api.giving import (
    ANSWERS,
    LONGEST_TEXT,
    PREFER,
    append,
    check_text,
    give,
    malformed,
    message_of,
    read_members,
    read_order,
)
from orchestrator.api.handlers import brain, messages, videos
from orchestrator.api.handlers.filters import PLATFORM, with_country_code
from orchestrator.api.operations import Answer, Operation, Parameter
from orchestrator.api.parameters import parse
from orchestrator.api.problems import Problem, unavailable
from orchestrator.api.queries.campaigns import is_settled
from orchestrator.api.queries.commands import list_commands
from orchestrator.api.queries.exists import (
    known_bundle,
    known_campaign,
    known_command,
    known_message,
    known_video,
)
from orchestrator.api.queries.messages import list_messages
from orchestrator.api.queries.videos import list_videos
from orchestrator.api.schemas import NUMBER, SOME_TEXT, TEXTS, JsonSchema, record
from orchestrator.domain.countries import country_code

Handler = Callable[[Call], Awaitable[Response]]
Find = Callable[[sa.Connection, str], str | None]

MOST_AT_ONCE = 10_000
MOST_FIELDS = 50
"""Fields of a post for which corrections are asked."""
HANDFUL = 500
"""Orders that are journalled at a time: webhooks want room in its queue, too."""
SAMPLE = 20
REASON = {"type": ["string", "null"], "maxLength": LONGEST_TEXT, "description": "why, for the record"}


def _order(
    what: str,
    verb: str,
    find: Find,
    summary: str,
    description: str,
    *,
    role: str = "operator",
    command: str | None = None,
    extra: tuple[str, ...] = (),
    is_done: Callable[[sa.Connection, str], bool] | None = None,
    read: Callable[[Call], Awaitable[dict[str, Any]]] | None = None,
    body: JsonSchema | None = None,
    body_example: Mapping[str, Any] | None = None,
) -> Operation:
    """One order about one thing, which has to exist. `extra` members of its body are texts; a body that holds more
    is `read` in its own way. Of work that goes on once the order is applied `is_done` tells when it ends."""
    member = f"{what}_id"

    async def handler(call: Call) -> Response:
        given = await (read_order(call, *extra) if read is None else read(call))
        found = await call.read(find, call.path["id"])
        if found is None:
            raise not_found(what)
        wanted = {"command": command or f"{what}.{verb}", member: found, "reason": None, **given}
        ends = (lambda connection: is_done(connection, found)) if is_done is not None else None
        return await give(call, message_of(call, wanted), ends)

    members = {"reason": REASON, **dict.fromkeys(extra, SOME_TEXT)}
    return Operation(
        "POST",
        f"/api/{what}s/{{id}}/{verb}",
        f"{verb}{what.capitalize()}",
        f"{what.capitalize()}s",
        summary,
        description,
        role,
        handler,
        ANSWERS,
        parameters=(PREFER,),
        body=body or record(optional=list(members), **members),
        body_example=dict(body_example or {"reason": "as agreed"}),
        problems=(404, 408, 409, 413, 422),
    )


async def _read_corrections(call: Call) -> dict[str, Any]:
    """Raises the problem `malformed-command`."""
    given = await read_members(call, "reason", "comment", "fields")
    for name in ("reason", "comment"):
        if name in given:
            check_text(name, given[name])
    if not given.get("comment", "").strip():
        raise malformed("The comment says what is to be corrected.")
    fields = given.get("fields", {})
    if not isinstance(fields, dict) or len(fields) > MOST_FIELDS:
        raise malformed(f"The member fields is an object of at most {MOST_FIELDS} texts.")
    for name, value in fields.items():
        check_text(f"field {name[:40]!r}", value)
    return given


def _of_videos(verb: str, summary: str, description: str, extra: tuple[str, ...] = ()) -> Operation:
    return _order("video", verb, known_video, summary, description, extra=extra)


def _of_bundles(verb: str, summary: str, description: str, role: str = "operator") -> Operation:
    return _order("bundle", verb, known_bundle, summary, description, role=role)


def _of_campaigns(
    verb: str, summary: str, description: str, is_done: Callable[[sa.Connection, str], bool] | None = None
) -> Operation:
    return _order("campaign", verb, known_campaign, summary, description, is_done=is_done)


def _of_commands(verb: str, summary: str, description: str, role: str = "operator") -> Operation:
    return _order("command", verb, known_command, summary, description, role=role)


def _of_country(verb: str) -> Handler:
    async def handler(call: Call) -> Response:
        given = await read_order(call)
        code = country_code(call.path["country"])
        if code is None:
            raise malformed("The country is a code of ISO 3166 alpha-2, such as US.")
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
LISTS: dict[str, tuple[Callable[..., dict[str, Any]], str, tuple[Parameter, ...]]] = {
    "videos": (list_videos, "video_id", videos.FILTERS),
    "messages": (list_messages, "message_id", messages.FILTERS),
    "commands": (list_commands, "command_id", brain.COMMAND_FILTERS),
}


def _bulk(what: str) -> Handler:
    async def handler(call: Call) -> Response:
        action, wanted, dry, reason = await _read_bulk(call, what)
        command, member, role = BULK[what][action]
        if not call.caller.may(role):
            raise Problem("forbidden", f"This needs the role {role}.")
        found = await _found(call, what, wanted)
        truncated, found = len(found) > MOST_AT_ONCE, found[:MOST_AT_ONCE]
        if dry:
            return JsonResponse({"count": len(found), "truncated": truncated, "sample": found[:SAMPLE]})
        given = [message_of(call, {"command": command, member: name, "reason": reason}) for name in found]
        for start in range(0, len(given), HANDFUL):
            part = given[start : start + HANDFUL]
            try:
                await asyncio.gather(*(append(call, message) for message in part))
            except Problem:
                raise unavailable(
                    f"Of {len(given):,} orders only some were stored; /api/messages shows which."
                ) from None
        message_ids = [message.message_id for message in given]
        return JsonResponse({"count": len(given), "truncated": truncated, "message_ids": message_ids}, 202)

    return handler


async def _found(call: Call, what: str, wanted: Mapping[str, Any]) -> list[str]:
    """The ids of all that the filter finds, or of more than can be told something at once."""
    query, name, _ = LISTS[what]
    found: list[str] = []
    cursor: str | None = None
    while len(found) <= MOST_AT_ONCE:
        page = await call.read(query, limit=500, cursor=cursor, **wanted)
        found += [item[name] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    return found


async def _read_bulk(call: Call, what: str) -> tuple[str, dict[str, Any], bool, str | None]:
    """Raises the problem `malformed-command`."""
    given = await read_members(call, "action", "filter", "dry_run", "reason")
    action, wanted, dry = given.get("action"), given.get("filter"), given.get("dry_run", False)
    if not isinstance(action, str) or action not in BULK[what]:
        raise malformed(f"The action is one of {', '.join(BULK[what])}.")
    if not isinstance(dry, bool):
        raise malformed("The member dry_run is true or false.")
    if "reason" in given:
        check_text("reason", given["reason"])
    filters = LISTS[what][2]
    names = ", ".join(parameter.name for parameter in filters)
    if not isinstance(wanted, dict) or not all(isinstance(value, str) and value for value in wanted.values()):
        raise malformed(f"The filter is an object of texts; it knows {names}.")
    if not wanted:
        raise malformed(f"The filter names at least one of {names}: nothing is done to everything.")
    try:
        checked = parse(list(wanted.items()), filters)
    except Problem as problem:
        raise malformed(f"The filter cannot be used. {problem.detail}") from None
    return action, with_country_code(checked), dry, given.get("reason")


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
                "properties": {parameter.name: parameter.schema for parameter in filters},
                "minProperties": 1,
                "additionalProperties": False,
            },
            dry_run={"type": ["boolean", "null"]},
            reason=REASON,
        ),
        body_example={
            "action": next(iter(BULK[what])),
            "filter": {filters[0].name: filters[0].example},
            "dry_run": True,
        },
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
    _of_videos(
        "finalize",
        "End the review of a post",
        "While TokPortal shows a post for review, 72 hours long: it is approved. No video of a campaign is needed.",
    ),
    _order(
        "video",
        "corrections",
        known_video,
        "Ask for corrections of a post",
        "While TokPortal shows a post for review, 72 hours long. `comment` says what is to be corrected, `fields` how.",
        read=_read_corrections,
        body=record(
            optional=["fields", "reason"],
            comment={"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT},
            fields={
                "type": ["object", "null"],
                "additionalProperties": {"type": "string", "maxLength": LONGEST_TEXT},
                "maxProperties": MOST_FIELDS,
            },
            reason=REASON,
        ),
        body_example={"comment": "The caption has a typo.", "fields": {"description": "New drop"}},
    ),
    _of_videos(
        "refresh",
        "Read the metrics of a post",
        "They are read one, three and seven days after a post anyhow, where TokPortal can be read.",
    ),
    _of_bundles("pause", "Pause a bundle", "Nothing is placed on it or handed to it."),
    _of_bundles("resume", "Resume a paused bundle", "Policies go on with it."),
    _of_bundles("review", "Ask for a review", "Nothing is placed on it until a person has looked."),
    _of_bundles("reviewed", "A bundle was reviewed", "Lifts the hold, and what asked for it."),
    _of_bundles("warm", "Warm an account", "Starts warming as the policies say how."),
    _of_bundles("reinstate", "Reinstate an account", "Lifts the bans that are known now.", role="admin"),
    _of_campaigns(
        "start",
        "Start a campaign",
        "Its videos are placed, as far as that is still possible as drafted. `Prefer: wait` waits for that, too; where "
        "it takes longer, the campaign is `placing`.",
        is_settled,
    ),
    _of_campaigns("pause", "Pause a campaign", "Nothing of it is handed over; what TokPortal holds stays."),
    _of_campaigns("resume", "Resume a campaign", "Videos whose day has passed get another."),
    _of_campaigns(
        "cancel",
        "Cancel a campaign",
        "What is not posted yet is cancelled; `Prefer: wait` waits for that, too.",
        is_settled,
    ),
    _order(
        "message",
        "retry",
        known_message,
        "Apply a message again",
        "For a message that is quarantined or unrecognised, after a fix. The order is journalled like any message.",
        command="retry",
    ),
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
