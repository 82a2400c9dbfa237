"""One request, once it is known who asks and for what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from starlette.requests import Request

from orchestrator.api.auth import Caller
from orchestrator.api.cursors import BadCursor
from orchestrator.api.problems import Problem
from orchestrator.api.runtime import Runtime

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """`query` holds every parameter of the operation, `path` the decoded parts of the address."""

    request: Request
    runtime: Runtime
    caller: Caller
    query: Mapping[str, Any]
    path: Mapping[str, str]

    async def read(self, query: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `query` returns. Raises the problems `unavailable`, and `bad-query` for a bad cursor."""
        try:
            return await self.runtime.read(query, *args, **kwargs)
        except BadCursor:
            raise Problem(
                "bad-query",
                "The cursor cannot be read: pass the `next` of an earlier answer of this same list, unchanged.",
                members={"parameter": "cursor"},
            ) from None


def not_found(what: str) -> Problem:
    return Problem("not-found", f"There is no such {what}.")
