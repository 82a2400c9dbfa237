"""The OpenAPI document, made from the descriptions of the operations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.api.operations import Answer, Operation, Parameter
from orchestrator.api.problems import MEDIA_TYPE
from orchestrator.api.schemas import EXAMPLES, SCHEMAS, example_of, ref

Document = dict[str, Any]

DESCRIPTION = """\
What the orchestrator knows about bundles, videos and campaigns, what it decided and why, and how to tell it something.

Times are ISO 8601 in UTC. Lists take `limit` and `cursor` and answer `{items, next, position}`; `next` is the cursor \
of the next page. `position` is the position of the event log that an answer reflects. Errors are problem details \
(RFC 9457).

With API tokens configured, every operation but those of health needs `Authorization: Bearer TOKEN`; each names the \
least role that may call it: viewer, operator or admin. Without tokens, only callers on the same machine are answered.\
"""

TAGS = {
    "Bundles": "TokPortal's orders: one social account each.",
    "Videos": "Pieces of content on their way to an account.",
    "Countries": "Bundles and videos at a glance.",
    "Campaigns": "Which videos are wanted where and when.",
    "Decisions": "What was decided, and why.",
    "Commands": "The outbox: what is sent to TokPortal, and whom it alerts.",
    "Policies": "The rules that decide.",
    "Service": "All of it at once.",
    "Messages": "The journal: all that came in, from TokPortal and from people.",
    "The log": "Every event in one order, and the read models that follow it.",
    "Health": "For probes and monitoring.",
    "Description": "This description.",
}

PROBLEMS = {
    400: "The query cannot be answered: an unknown parameter, or a value that is none.",
    401: "The token is missing or not known.",
    403: "The role does not allow it; or, without tokens, the caller is not on this machine.",
    404: "There is no such thing.",
    408: "The body did not arrive in time.",
    409: "The command was refused; `detail` says why.",
    413: "The body is too large.",
    422: "The command, its parameters or the document cannot be read. Nothing was journalled.",
    500: "Something went wrong here. The service's log says more under `request_id`.",
    503: "Not available at the moment; `Retry-After` says when to ask again.",
}


def document(operations: Iterable[Operation], version: str) -> Document:
    """The description of all `operations` that are shown."""
    paths: defaultdict[str, Document] = defaultdict(dict)
    for operation in operations:
        if operation.shown:
            paths[operation.path][operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Campaign orchestrator",
            "version": version,
            "description": DESCRIPTION,
            "license": {"name": "Proprietary", "identifier": "LicenseRef-Proprietary"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": description} for name, description in TAGS.items()],
        "security": [{"token": []}],
        "paths": dict(paths),
        "components": {
            "schemas": {name: _with_example(name, schema) for name, schema in SCHEMAS.items()},
            "responses": {f"Problem{status}": _problem(status, text) for status, text in PROBLEMS.items()},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of ORCHESTRATOR_API_TOKENS.",
                }
            },
        },
    }


def problems_of(operation: Operation) -> list[int]:
    """Every status of a problem that the operation may answer."""
    statuses = set(operation.problems)
    if operation.role is not None:
        statuses |= {401, 403}
    if operation.is_strict:
        statuses |= {400 if operation.method == "GET" else 422, 500, 503}
    if operation.path_parameters:
        statuses.add(404)
    return sorted(statuses - set(operation.answers))


def _operation(operation: Operation) -> Document:
    described: Document = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
    }
    if operation.role is None:
        described["security"] = []
    else:
        described["x-role"] = operation.role
    parameters = [_path_parameter(name) for name in operation.path_parameters]
    parameters += [_parameter(parameter) for parameter in operation.parameters]
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        as_json = {"schema": operation.body, "example": operation.body_example}
        described["requestBody"] = {
            "required": "required" in operation.body and bool(operation.body["required"]),
            "content": {
                name: as_json if name == "application/json" else {"schema": {"type": "string"}}
                for name in operation.body_types
            },
        }
    described["responses"] = {
        **{str(status): _answer(answer) for status, answer in operation.answers.items()},
        **{str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in problems_of(operation)},
    }
    return described


def _path_parameter(name: str) -> Document:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": "Its id, with every character that has a meaning in addresses percent-encoded.",
        "schema": {"type": "string", "minLength": 1},
    }


def _parameter(parameter: Parameter) -> Document:
    described: Document = {
        "name": parameter.name,
        "in": parameter.where,
        "required": False,
        "description": parameter.description,
        "schema": dict(parameter.schema),
    }
    if parameter.schema["type"] == "array":
        described |= {"style": "form", "explode": False}
    if parameter.example is not None:
        described["example"] = parameter.example
    return described


def _answer(answer: Answer) -> Document:
    described: Document = {"description": answer.description}
    if answer.headers:
        described["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in answer.headers.items()
        }
    if answer.schema is not None:
        content: Document = {"schema": dict(answer.schema)}
        example = answer.example if answer.example is not None else example_of(answer.schema)
        if example is not None:
            content["example"] = example
        described["content"] = {answer.media_type: content}
    return described


def _problem(status: int, description: str) -> Document:
    return {"description": description, "content": {MEDIA_TYPE: {"schema": ref("Problem")}}}


def _with_example(name: str, schema: Mapping[str, Any]) -> Document:
    return {**schema, "examples": [EXAMPLES[name]]} if name in EXAMPLES else dict(schema)
