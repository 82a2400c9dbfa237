"""The commands."""

from __future__ import annotations

import errno
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator import __version__
from orchestrator.cli import show
from orchestrator.settings import Mode, Settings, SettingsError

app = typer.Typer(
    name="orchestrator",
    help="Event-sourced orchestrator for video campaigns over many managed social accounts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="JSON for programs in place of a table.")]
Limit = Annotated[int, typer.Option(min=1, max=500, help="How many at most.")]
Cursor = Annotated[str | None, typer.Option(help="Go on where an earlier list ended.")]


class NotFoundError(Exception):
    """What was asked for does not exist; the text is one sentence."""


def explain(error: Exception) -> str | None:
    """One sentence for an error that a person can mend; None for one that is ours."""
    from alembic.util import CommandError
    from sqlalchemy.exc import SQLAlchemyError

    from orchestrator.api.cursors import BadCursor
    from orchestrator.database.migrate import SchemaError
    from orchestrator.secrets import SecretError
    from orchestrator.simulate import SimulateError
    from orchestrator.webhooks.endpoints import EndpointsError
    from orchestrator.world import OtherWorldError

    if isinstance(error, typer.TyperException):
        usage = getattr(error, "format_message", None)
        return str(usage() if usage is not None else error)
    if isinstance(
        error,
        SettingsError | SecretError | SchemaError | OtherWorldError | EndpointsError | SimulateError | NotFoundError,
    ):
        return str(error)
    if isinstance(error, CommandError):
        return f"the schema cannot be moved there: {error}"
    if isinstance(error, BadCursor):
        return "--cursor is not one that this list gave"
    if isinstance(error, SQLAlchemyError):
        cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        return f"the database cannot be used: {cause}"
    if isinstance(error, OSError):
        if error.errno == errno.EADDRINUSE:
            return "the address is already in use: is the service running? Set ORCHESTRATOR_PORT to use another port"
        return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
    return None


def load_settings() -> Settings:
    return Settings.load(os.environ, Path.cwd())


def _configure_logs(settings: Settings) -> None:
    from orchestrator import logs
    from orchestrator.secrets import stored_secrets

    logs.configure(str(settings.log_format), [*settings.secrets, *stored_secrets(settings.data_dir)])  # type: ignore[arg-type]
    for warning in settings.warnings:
        logging.getLogger("orchestrator").warning(warning)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"orchestrator {__version__}")
        raise typer.Exit


@app.command()
def serve(
    no_migrate: Annotated[bool, typer.Option("--no-migrate", help="Leave the schema as it is.")] = False,
) -> None:
    """Run the whole service: webhooks, engine, read models, API."""
    from orchestrator import service

    settings = load_settings()
    service.webhook_secrets(settings)
    _configure_logs(settings)
    service.serve(settings, migrating=not no_migrate, ready=lambda: _greet(settings))


def _greet(settings: Settings) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{host}:{settings.port}"
    plain = {
        Mode.OBSERVE: "Everything that TokPortal reports is kept and shown. Nothing is sent to TokPortal.",
        Mode.LIVE: "This version sends nothing to TokPortal yet: it keeps and shows what TokPortal reports.",
        Mode.SANDBOX: "This is a sandbox world: no TokPortal account is involved, and nothing leaves this machine.",
    }[settings.mode]
    logging.getLogger("orchestrator").info("serving. %s", plain, extra={"url": url, "mode": str(settings.mode)})
    if not sys.stderr.isatty():
        return
    sys.stderr.write(
        f"\n  API and its description   {url}/docs\n"
        f"  Webhooks are taken at     {url}/webhooks/tokportal\n"
        f"  Try it                    orchestrator simulate all --url {url}/webhooks/tokportal\n"
        f"  Stop                      Ctrl-C\n\n"
    )


@app.command(hidden=True)
def worker(name: str) -> None:
    """One of the processes behind `serve`."""
    from orchestrator import worker as workers

    settings = load_settings()
    _configure_logs(settings)
    if name not in workers.CONNECTIONS:
        raise typer.BadParameter(f"must be one of {', '.join(workers.CONNECTIONS)}", param_hint="NAME")
    workers.run(name, settings.database_url.reveal())


@app.command()
def doctor(json: Json = False) -> None:
    """Show every setting as it applies, and what is wrong."""
    from orchestrator import doctor as examination

    report = examination.report(load_settings())
    show.doctor(report, json)
    if not report.is_healthy:
        raise typer.Exit(1)


@app.command()
def migrate(
    revision: Annotated[str, typer.Argument(help="The schema to move to: `head`, `base`, or a revision.")] = "head",
) -> None:
    """Move the database's schema, up by default."""
    from orchestrator.database import migrate as move

    typer.echo(f"the schema is at {move(load_settings().database_url.reveal(), revision)}")


def _read(query: Any) -> Any:
    """The answer of `query`, which is given a connection to the database."""
    from orchestrator.database import Database
    from orchestrator.database.connection import parse_url
    from orchestrator.database.migrate import require_head

    url = load_settings().database_url.reveal()
    parsed = parse_url(url)
    if parsed.drivername == "sqlite" and not Path(str(parsed.database)).exists():
        raise NotFoundError(
            f"there is no database yet at {parsed.database}: start the service, or run orchestrator migrate"
        )
    database = Database(url, connections=1, name="orchestrator-cli")
    try:
        require_head(database)
        with database.read() as connection:
            return query(connection)
    finally:
        database.close()


def _found(item: Any, what: str, name: str) -> Any:
    if item is None:
        raise NotFoundError(f"there is no {what} {name!r}")
    return item


bundles = typer.Typer(help="Bundles: one order at TokPortal, one social account each.", no_args_is_help=True)
videos = typer.Typer(help="Videos on their way to accounts.", no_args_is_help=True)
messages = typer.Typer(help="The journal: everything that came in, and what became of it.", no_args_is_help=True)
projections = typer.Typer(help="Read models and how far they are.", no_args_is_help=True)
app.add_typer(bundles, name="bundles")
app.add_typer(videos, name="videos")
app.add_typer(messages, name="messages")
app.add_typer(projections, name="projections")


@bundles.command("list")
def list_bundles(
    country: str | None = None,
    platform: str | None = None,
    state: str | None = None,
    postable: Annotated[bool | None, typer.Option("--postable/--not-postable")] = None,
    group: str | None = None,
    username: str | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    json: Json = False,
) -> None:
    """List bundles, all or those with a property."""
    from orchestrator.api.queries.bundles import list_bundles as query

    filters = {
        "country": country.upper() if country else None,
        "platform": platform,
        "state": state,
        "postable": postable,
        "group": group,
        "username": username,
    }
    page = _read(lambda c: query(c, **_given(filters), limit=limit, cursor=cursor))
    columns = ("bundle_id", "country", "platform", "state", "warmed", "postable", "holds", "flags", "username")
    show.page(page, json, *columns)


@bundles.command("show")
def show_bundle(bundle_id: str, json: Json = False) -> None:
    """Show one bundle."""
    from orchestrator.api.queries.bundles import bundle_item

    show.item(_found(_read(lambda c: bundle_item(c, bundle_id)), "bundle", bundle_id), json)


@videos.command("list")
def list_videos(
    state: str | None = None,
    country: str | None = None,
    platform: str | None = None,
    bundle_id: str | None = None,
    error_code: str | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    json: Json = False,
) -> None:
    """List videos, all or those with a property."""
    from orchestrator.api.queries.videos import list_videos as query

    filters = {
        "state": state,
        "country": country.upper() if country else None,
        "platform": platform,
        "bundle_id": bundle_id,
        "error_code": error_code,
    }
    page = _read(lambda c: query(c, **_given(filters), limit=limit, cursor=cursor))
    show.page(page, json, "video_id", "state", "bundle_id", "country", "platform", "post_url", "flags")


@videos.command("show")
def show_video(video_id: str, json: Json = False) -> None:
    """Show one video with its attempts."""
    from orchestrator.api.queries.videos import video_item

    show.item(_found(_read(lambda c: video_item(c, video_id)), "video", video_id), json)


@app.command()
def history(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="bundle or video")],
    id: Annotated[str, typer.Argument(metavar="ID")],
    limit: Limit = 500,
    cursor: Cursor = None,
    json: Json = False,
) -> None:
    """Show what happened to a bundle or a video, in the order in which it was recorded."""
    from orchestrator.api.queries.histories import bundle_history, video_history

    queries = {"bundle": bundle_history, "video": video_history}
    query = queries.get(kind.removesuffix("s"))
    if query is None:
        raise typer.BadParameter(f"must be one of {', '.join(queries)}", param_hint="KIND")
    page = _found(_read(lambda c: query(c, id, limit=limit, cursor=cursor)), kind.removesuffix("s"), id)
    show.page(page, json, "position", "occurred_at", "event", "recorded_at", "data")


@messages.command("list")
def list_messages(
    status: str | None = None,
    event_id: str | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    json: Json = False,
) -> None:
    """List messages, newest first."""
    from orchestrator.api.queries.messages import list_messages as query
    from orchestrator.journal.inbox import STATUSES

    if status is not None and status not in STATUSES:
        raise typer.BadParameter(f"must be one of {', '.join(STATUSES)}", param_hint="--status")
    page = _read(lambda c: query(c, **_given({"status": status, "event_id": event_id}), limit=limit, cursor=cursor))
    show.page(page, json, "message_id", "received_at", "kind", "event_id", "status", "deliveries", "reason")


@messages.command("show")
def show_message(message_id: str, json: Json = False) -> None:
    """Show one message with its body."""
    from orchestrator.api.queries.messages import message_item

    show.item(_found(_read(lambda c: message_item(c, message_id)), "message", message_id), json)


@messages.command("retry")
def retry_message(message_id: str, reason: str | None = None, json: Json = False) -> None:
    """Have a quarantined or unrecognised message applied again. The running engine takes the command up."""
    from getpass import getuser

    from orchestrator.api.queries.messages import message_exists
    from orchestrator.database import Database
    from orchestrator.journal import Journal
    from orchestrator.journal.commands import retry_command
    from orchestrator.world import clock_of

    if not _read(lambda c: message_exists(c, message_id)):
        raise NotFoundError(f"there is no message {message_id!r}")
    settings = load_settings()
    database = Database(settings.database_url.reveal(), connections=1, name="orchestrator-cli")
    try:
        now = clock_of(database).microseconds()
        command = retry_command(message_id, reason, endpoint="cli", name=getuser(), received_at=now)
        Journal(database).append([command])
    finally:
        database.close()
    show.item({"message_id": command.message_id}, json)


@projections.command("list")
def list_projections(json: Json = False) -> None:
    """List the read models with their position in the log."""
    from orchestrator.api.queries.projections import list_projections as query

    show.page(_read(lambda c: query(c)), json, "name", "position", "head", "lag", "state")


def _given(filters: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in filters.items() if value is not None}


from orchestrator.cli.simulate import simulate  # noqa: E402

app.add_typer(simulate, name="simulate")
