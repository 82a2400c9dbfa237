"""`orchestrator projections`."""

from __future__ import annotations

import typer

from orchestrator.cli import show
from orchestrator.cli.options import Json
from orchestrator.cli.reading import read

app = typer.Typer(help="Read models and how far they are.", no_args_is_help=True)


@app.command("list")
def list_(json: Json = False) -> None:
    """List the read models with their position in the log."""
    from orchestrator.api.queries.projections import list_projections

    show.page(read(list_projections), json, "name", "position", "head", "lag", "state")
