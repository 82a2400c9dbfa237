"""`orchestrator history`."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import show
from orchestrator.cli.campaigns import id_of
from orchestrator.cli.options import AsOf, Cursor, Json, Limit, one_of
from orchestrator.cli.reading import found, moment, read


def history(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="bundle, video or campaign")],
    id: Annotated[str, typer.Argument(metavar="ID", help="its id; of a campaign its name will do")],
    as_of: AsOf = None,
    limit: Limit = 500,
    cursor: Cursor = None,
    json: Json = False,
) -> None:
    """Show what happened to a bundle, a video or a campaign, in the order in which it was recorded."""
    from orchestrator.api.queries.histories import bundle_history, campaign_history, video_history

    queries = {"bundle": bundle_history, "video": video_history, "campaign": campaign_history}
    what = str(one_of(kind.removesuffix("s"), queries, "KIND"))
    name = id_of(id) if what == "campaign" else id
    at = moment(as_of)
    page = found(read(lambda c: queries[what](c, name, limit=limit, cursor=cursor, as_of=at)), what, id)
    show.page(page, json, "position", "occurred_at", "event", "reason", "data")
