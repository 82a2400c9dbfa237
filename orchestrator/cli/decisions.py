"""`orchestrator decisions`: what was decided, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.padding import Padding
from rich.text import Text

from orchestrator.cli import show
from orchestrator.cli.options import Cursor, Json, Limit, given, one_of
from orchestrator.cli.reading import read


def decisions(
    video_id: Annotated[str | None, typer.Option(help="About this video.")] = None,
    bundle_id: Annotated[str | None, typer.Option(help="About this bundle, or to or from it.")] = None,
    kind: Annotated[str | None, typer.Option(help="warm, place, retry, reroute, wait, stop, hold, …")] = None,
    candidates: Annotated[bool, typer.Option("--candidates", help="Also whom it was chosen from, and why.")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
    json: Json = False,
) -> None:
    """Show what was decided and why, newest first."""
    from orchestrator.api.queries.decisions import list_decisions
    from orchestrator.domain.decisions import OURS

    kinds = sorted({found.decision for found in OURS.values() if found.decision is not None})
    filters = given(video_id=video_id, bundle_id=bundle_id, kind=one_of(kind, kinds, "--kind"))
    page = read(lambda c: list_decisions(c, **filters, limit=limit, cursor=cursor))
    if json:
        show.write_json(page)
        return
    out = show.console()
    if not page["items"]:
        out.print("Nothing found.")
        return
    for item in page["items"]:
        # The reason has a line of its own: in a column beside two ids it would be a few letters wide.
        out.print(_heading(item))
        out.print(Padding(show.cell(item["reason"]), (0, 0, 0, 4), expand=False))
        if candidates:
            _write_candidates(out, item)
    show.more(out, page)


def _heading(item: Mapping[str, Any]) -> Text:
    parts = [show.cell(item["at"]), Text(item["kind"].ljust(7), style="bold")]
    if item["video_id"] is not None:
        parts.append(show.cell(item["video_id"]))
    moved = [name for name in (item["from_bundle"], item["to_bundle"]) if name is not None] or [item["bundle_id"]]
    if moved != [None]:
        parts.append(show.cell(" → ".join(moved)))
    if item["platform"] is not None and item["country"] is not None:
        parts.append(Text(show.safe(f"{item['platform']} in {item['country']}"), style="dim"))
    return Text("  ").join(parts)


def _write_candidates(out: Any, item: Mapping[str, Any]) -> None:
    rows = [
        {"bundle_id": found["bundle_id"], "": "chosen" if found["chosen"] else "", "why": found["why"]}
        for found in sorted(item["candidates"], key=lambda found: not found["chosen"])
    ]
    if rows:
        out.print(Padding(show.table(rows, "bundle_id", "", "why"), (0, 0, 0, 4), expand=False))
    if sum(item["counts"].values()) > len(rows):
        # A plan keeps the best of its candidates only.
        of_all = Text(show.safe(f"of all: {show.cell(item['counts'])}"), style="dim")
        out.print(Padding(of_all, (0, 0, 0, 4), expand=False))
    out.print()
