"""`orchestrator commands`: the outbox."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from orchestrator.cli import show
from orchestrator.cli.giving import give
from orchestrator.cli.options import Cursor, Json, Limit, Reason, given, one_of
from orchestrator.cli.reading import found, read

app = typer.Typer(help="The outbox: commands to TokPortal, and alerts.", no_args_is_help=True)


@app.command("list")
def list_(
    status: Annotated[str | None, typer.Option(help="How far it got: held, dead, unknown, …")] = None,
    kind: Annotated[str | None, typer.Option(help="What it does: configure_video, start_warming, alert, …")] = None,
    bundle_id: str | None = None,
    video_id: str | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    json: Json = False,
) -> None:
    """List commands and alerts, newest first, with what they cost and why they wait."""
    from orchestrator.api.queries.commands import list_commands
    from orchestrator.outbox.outbox import KINDS, STATUSES

    filters = given(
        status=one_of(status, STATUSES, "--status"),
        kind=one_of(kind, KINDS, "--kind"),
        bundle_id=bundle_id,
        video_id=video_id,
    )
    page = read(lambda c: list_commands(c, **filters, limit=limit, cursor=cursor))
    rows = [{**item, "notes": _notes(item)} for item in page["items"]]
    columns = ("command_id", "kind", "status", "bundle_id", "notes")
    show.page(page if json else {**page, "items": rows}, json, *columns)


def _notes(item: Mapping[str, Any]) -> list[str]:
    """Why it waits or what went wrong with it; of an alert what it says."""
    # Of an alert it is what it says; what became of it is its status.
    words = item["body"].get("text") or item["reason"] or item["last_error"]
    price, attempts = item["price"], item["attempts"]
    return [
        *([words] if words else []),
        *([f"{price:,} credit{'s' if price != 1 else ''}"] if price else []),
        *([f"{attempts} attempts"] if attempts > 1 else []),
    ]


@app.command()
def retry(command_id: str, reason: Reason = None, json: Json = False) -> None:
    """Send a command again whose attempts are used up, or whose outcome is unknown."""
    _settle("retry", command_id, reason, json, "The command will be sent again.")


@app.command()
def discard(command_id: str, reason: Reason = None, json: Json = False) -> None:
    """Discard a command: it is not sent."""
    _settle("discard", command_id, reason, json, "The command is discarded.")


@app.command()
def approve(command_id: str, reason: Reason = None, json: Json = False) -> None:
    """Approve what a held command costs."""
    _settle("approve", command_id, reason, json, "The command is approved.")


def _settle(verb: str, command_id: str, reason: str | None, json: bool, done: str) -> None:
    from orchestrator.api.queries.exists import known_command

    found(read(lambda c: known_command(c, command_id)), "command", command_id)
    order = {"command": f"command.{verb}", "command_id": command_id, "reason": reason}
    show.outcome(give(order), json, done)
