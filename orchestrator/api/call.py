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
from orchestrator.api.queries.moments import BadMoment, Moment, parse_moment
from orchestrator.api.reader import Reader
from orchestrator.api.runtime import Runtime
from orchestrator.clock import instant_of

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
        """What `query` returns. Raises the problems `unavailable`, and `bad-query` for a bad cursor or moment."""
        return await self._read(self.runtime.read, query, *args, **kwargs)

    async def study(self, query: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for what may take seconds: one such thing at a time."""
        return await self._read(self.runtime.study, query, *args, **kwargs)

    async def search_past(self, query: Callable[..., T], moment: Moment, filters: Mapping[str, Any]) -> T:
        """What `query` returns of the past. With filters, many may have to be looked at to find a few."""
        is_picky = any(value is not None for name, value in filters.items() if name not in ("limit", "cursor"))
        return await (self.study if is_picky else self.read)(query, moment, **filters)

    async def _read(
        self, reader: Reader, query: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        try:
            return await reader(query, *args, **kwargs)
        except BadCursor:
            raise Problem(
                "bad-query",
                "The cursor cannot be read: pass the `next` of an earlier answer of this same list, unchanged.",
                members={"parameter": "cursor"},
            ) from None
        except BadMoment as error:
            raise _bad_moment(error) from None

    @property
    def as_of(self) -> Moment | None:
        """The moment of the past that is asked for; None for now. Raises the problem `bad-query` where it is none."""
        if self.query["as_of"] is None:
            return None
        try:
            return parse_moment(self.query["as_of"], instant_of(self.runtime.services.clock.microseconds()))
        except BadMoment as error:
            raise _bad_moment(error) from None

    def without(self, *names: str) -> dict[str, Any]:
        """The parameters of the query but for these."""
        return {name: value for name, value in self.query.items() if name not in names}


def _bad_moment(error: BadMoment) -> Problem:
    return Problem("bad-query", f"The parameter as_of cannot be answered: {error}.", members={"parameter": "as_of"})


def not_found(what: str) -> Problem:
    return Problem("not-found", f"There is no such {what}.")
