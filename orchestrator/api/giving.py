"""Orders of people: read from a request, journalled, and waited for."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.api.answers import JsonResponse
from orchestrator.api.call import Call
from orchestrator.api.operations import Answer, Parameter
from orchestrator.api.problems import Problem, unavailable
from orchestrator.api.queries.messages import message_item
from orchestrator.api.queries.page import read_position
from orchestrator.api.queries.projections import NAMES
from orchestrator.api.schemas import ref
from orchestrator.dialects.body import parse
from orchestrator.dialects.reading import Unreadable
from orchestrator.journal import Message
from orchestrator.journal.commands import order
from orchestrator.journal.group_commit import JournalFullError, JournalUnavailableError
from orchestrator.journal.inbox import APPLIED, PENDING, REFUSED

LARGEST_BODY = 64 * 1024
LONGEST_TEXT = 2_000
BODY_TIMEOUT = 25.0
APPEND_TIMEOUT = 4.0
LONGEST_WAIT = 60

PREFER = Parameter(
    "Prefer",
    f"`wait=N` holds the answer until the order was applied or N seconds passed, at most {LONGEST_WAIT}.",
    {"type": "string"},
    where="header",
    example="wait=10",
)
ANSWERS = {
    200: Answer(
        "The order's message, applied within the time of `Prefer: wait`. What it changed can be read.",
        ref("Message"),
        headers={"Location": "the order's message", "Preference-Applied": "how long was waited at most"},
    ),
    202: Answer("The order is journalled.", ref("Accepted"), headers={"Location": "the order's message"}),
}


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


async def read_members(call: Call, *known: str) -> dict[str, Any]:
    """The members of the JSON object in the body, none of which is not `known`; none at all where there is no body.
    One that is null counts as missing. Raises the problem `malformed-command`."""
    body = await read_body(call.request)
    if not body.strip():
        return {}
    try:
        members = parse(body)
    except Unreadable as error:
        raise malformed(f"{str(error)[0].upper()}{str(error)[1:]}.") from None
    if any(name not in known for name in members):
        raise malformed(f"The body has members that this order does not know; it knows {', '.join(known)}.")
    return {name: value for name, value in members.items() if value is not None}


async def read_order(call: Call, *known: str) -> dict[str, str]:
    """`reason` and those of the members `known` that the body has. Raises the problem `malformed-command`."""
    members = await read_members(call, "reason", *known)
    for name, value in members.items():
        check_text(name, value)
    return members


def check_text(name: str, value: Any) -> None:
    """Raises the problem `malformed-command`."""
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise malformed(f"The {name} is a text of at most {LONGEST_TEXT:,} characters.")


def malformed(detail: str) -> Problem:
    return Problem("malformed-command", detail)


def message_of(call: Call, command: Mapping[str, Any], *, once: str | None = None) -> Message:
    """What the caller wants done. Two with the same `once` are one message."""
    now = call.runtime.services.clock.microseconds()
    return order(command, endpoint="api", name=call.caller.name, received_at=now, once=once)


async def append(call: Call, message: Message) -> None:
    """Journals the message. Raises the problem `unavailable`."""
    try:
        await call.runtime.services.group_commit.append(message, APPEND_TIMEOUT)
    except (JournalFullError, JournalUnavailableError):
        raise unavailable(
            f"The command may not have been stored. Look for the message {message.message_id} before giving it again."
        ) from None


async def outcome(call: Call, message: Message, seconds: float) -> dict[str, Any] | None:
    """The message once the engine has taken it and the read models show what it did; what is known of it when the
    seconds are over."""
    item, _ = await call.runtime.head.hold(
        lambda: call.read(_outcome, message.message_id),
        lambda found: found[1],
        seconds,
    )
    return item


def _outcome(connection: sa.Connection, message_id: str) -> tuple[dict[str, Any] | None, bool]:
    item = message_item(connection, message_id)
    if item is None or item["status"] == PENDING:
        return item, False
    # Whoever waited for a change looks at it next, and should not find things as they were.
    return item, not item["events"] or read_position(connection, *NAMES) >= item["events"][-1]


async def give(call: Call, message: Message, is_done: Callable[[sa.Connection], bool] | None = None) -> Response:
    """Journals the order; with `Prefer: wait=N` the answer is held until it was applied, and the work that it brings
    `is_done`, or the time is over."""
    await append(call, message)
    headers = {"Location": f"/api/messages/{message.message_id}"}
    seconds = wait_of(call.request.headers.getlist("prefer"))
    if seconds:
        headers["Preference-Applied"] = f"wait={seconds}"
        deadline = time.monotonic() + seconds
        item = await outcome(call, message, seconds)
        if item is not None and item["status"] == APPLIED:
            if is_done is not None:
                await call.runtime.head.hold(lambda: call.read(is_done), bool, deadline - time.monotonic())
            return JsonResponse(item, headers=headers)
        if item is not None and item["status"] != PENDING:
            raise refusal("refused", item, headers)
    return JsonResponse({"message_id": message.message_id}, 202, headers=headers)


def refusal(kind: str, item: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Problem:
    """Why the engine did not do what the message `item` asked for."""
    detail = item["reason"] if item["status"] == REFUSED else "The command could not be carried out."
    return Problem(kind, detail, headers=headers, members={"message_id": item["message_id"]})


def wait_of(preferences: Sequence[str]) -> int:
    """The seconds in `Prefer: wait=N`, at most 60; 0 where it is not asked for or cannot be read (RFC 7240: what is
    not understood is ignored)."""
    found = re.search(r'(?:^|,)\s*wait\s*=\s*"?([0-9]{1,9})"?\s*(?:[,;]|$)', ",".join(preferences), re.IGNORECASE)
    return min(int(found[1]), LONGEST_WAIT) if found else 0
