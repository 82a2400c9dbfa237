"""The commands: what runs and looks after the service, and every group of the others."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator import __version__
from orchestrator.cli import (
    alerts,
    audit,
    backup,
    bundles,
    campaigns,
    commands,
    decisions,
    demo,
    history,
    messages,
    policies,
    projections,
    replay,
    sandbox,
    show,
    simulate,
    videos,
    webhooks,
)
from orchestrator.cli.options import Json
from orchestrator.cli.reading import load_settings

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from orchestrator.settings import Settings

app = typer.Typer(
    name="orchestrator",
    help="Event-sourced orchestrator for video campaigns over many managed social accounts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _configure_logs(settings: Settings) -> None:
    from orchestrator import logs
    from orchestrator.secrets import known_audit_key, stored_secrets

    kept = [*stored_secrets(settings.data_dir), *filter(None, [known_audit_key(settings.data_dir)])]
    logs.configure(str(settings.log_format), [*settings.secrets, *kept])  # type: ignore[arg-type]
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
    demo: Annotated[bool, typer.Option("--demo", help="Sandbox mode: with accounts and a campaign to watch.")] = False,
    summary: Annotated[bool, typer.Option("--summary", help="Show on this terminal how things stand.")] = False,
) -> None:
    """Run the whole service: webhooks, engine, read models, API."""
    from orchestrator import service

    settings = load_settings()
    if demo:
        from orchestrator.demo.beside import begin_beside, prepare

        settings = prepare(settings)
    service.webhook_secrets(settings)
    _configure_logs(settings)
    with ExitStack() as beside:
        if summary and sys.stderr.isatty():
            log = settings.data_dir / "orchestrator.log"
            sys.stderr.write(f"Starting. What the service has to say about its work goes to {log}\n")
            beside.enter_context(_logging_to(log))

        def ready() -> None:
            _greet(settings)
            if demo:
                begin_beside(settings, settings.url)
            if summary:
                beside.enter_context(_summary(settings))

        service.serve(settings, migrating=not no_migrate, demo=demo, ready=ready)


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Has everything that goes to standard error, ours and that of the processes we start, go to a file: the terminal
    is for the summary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    terminal = os.dup(2)
    with path.open("ab") as log:
        os.dup2(log.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


def _summary(settings: Settings) -> AbstractContextManager[None]:
    from orchestrator.web.summary import following

    token = settings.api_tokens[0].token.reveal() if settings.api_tokens else None
    speed = settings.clock.speed if settings.clock is not None else 1.0
    return following(settings.url, mode=str(settings.mode), speed=speed, token=token)


def _greet(settings: Settings) -> None:
    from orchestrator.settings import Mode

    url = settings.url
    plain = {
        Mode.OBSERVE: "Reports are kept, shown and decided about. Commands to TokPortal are held: nothing is sent.",
        Mode.LIVE: "Commands go to TokPortal.",
        Mode.SANDBOX: "This is a sandbox world: a look-alike stands in for TokPortal, and nothing leaves this machine.",
    }[settings.mode]
    logging.getLogger("orchestrator").info("serving. %s", plain, extra={"url": url, "mode": str(settings.mode)})
    if not sys.stderr.isatty():
        return
    sys.stderr.write(
        f"\n  Watch it                  {url}/\n"
        f"  API and its description   {url}/docs\n"
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
    workers.run(name, settings)


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


app.add_typer(bundles.app, name="bundles")
app.add_typer(videos.app, name="videos")
app.add_typer(campaigns.campaigns, name="campaigns")
app.add_typer(campaigns.campaign, name="campaign")
app.command("history")(history.history)
app.command("decisions")(decisions.decisions)
app.command("replay")(replay.replay)
app.command("demo")(demo.demo)
app.add_typer(policies.app, name="policy")
app.add_typer(messages.app, name="messages")
app.add_typer(commands.app, name="commands")
app.add_typer(alerts.app, name="alerts")
app.add_typer(projections.app, name="projections")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(audit.app, name="audit")
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.add_typer(simulate.simulate, name="simulate")
app.command("sandbox")(sandbox.sandbox)
