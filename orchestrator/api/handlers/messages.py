"""The journal: what came, what became of it, and taking it up again after a fix."""

from __future__ import annotations

import asyncio
import re

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.api.answers import JsonResponse
from orchestrator.api.call import Call, not_found
from orchestrator.api.operations import PAGING, Answer, Operation, Parameter
from orchestrator.api.problems import Problem, unavailable
from orchestrator.api.queries.messages import list_messages, message_exists, message_item
from orchestrator.api.schemas import STATUS, listing, record, ref
from orchestrator.journal import Message
from orchestrator.journal.commands import retry_command
from orchestrator.journal.group_commit import JournalFullError, JournalUnavailableError
from orchestrator.journal.inbox import APPLIED, PENDING, REFUSED

LARGEST_BODY = 64 * 1024
BODY_TIMEOUT = 10.0
APPEND_TIMEOUT = 4.0
LONGEST_WAIT = 60


async def list_(call: Call) -> Response:
    return JsonResponse(await call.read(list_messages, **call.query))


async def show(call: Call) -> Response:
    item = await call.read(message_item, call.path["id"])
    if item is None:
        raise not_found("message")
    return JsonResponse(item)


async def retry(call: Call) -> Response:
    reason = read_reason(await read_body(call.request))
    target = call.path["id"]
    if not await call.read(message_exists, target):
        raise not_found("message")
    command = retry_command(
        target,
        reason,
        endpoint="api",
        name=call.caller.name,
        received_at=call.runtime.services.clock.microseconds(),
    )
    return await give(call, command)


async def append(call: Call, message: Message) -> None:
    """Journals the command. Raises the problem `unavailable`."""
    try:
        await call.runtime.services.group_commit.append(message, APPEND_TIMEOUT)
    except (JournalFullError, JournalUnavailableError):
        raise unavailable(
            f"The command may not have been stored. Look for the message {message.message_id} before giving it again."
        ) from None


async def give(call: Call, message: Message) -> Response:
    """Journals the command; with `Prefer: wait=N` the answer is held until it was applied."""
    message_id = message.message_id
    await append(call, message)
    headers = {"Location": f"/api/messages/{message_id}"}
    seconds = wait_of(call.request.headers.getlist("prefer"))
    if seconds:
        headers["Preference-Applied"] = f"wait={seconds}"
        item = await call.runtime.head.hold(
            lambda: call.read(message_item, message_id),
            lambda found: found is not None and found["status"] != PENDING,
            seconds,
        )
        if item is not None and item["status"] == APPLIED:
            return JsonResponse(item, headers=headers)
        if item is not None and item["status"] != PENDING:
            detail = item["reason"] if item["status"] == REFUSED else "The command could not be carried out."
            raise Problem("refused", detail, headers=headers, members={"message_id": message_id})
    return JsonResponse({"message_id": message_id}, 202, headers=headers)


async def read_body(request: Request, largest: int = LARGEST_BODY) -> bytes:
    """The body. Raises the problems `too-large` and `too-slow`."""
    too_large = Problem("too-large", f"The body has at most {largest:,} bytes.")
    announced = request.headers.get("content-length", "0")
    if announced.isascii() and announced.isdigit() and (len(announced) > 9 or int(announced) > largest):
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            async for chunk in request.stream():
                body += chunk
                if len(body) > largest:
                    raise too_large
    except TimeoutError:
        raise Problem("too-slow", "The body did not arrive in time.", headers={"Connection": "close"}) from None
    return bytes(body)


def read_reason(body: bytes) -> str | None:
    """The reason that the body of a command gives, if any. Raises the problem `malformed-command`."""
    if not body.strip():
        return None
    try:
        command = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem("malformed-command", "The body is not JSON.") from None
    if not isinstance(command, dict):
        raise Problem("malformed-command", 'The body is a JSON object such as {"reason": "the parser was fixed"}.')
    unknown = [name for name in command if name != "reason"]
    if unknown:
        raise Problem("malformed-command", "The body has members that this command does not know; it knows reason.")
    reason = command.get("reason")
    if "reason" in command and (not isinstance(reason, str) or "\0" in reason):
        raise Problem("malformed-command", "The reason is a text.")
    return reason


def wait_of(preferences: list[str]) -> int:
    """The seconds in `Prefer: wait=N`, at most 60; 0 where it is not asked for or cannot be read (RFC 7240: what is
    not understood is ignored)."""
    found = re.search(r'(?:^|,)\s*wait\s*=\s*"?([0-9]{1,9})"?\s*(?:[,;]|$)', ",".join(preferences), re.IGNORECASE)
    return min(int(found[1]), LONGEST_WAIT) if found else 0


OPERATIONS = (
    Operation(
        "GET",
        "/api/messages",
        "listMessages",
        "Messages",
        "List messages",
        "The journal, the newest message first, with the first 2,000 characters of each body.",
        "viewer",
        list_,
        {200: Answer("A page of messages.", listing("Message"))},
        parameters=(
            *PAGING,
            Parameter("status", "What became of it.", STATUS, example="quarantined"),
            Parameter("event_id", "The vendor's event id.", {"type": "string"}, example="evt_a03"),
        ),
    ),
    Operation(
        "GET",
        "/api/messages/{id}",
        "getMessage",
        "Messages",
        "One message",
        "The message as it came, and what became of it.",
        "viewer",
        show,
        {200: Answer("The message.", ref("Message"))},
    ),
    Operation(
        "POST",
        "/api/messages/{id}/retry",
        "retryMessage",
        "Messages",
        "Apply a message again",
        "For a message that is quarantined or unrecognised, after a fix. The command is journalled like any message.",
        "operator",
        retry,
        {
            200: Answer(
                "The command's message, applied within the time of `Prefer: wait`.",
                ref("Message"),
                headers={"Location": "the command's message", "Preference-Applied": "how long was waited at most"},
            ),
            202: Answer("The command is journalled.", ref("Accepted"), headers={"Location": "the command's message"}),
        },
        parameters=(
            Parameter(
                "Prefer",
                f"`wait=N` holds the answer until the command was applied or N seconds passed, at most {LONGEST_WAIT}.",
                {"type": "string"},
                where="header",
                example="wait=10",
            ),
        ),
        body=record(optional=["reason"], reason={"type": "string", "description": "why, for the record"}),
        body_example={"reason": "the parser was fixed"},
        problems=(408, 409, 413, 422),
    ),
)
