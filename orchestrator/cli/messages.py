"""`orchestrator messages`."""

from __future__ import annotations

import typer

from orchestrator.cli import show
from orchestrator.cli.giving import give
from orchestrator.cli.options import Cursor, Json, Limit, Reason, given, one_of
from orchestrator.cli.reading import found, read

app = typer.Typer(help="The journal: everything that came in, and what became of it.", no_args_is_help=True)


@app.command("list")
def list_(
    status: str | None = None,
    event_id: str | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    json: Json = False,
) -> None:
    """List messages, newest first."""
    from orchestrator.api.queries.messages import list_messages
    from orchestrator.journal.inbox import STATUSES

    filters = given(status=one_of(status, STATUSES, "--status"), event_id=event_id)
    page = read(lambda c: list_messages(c, **filters, limit=limit, cursor=cursor))
    show.page(page, json, "message_id", "received_at", "kind", "event_id", "status", "deliveries", "reason")


@app.command("show")
def show_(message_id: str, json: Json = False) -> None:
    """Show one message with its body."""
    from orchestrator.api.queries.messages import message_item

    show.item(found(read(lambda c: message_item(c, message_id)), "message", message_id), json)


@app.command()
def retry(message_id: str, reason: Reason = None, json: Json = False) -> None:
    """Have a quarantined or unrecognised message applied again."""
    from orchestrator.api.queries.exists import known_message
    from orchestrator.api.queries.messages import message_item
    from orchestrator.journal.inbox import APPLIED, QUARANTINED, TESTED, UNRECOGNISED

    found(read(lambda c: known_message(c, message_id)), "message", message_id)
    order = {"command": "retry", "message_id": message_id, "reason": reason}
    outcome = give(order)
    if outcome.note is not None:
        show.outcome(outcome, json, "")
        return
    # The order was carried out; what it was for may have failed once more.
    target = found(read(lambda c: message_item(c, message_id)), "message", message_id)
    status = target["status"]
    if json:
        show.write_json({**show.told(outcome), "status": status, "reason": target["reason"]})
    elif status in (APPLIED, TESTED):
        show.outcome(outcome, json, "The message was applied again.")
    else:
        still = "still " if status in (QUARANTINED, UNRECOGNISED) else "in "
        show.say(f"The message is {still}{status}: {target['reason']}")
    if status not in (APPLIED, TESTED):
        raise typer.Exit(1)
