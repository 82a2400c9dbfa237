"""`orchestrator bundles`."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import show
from orchestrator.cli.options import Country, Cursor, Json, Limit, Platform, country_of, given, one_of, platform_of
from orchestrator.cli.reading import found, read

app = typer.Typer(help="Bundles: one order at TokPortal, one social account each.", no_args_is_help=True)


@app.command("list")
def list_(
    country: Country = None,
    platform: Platform = None,
    state: str | None = None,
    postable: Annotated[bool | None, typer.Option("--postable/--not-postable")] = None,
    group: str | None = None,
    username: str | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    json: Json = False,
) -> None:
    """List bundles, all or those with a property."""
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
    page = read(lambda c: list_bundles(c, **filters, limit=limit, cursor=cursor))
    show.page(page, json, "bundle_id", "country", "platform", "state", "postable", "holds", "flags", "username")


@app.command("show")
def show_(bundle_id: str, json: Json = False) -> None:
    """Show one bundle."""
    from orchestrator.api.queries.bundles import bundle_item

    show.item(found(read(lambda c: bundle_item(c, bundle_id)), "bundle", bundle_id), json)
