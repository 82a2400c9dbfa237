"""Decisions, the outbox, and the policies in force."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from orchestrator.api.answers import JsonResponse
from orchestrator.api.call import Call, not_found
from orchestrator.api.giving import read_body
from orchestrator.api.handlers.campaigns import listed
from orchestrator.api.operations import PAGING, Answer, Operation, Parameter
from orchestrator.api.problems import Problem
from orchestrator.api.queries.commands import command_item, list_commands
from orchestrator.api.queries.decisions import list_decisions
from orchestrator.api.queries.policies import policies_in_force
from orchestrator.api.schemas import DECISIONS, TEXT, listing, record, ref
from orchestrator.documents import Refused
from orchestrator.outbox.outbox import KINDS, STATUSES
from orchestrator.policies.schema import LARGEST, parse

COMMAND_FILTERS = (
    Parameter("status", "How far it got.", {"type": "string", "enum": list(STATUSES)}, example="held"),
    Parameter("kind", "What it does.", {"type": "string", "enum": list(KINDS)}),
    Parameter("bundle_id", "For this bundle.", {"type": "string"}),
    Parameter("video_id", "For this video.", {"type": "string"}),
)


async def decisions(call: Call) -> Response:
    return JsonResponse(await call.read(list_decisions, **call.query))


async def commands(call: Call) -> Response:
    return JsonResponse(await call.read(list_commands, **call.query))


async def command(call: Call) -> Response:
    item = await call.read(command_item, call.path["id"])
    if item is None:
        raise not_found("command")
    return JsonResponse(item)


async def policies(call: Call) -> Response:
    return JsonResponse(await call.read(policies_in_force))


async def check(call: Call) -> Response:
    body = await read_body(call.request, LARGEST)
    return JsonResponse(await call.runtime.study.compute(lambda: _checked(body)))


def _checked(body: bytes) -> dict[str, Any]:
    try:
        found = parse(body.decode())
    except UnicodeDecodeError:
        raise Problem("malformed-document", "The document is not UTF-8.") from None
    except Refused as error:
        return {"valid": False, "errors": [listed(p) for p in error.problems], "warnings": []}
    warnings = [listed(problem) for problem in found.warnings]
    return {"valid": True, "sha256": found.sha256, "errors": [], "warnings": warnings}


FINDINGS = {"type": "array", "items": ref("Finding")}

OPERATIONS = (
    Operation(
        "GET",
        "/api/decisions",
        "listDecisions",
        "Decisions",
        "List decisions",
        "What was decided, the newest first: why, by which policies, and what was wrong with everybody passed over.",
        "viewer",
        decisions,
        {200: Answer("A page of decisions.", listing("Decision"))},
        parameters=(
            *PAGING,
            Parameter("video_id", "About this video.", {"type": "string"}),
            Parameter("bundle_id", "About this bundle, or to or from it.", {"type": "string"}, example="bdl_us_1"),
            Parameter("kind", "The kind of decision.", {"type": "string", "enum": DECISIONS}, example="reroute"),
        ),
    ),
    Operation(
        "GET",
        "/api/commands",
        "listCommands",
        "Commands",
        "List commands",
        "The outbox: commands to TokPortal and alerts, the newest first.",
        "viewer",
        commands,
        {200: Answer("A page of commands.", listing("Command"))},
        parameters=(*PAGING, *COMMAND_FILTERS),
    ),
    Operation(
        "GET",
        "/api/commands/{id}",
        "getCommand",
        "Commands",
        "One command",
        "What it says, and how far it got.",
        "viewer",
        command,
        {200: Answer("The command.", ref("Command"))},
    ),
    Operation(
        "GET",
        "/api/policies",
        "getPolicies",
        "Policies",
        "The policies in force",
        "Their text and version, since when they are in force, and what to know of them.",
        "viewer",
        policies,
        {200: Answer("The policies.", ref("Policies"))},
    ),
    Operation(
        "POST",
        "/api/policies/check",
        "checkPolicies",
        "Policies",
        "Check policies",
        "What is wrong with a policies file, and what would not work as it may seem. Nothing is changed.",
        "viewer",
        check,
        {
            200: Answer(
                "What was found.",
                record(optional=["sha256"], valid={"type": "boolean"}, sha256=TEXT, errors=FINDINGS, warnings=FINDINGS),
            )
        },
        body={"type": "object"},
        body_example={"version": 1, "defaults": {"posting": {"per_day": 2}}},
        body_types=("application/json", "application/yaml"),
        problems=(408, 413, 422),
    ),
)
