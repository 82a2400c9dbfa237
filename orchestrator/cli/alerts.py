"""`orchestrator alerts`: whether people are heard from."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import show
from orchestrator.cli.documents import read_text
from orchestrator.cli.explain import DocumentError
from orchestrator.cli.options import Json
from orchestrator.cli.reading import NotFoundError, load_settings

app = typer.Typer(help="Alerts: what people are told, and how.", no_args_is_help=True)


@app.callback()
def _alerts() -> None:
    """Keeps `test` a command of its own while it is the only one."""


@app.command()
def test(
    channel: Annotated[list[str] | None, typer.Option(help="Only this channel; may be given several times.")] = None,
    json: Json = False,
) -> None:
    """Send a test message through each channel of policies.yaml, and say what became of it."""
    from orchestrator.alerts import trial
    from orchestrator.briefing import POLICIES
    from orchestrator.documents import Refused
    from orchestrator.policies.schema import LARGEST, parse

    settings = load_settings()
    path = settings.config_dir / POLICIES
    try:
        channels = parse(read_text(path, LARGEST) if path.exists() else "").channels
    except Refused as refused:
        raise DocumentError(path, refused.problems) from None
    for name in channel or ():
        if name not in channels:
            raise NotFoundError(f"there is no channel {name!r} in {path}")
    chosen = {name: url for name, url in channels.items() if not channel or name in channel}
    with show.working("Sending"):
        found = trial.send(settings, chosen)
    if json:
        show.write_json({"channels": found})
    elif found:
        show.console().print(show.table(found, "channel", "url", "result", "reason"))
    else:
        show.say(f"{path} has no channels.")
    if any(row["result"] != "sent" for row in found):
        raise typer.Exit(1)
