"""`orchestrator bundles`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from orchestrator.cli import show
from orchestrator.cli.options import (
    AsOf,
    Country,
    Cursor,
    Json,
    Limit,
    Platform,
    country_of,
    given,
    one_of,
    platform_of,
)
from orchestrator.cli.reading import found, moment, read

app = typer.Typer(help="Bundles: one order at TokPortal, one social account each.", no_args_is_help=True)


@app.command("list")
def list_(
    country: Country = None,
    platform: Platform = None,
    state: str | None = None,
    postable: Annotated[bool | None, typer.Option("--postable/--not-postable")] = None,
    group: str | None = None,
    username: str | None = None,
    as_of: AsOf = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    json: Json = False,
) -> None:
    """List bundles, all or those with a property."""
    from orchestrator.api.queries import as_of as past
    from orchestrator.api.queries.bundles import list_bundles
    from orchestrator.domain.bundle import STATES

    filters = given(
        country=country_of(country),
        platform=platform_of(platform),
        state=one_of(state, STATES, "--state"),
        postable=postable,
        group=group,
        username=username,
    )
    at = moment(as_of)
    paging: dict[str, Any] = {"limit": limit, "cursor": cursor}
    if at is None:
        page = read(lambda c: list_bundles(c, **filters, **paging))
    else:
        page = read(lambda c: past.list_bundles(c, at, **filters, **paging))
    show.page(page, json, "bundle_id", "country", "platform", "state", "postable", "holds", "flags", "username")


@app.command("show")
def show_(bundle_id: str, as_of: AsOf = None, json: Json = False) -> None:
    """Show one bundle."""
    from orchestrator.api.queries import as_of as past
    from orchestrator.api.queries.bundles import bundle_item

    at = moment(as_of)
    item = read(lambda c: bundle_item(c, bundle_id) if at is None else past.bundle_item(c, at, bundle_id))
    show.item(found(item, "bundle", bundle_id), json)
