"""`orchestrator backup` and `orchestrator restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import show
from orchestrator.cli.options import Json
from orchestrator.cli.reading import load_settings, opened


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; must not exist.")], json: Json = False
) -> None:
    """Write one moment of the whole database into a file, while the service runs.

    Settings, config and secrets are not in it.
    """
    from orchestrator import backup as backups
    from orchestrator.cli.progress import bar

    url = load_settings().database_url.reveal()
    with bar("backing up") as progress:
        mark = backups.backup(url, file, progress)
    if json:
        show.write_json({"file": str(file), "made_at": mark.made_at, "position": mark.position, "batch": mark.batch})
    else:
        size = file.stat().st_size / 1024 / 1024
        show.say(f"{file}: {size:,.1f} MiB, the log up to position {mark.position:,}.")


def restore(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", exists=True, dir_okay=False, help="What orchestrator backup wrote."),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="The restored service may go live before it has read everything.")
    ] = False,
) -> None:
    """Put a backup in the place of a database that is not there; a service on it watches until it has caught up."""
    from orchestrator import backup as backups
    from orchestrator import restored
    from orchestrator.cli.progress import bar

    if file is None and not trust:
        raise typer.BadParameter("name the file to restore, or say --trust", param_hint="FILE")
    if file is not None:
        with bar("restoring") as progress:
            mark = backups.restore(load_settings().database_url.reveal(), file, progress)
        show.say(f"Restored: the log up to position {mark.position:,}, as it was at {mark.made_at}.")
        if not trust:
            show.say(
                "A service in the mode live starts in observe on it, until everything at TokPortal has been read once, "
                "or until you say orchestrator restore --trust."
            )
    if trust:
        with opened() as database:
            done = restored.trust(database)
        show.say("The service acts as its mode says." if done is not None else "Nothing kept the service from acting.")
