"""`orchestrator videos`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from orchestrator.cli import show
from orchestrator.cli.campaigns import id_of
from orchestrator.cli.giving import give
from orchestrator.cli.options import (
    AsOf,
    Country,
    Cursor,
    Json,
    Limit,
    Platform,
    Reason,
    country_of,
    given,
    one_of,
    platform_of,
)
from orchestrator.cli.reading import found, moment, read

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
    as_of: AsOf = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    json: Json = False,
) -> None:
    """List videos, all or those with a property."""
    from orchestrator.api.queries import as_of as past
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
    at = moment(as_of)
    paging: dict[str, Any] = {"limit": limit, "cursor": cursor}
    if at is None:
        page = read(lambda c: list_videos(c, **filters, **paging))
    else:
        page = read(lambda c: past.list_videos(c, at, **filters, **paging))
    rows = [{**item, "place": _place(item), "notes": _notes(item)} for item in page["items"]]
    columns = ("video_id", "ref", "state", "place", "bundle_id", "notes")
    show.page(page if json else {**page, "items": rows}, json, *columns)


def _place(item: Mapping[str, Any]) -> str | None:
    return " ".join(item[name] for name in ("platform", "country") if item[name] is not None) or None


def _notes(item: Mapping[str, Any]) -> list[str]:
    return [*item["flags"], *(item[name] for name in ("reason", "post_url") if item[name] is not None)]


@app.command("show")
def show_(video_id: str, as_of: AsOf = None, json: Json = False) -> None:
    """Show one video with its attempts."""
    from orchestrator.api.queries import as_of as past
    from orchestrator.api.queries.videos import video_item

    at = moment(as_of)
    item = read(lambda c: video_item(c, video_id) if at is None else past.video_item(c, at, video_id))
    show.item(found(item, "video", video_id), json)


@app.command()
def finalize(video_id: str, reason: Reason = None, json: Json = False) -> None:
    """End the review of a post while TokPortal shows it: it is approved."""
    _order("finalize", video_id, {"reason": reason}, json, "TokPortal is told that the post is final.")


@app.command()
def corrections(
    video_id: str,
    comment: Annotated[str, typer.Option(help="What is to be corrected.")],
    field: Annotated[list[str] | None, typer.Option(help="NAME=VALUE: what of the post is to be how.")] = None,
    reason: Reason = None,
    json: Json = False,
) -> None:
    """Ask for corrections of a post while TokPortal shows it for review."""
    if not comment.strip():
        raise typer.BadParameter("say what is to be corrected", param_hint="--comment")
    fields = dict(_field(text) for text in field or ())
    wanted = {"comment": comment, "fields": fields, "reason": reason}
    _order("corrections", video_id, wanted, json, "TokPortal is asked for the corrections.")


@app.command()
def refresh(video_id: str, reason: Reason = None, json: Json = False) -> None:
    """Read the metrics of a post now."""
    _order("refresh", video_id, {"reason": reason}, json, "TokPortal is asked how the post does.")


def _field(text: str) -> tuple[str, str]:
    name, is_pair, value = text.partition("=")
    if not is_pair or not name:
        raise typer.BadParameter(f"{text!r} is no NAME=VALUE", param_hint="--field")
    return name, value


def _order(verb: str, video_id: str, more: Mapping[str, Any], json: bool, done: str) -> None:
    from orchestrator.api.queries.exists import known_video

    name = found(read(lambda c: known_video(c, video_id)), "video", video_id)
    show.outcome(give({"command": f"video.{verb}", "video_id": name, **more}), json, done)
