"""What the API can do, each thing described once: routes, checks of parameters, roles and the OpenAPI document are
all made from these descriptions."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

if TYPE_CHECKING:
    from orchestrator.api.call import Call

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a request. `schema` is what is checked, as far as `parameters.parse` knows its words."""

    name: str
    description: str
    schema: Schema
    where: str = "query"
    example: Any = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A possible answer; `schema` None for one without a JSON body. `headers`: name and meaning."""

    description: str
    schema: Schema | None = None
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    example: Any = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One method at one address. `role` None: open to everybody. `problems` are the statuses it may answer besides
    those that its role, parameters and reads bring with them. `body` is what its body is as JSON; it may come as any of
    `body_types`. What is not `shown` is no part of the document."""

    method: str
    path: str
    name: str
    tag: str
    summary: str
    description: str
    role: str | None
    handler: Callable[[Call], Awaitable[Response]]
    answers: Mapping[int, Answer]
    parameters: tuple[Parameter, ...] = ()
    body: Schema | None = None
    body_example: Any = None
    body_types: tuple[str, ...] = ("application/json",)
    problems: tuple[int, ...] = ()
    shown: bool = True

    @property
    def path_parameters(self) -> list[str]:
        return re.findall(r"\{(\w+)\}", self.path)

    @property
    def is_strict(self) -> bool:
        """Whether unknown query parameters are refused. Probes and browsers may add what they like."""
        return self.path.startswith("/api/")


LIMIT = Parameter(
    "limit", "How many items at most.", {"type": "integer", "minimum": 1, "maximum": 500, "default": 50}, example=50
)
CURSOR = Parameter("cursor", "Where to go on: the `next` of the answer before.", {"type": "string", "minLength": 1})
PAGING = (LIMIT, CURSOR)
AS_OF = Parameter(
    "as_of",
    "Answers as of a moment of the past: a position of the log (all events up to it), or a time (all that was recorded "
    "until then: as it was known, not as it turned out to be). The answer's `position` is the one that it reflects.",
    {"type": "string", "minLength": 1},
)
