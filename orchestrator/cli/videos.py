"""`orchestrator videos`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from orchestrator.cli import show
from orchestrator.cli.campaigns import id_of
from orchestrator.cli.options import Country, Cursor, Json, Limit, Platform, country_of, given, one_of, platform_of
from orchestrator.cli.reading import found, read

app = typer.Typer(help="Videos on their way to accounts.", no_args_is_help=True)


@app.command("list")
def list_(
    state: str | None = None,
    country: Country = None,
    platform: Platform = None,
    bundle_id: str | None = None,
    campaign_id: Annotated[str | None, typer.Option(help="A campaign's id or name.")] = None,
    ref: Annotated[str | None, typer.Option(help="What its campaign calls it.")] = None,
    error_code: str | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    json: Json = False,
) -> None:
    """List videos, all or those with a property."""
    from orchestrator.api.queries.videos import list_videos
    from orchestrator.domain.video import STATES

    filters = given(
        state=one_of(state, STATES, "--state"),
        country=country_of(country),
        platform=platform_of(platform),
        bundle_id=bundle_id,
        campaign_id=id_of(campaign_id) if campaign_id is not None else None,
        ref=ref,
        error_code=error_code,
    )
    page = read(lambda c: list_videos(c, **filters, limit=limit, cursor=cursor))
    rows = [{**item, "place": _place(item), "notes": _notes(item)} for item in page["items"]]
    columns = ("video_id", "ref", "state", "place", "bundle_id", "notes")
    show.page(page if json else {**page, "items": rows}, json, *columns)


def _place(item: Mapping[str, Any]) -> str | None:
    return " ".join(item[name] for name in ("platform", "country") if item[name] is not None) or None


def _notes(item: Mapping[str, Any]) -> list[str]:
    return [*item["flags"], *(item[name] for name in ("reason", "post_url") if item[name] is not None)]


@app.command("show")
def show_(video_id: str, json: Json = False) -> None:
    """Show one video with its attempts."""
    from orchestrator.api.queries.videos import video_item

    show.item(found(read(lambda c: video_item(c, video_id)), "video", video_id), json)
