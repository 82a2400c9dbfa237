"""Options that many commands share, and the checks of what is given for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

LONGEST_REASON = 2_000


def _checked(reason: str | None) -> str | None:
    if reason is not None and len(reason) > LONGEST_REASON:
        raise typer.BadParameter(f"must have at most {LONGEST_REASON:,} characters")
    return reason


Json = Annotated[bool, typer.Option("--json", help="JSON for programs in place of a table.")]
Limit = Annotated[int, typer.Option(min=1, max=500, help="How many at most.")]
Cursor = Annotated[str | None, typer.Option(help="Go on where an earlier list ended.")]
AsOf = Annotated[
    str | None, typer.Option("--as-of", help="As of a moment of the past: a position of the log, or a time (ISO 8601).")
]
Country = Annotated[str | None, typer.Option(help="A country as ISO 3166 alpha-2, such as US.")]
Platform = Annotated[str | None, typer.Option(help="tiktok or instagram.")]
Reason = Annotated[str | None, typer.Option(help="Why, for the record.", callback=_checked)]


def one_of(value: str | None, choices: Iterable[str], option: str) -> str | None:
    """`value`. Raises BadParameter where it is none of `choices`."""
    known = list(choices)
    if value is not None and value not in known:
        raise typer.BadParameter(f"must be one of {', '.join(known)}", param_hint=option)
    return value


def country_of(value: str | None, option: str = "--country") -> str | None:
    """The country as ISO 3166 alpha-2. Raises BadParameter where there is none."""
    from orchestrator.domain.countries import country_code

    code = country_code(value) if value is not None else None
    if value is not None and code is None:
        raise typer.BadParameter("must be a country as ISO 3166 alpha-2, such as US or FR", param_hint=option)
    return code


def platform_of(value: str | None) -> str | None:
    from orchestrator.domain.countries import PLATFORMS

    return one_of(value, sorted(PLATFORMS), "--platform")


def given(**filters: Any) -> dict[str, Any]:
    """The filters that were given."""
    return {name: value for name, value in filters.items() if value is not None}
