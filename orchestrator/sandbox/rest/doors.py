"""What every request passes: key, rate limit, faults, idempotency, dry run; and what every answer carries."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, Final, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from orchestrator.sandbox.errors import Refusal, TooMany
from orchestrator.sandbox.hooks import Fault
from orchestrator.sandbox.rest.call import Answer, Call, invalid
from orchestrator.sandbox.rest.idempotency import Idempotency
from orchestrator.sandbox.rest.quota import Quota
from orchestrator.sandbox.world import DRY_RUN_PREFIX, World

API_VERSION: Final = "2026-05-25"
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_NOTICE: Final = "Nothing was written and nothing was charged."

Handler = Callable[[Call], Answer | Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the vendor's table: its id, its policy on idempotency keys, and who carries it out."""

    id: str
    method: str
    path: str
    handler: Handler
    keys: Literal["standard", "not-applicable", "reject"]
    public: bool = False


class Doors:
    """Turns a request into a call, and an answer into a response. Writes the world's file before it answers."""

    def __init__(self, world: World, quota: Quota, base_path: str) -> None:
        self._world = world
        self._quota = quota
        self._base_path = base_path

    async def serve(self, operation: Operation, request: Request) -> Response:
        headers = {
            "X-TokPortal-API-Version": API_VERSION,
            "X-TokPortal-API-Stability": "stable",
            "X-TokPortal-Request-ID": _request_id(request),
        }
        # The body is read before anything is looked at: from here to the answer nothing else may happen in the world,
        # but where a handler itself waits.
        body = await request.body()
        world = self._world
        world.run_due()
        fault: Fault | None = None
        try:
            if not operation.public:
                key = self._authenticate(request)
                headers.update(self._quota.take(key))
                fault = world.faults.on_request(request.method, request.url.path.removeprefix(self._base_path))
            else:
                key = ""
            world.save()
            if fault is not None and fault.kind == "error":
                return _failed(fault, headers)
            status, content, replayed = await self._carry_out(operation, request, key, body)
            if replayed:
                headers["Idempotent-Replayed"] = "true"
        except Refusal as refusal:
            if isinstance(refusal, TooMany):
                headers.update(refusal.headers)
            status, content = refusal.status, msgspec.json.encode(refusal.body())
        world.save()
        if fault is not None:
            if fault.kind in {"slow", "timeout"}:
                await world.sleep(fault.seconds)
            if fault.kind in {"drop", "timeout"}:
                return Dropped()
            if fault.kind == "late_error":
                return _failed(fault, headers)
        return Response(content, status, headers, None if status == 204 else "application/json")

    def _authenticate(self, request: Request) -> str:
        key = request.headers.get("X-API-Key")
        parameters = self._world.parameters
        if not key:
            raise Refusal(401, "AUTH_MISSING_KEY", "Send the API key in the header X-API-Key.")
        if key in parameters.revoked_keys:
            raise Refusal(401, "AUTH_REVOKED_KEY", "This API key was revoked.")
        if not re.fullmatch(parameters.key_pattern, key):
            form = f"a key has the form {parameters.key_pattern}"
            raise Refusal(401, "AUTH_INVALID_KEY", f"This is no API key: {form}.")
        return key

    async def _carry_out(
        self, operation: Operation, request: Request, api_key: str, body: bytes
    ) -> tuple[int, bytes, bool]:
        """Status, body, and whether it is the answer of an earlier request under the same key."""
        world = self._world
        key = request.headers.get("Idempotency-Key")
        if key is not None and operation.keys == "reject":
            raise Refusal(
                400,
                "IDEMPOTENCY_KEY_NOT_ALLOWED_FOR_SENSITIVE_RESPONSE",
                "The answer of this operation is never kept for a replay; leave the Idempotency-Key out.",
            )
        dry = request.method in _WRITES and request.headers.get("X-TokPortal-Dry-Run", "").casefold() == "true"
        memory = None
        if key and operation.keys == "standard" and not dry:
            memory = Idempotency(world, api_key, key, request.method, request.url.path, body)
            before = memory.replay()
            if before is not None:
                return *before, True
        call = Call(
            world=world,
            operation=operation.id,
            path={name: str(value) for name, value in request.path_params.items()},
            query=request.query_params,
            body=_decoded(body),
            key=key if memory is not None else None,
            dry=dry,
        )
        if dry:
            with world.rehearsal():
                answer = await _ask(operation.handler, call)
            content = {"dry_run": True, "dry_run_notice": _NOTICE, "credits_charged": 0}
            return answer.status, _encoded(answer, {**content, "credits_would_charge": call.charged}), False
        try:
            _refuse_dry_ids(call)
            answer = await _ask(operation.handler, call)
        except BaseException as error:
            world.undo()
            if memory is not None and isinstance(error, Refusal) and not isinstance(error, TooMany):
                memory.keep(error.status, msgspec.json.encode(error.body()))
            raise
        encoded = _encoded(answer, {})
        if memory is not None:
            memory.keep(answer.status, encoded)
        return answer.status, encoded, False


class Dropped(Response):
    """A connection that breaks before the answer is there: announced, and never sent."""

    def __init__(self) -> None:
        super().__init__(b"", 200)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000000")]})


async def _ask(handler: Handler, call: Call) -> Answer:
    answer = handler(call)
    return await answer if isawaitable(answer) else answer


def _encoded(answer: Answer, beside: dict[str, Any]) -> bytes:
    return b"" if answer.status == 204 else msgspec.json.encode({**answer.body(), **beside})


def _decoded(body: bytes) -> Any:
    """No body is an empty object: what must be there is then found missing."""
    if not body.strip():
        return {}
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise invalid(f"the body is not JSON: {error}") from None


def _refuse_dry_ids(call: Call) -> None:
    named = [*call.path.values()]
    if isinstance(call.body, dict):
        named += [value for name, value in call.body.items() if name.endswith("_id") and isinstance(value, str)]
    for value in named:
        if value.startswith(DRY_RUN_PREFIX):
            raise Refusal(400, "DRY_RUN_ID_IN_LIVE_REQUEST", f"{value} is the id of a dry run; nothing was written.")


def _failed(fault: Fault, headers: dict[str, str]) -> Response:
    error = {"error": {"code": "INTERNAL_ERROR", "message": "Something went wrong.", "details": {}}}
    return Response(msgspec.json.encode(error), fault.status, headers, "application/json")


def _request_id(request: Request) -> str:
    sent = request.headers.get("X-Request-ID", "")
    return sent if _REQUEST_ID.fullmatch(sent) else f"req_{secrets.token_hex(16)}"
